"""`python -m autoft`: the command line, as a job on a cluster calls it."""

import sys

from autoft.cli import main

sys.exit(main())
