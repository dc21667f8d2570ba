"""`python -m walk` is `walk`."""

import sys

from walk.cli import main

if __name__ == "__main__":
    sys.exit(main())
