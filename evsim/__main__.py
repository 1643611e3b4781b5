"""`python -m evsim` is the command `evsim`."""

import sys

from evsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
