"""`python -m demo`: one shopper from registration to receipt. Ctrl-C ends it with one line, whenever it comes."""

import sys

try:
    from demo.walk import main

    sys.exit(main())
except KeyboardInterrupt:
    print("Interrupted; the mesh is still running: make down", file=sys.stderr)
    sys.exit(130)
