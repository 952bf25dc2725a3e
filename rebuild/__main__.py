"""`python -m rebuild [--check] [orders] [stock] [wallets]`. Ctrl-C changes nothing: a projection is replaced whole."""

import sys

try:
    from rebuild.run import main

    sys.exit(main())
except KeyboardInterrupt:
    print("Interrupted; what was not told as rebuilt stands as it stood", file=sys.stderr)
    sys.exit(130)
