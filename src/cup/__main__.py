"""Run the command line: `python -m cup`."""

import sys

from cup.cli import main

if __name__ == "__main__":
    sys.exit(main())
