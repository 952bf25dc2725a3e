"""`python -m svc_order [ServiceName ...]`; without a name every service of the package."""

from mesh.runtime import main
from svc_order.app import build

main("svc_order", build)
