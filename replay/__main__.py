"""`python -m replay --csv FILE [--from 2010-12-01 --days 1]`. Ctrl-C ends it with one line, whenever it comes."""

import sys

try:
    from replay.run import main

    sys.exit(main())
except KeyboardInterrupt:
    print("Interrupted; the same command goes on from here. The mesh is still running: make down", file=sys.stderr)
    sys.exit(130)
