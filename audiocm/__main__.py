"""The command line as `python -m audiocm`."""

import sys

from .cli.main import main

sys.exit(main())
