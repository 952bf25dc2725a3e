"""`python -m tests.scans`."""

import sys

from tests.scans.run import main

sys.exit(main())
