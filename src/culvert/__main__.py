"""`python -m culvert`."""

from __future__ import annotations

import sys

from culvert.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
