"""Lets a proof arm failpoints in a process that runs. It is part of no product: see `tests.faults.staged`.

Put as `sitecustomize.py` into a copy of the source tree, it is imported by every Python process that starts there, and
opens a socket `doors/<package>.<process id>` beside itself in the services. A line of JSON that names failpoints and
their actions arms them; the answer says how often each armed one still acts, null for always.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path

DOORS = "doors"


def serve(path: Path) -> None:
    """Answer until the process ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(8)
        while True:
            connection, _ = server.accept()
            with connection, connection.makefile("rw") as lines:
                request = json.loads(lines.readline())
                from mesh.seams import failpoints  # late: what this process is about comes first

                if request.get("reset"):
                    failpoints.reset()
                for name, action in request.get("arm", {}).items():
                    failpoints.arm(name, action)
                lines.write(json.dumps({name: armed.left for name, armed in dict(failpoints.armed).items()}) + "\n")


if "TITAN_LISTEN" in os.environ and "-m" in sys.orig_argv:
    _package = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    _path = Path(__file__).parent / DOORS / f"{_package}.{os.getpid()}"
    threading.Thread(target=serve, args=(_path,), daemon=True).start()
