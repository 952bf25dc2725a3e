"""`python -m svc_notify [ServiceName ...]`: serves and sends notifications; no name means every service."""

from mesh.runtime import main
from svc_notify.app import build

if __name__ == "__main__":
    main("svc_notify", build)
