"""`python -m svc_bulk [ServiceName ...]`: serves operations and works them off; no name means every service."""

import os

from mesh.runtime import main
from svc_bulk.app import build

NICENESS = 10
"""What shoppers wait for goes first wherever both want a processor."""

if __name__ == "__main__":
    os.nice(NICENESS)
    main("svc_bulk", build)
