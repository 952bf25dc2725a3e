"""Runs the payment provider simulator until SIGTERM or SIGINT."""

import logging
import sys

from psp_sim.app import listen, server
from psp_sim.settings import BadSettings, load
from psp_sim.store import BadLog


def main() -> int:
    """Return the exit status: 0 after a stop, 2 when it could not start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = load()
        bound = listen(settings.host, settings.port)
        running = server(settings)
    except (BadSettings, BadLog) as problem:
        sys.stderr.write(f"psp_sim: {problem}\n")
        return 2
    running.run(sockets=[bound])
    return 0


if __name__ == "__main__":
    sys.exit(main())
