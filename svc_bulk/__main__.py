"""`python -m svc_bulk [ServiceName ...]`: serves operations and works them off; no name means every service."""

from mesh.runtime import main
from svc_bulk.app import build

if __name__ == "__main__":
    main("svc_bulk", build)
