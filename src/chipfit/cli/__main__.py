"""`python -m chipfit.cli`, for where no script was installed."""

import sys

from chipfit.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
