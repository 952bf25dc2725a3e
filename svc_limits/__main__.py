"""`python -m svc_limits [ServiceName ...]`: serve the named services of this package, all of them by default."""

from __future__ import annotations

from mesh.runtime import main
from svc_limits.app import build

if __name__ == "__main__":
    main("svc_limits", build)
