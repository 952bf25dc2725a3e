"""Python imports this at its start where this folder is on its path; nobody but the harness puts it there."""

import os

if os.environ.get("TITAN_PLANTED"):
    from tests.faults.planted import hook

    hook.install(os.environ["TITAN_PLANTED"])
