"""`python -m svc_payment [ServiceName ...]`: hosts the named gRPC services, or all of them."""

from mesh.runtime import main
from svc_payment.app import build

main("svc_payment", build)
