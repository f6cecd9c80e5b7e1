"""`python -m gptbook` is the command `gptbook`."""

import sys

from .cli import main

sys.exit(main())
