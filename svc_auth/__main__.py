"""`python -m svc_auth [ServiceName ...]`: serve the named services of this package, all of them by default."""

from __future__ import annotations

from mesh.runtime import main
from svc_auth.app import build

if __name__ == "__main__":
    main("svc_auth", build)
