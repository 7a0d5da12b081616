"""`python -m bertft`, which `accelerate launch -m bertft train …` needs."""

import sys

from bertft.cli import main

if __name__ == "__main__":
    sys.exit(main())
