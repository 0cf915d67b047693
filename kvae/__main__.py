"""`python -m kvae`."""

import sys

from kvae.cli import main

sys.exit(main())
