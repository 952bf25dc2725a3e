"""`python -m replay --csv FILE [--from 2010-12-01] [--days 1]`. Ctrl-C ends it with one line, whenever it comes."""

import sys

try:
    from replay.day import main

    sys.exit(main())
except KeyboardInterrupt:
    print("Interrupted; the mesh is still running: make down", file=sys.stderr)
    sys.exit(130)
