"""`python -m proxy`: the same as the `pointsman` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
