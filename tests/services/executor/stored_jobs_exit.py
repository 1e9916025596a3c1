"""A module that ends the program which imports it, as scripts do."""

import sys

sys.exit(3)
