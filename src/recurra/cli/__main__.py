"""python -m recurra.cli: the same as `recurra`."""

import sys

from recurra.cli import main

sys.exit(main())
