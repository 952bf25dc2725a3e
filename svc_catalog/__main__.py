"""`python -m svc_catalog [ServiceName ...]`: serves the catalogue; no name means every service."""

from mesh.runtime import main
from svc_catalog.app import build

if __name__ == "__main__":
    main("svc_catalog", build)
