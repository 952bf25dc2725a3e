"""`python -m svc_inventory [ServiceName ...]`: serves the inventory; no name means every service."""

from mesh.runtime import main
from svc_inventory.app import build

if __name__ == "__main__":
    main("svc_inventory", build)
