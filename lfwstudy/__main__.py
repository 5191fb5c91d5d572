"""`python -m lfwstudy`: the command, whether or not it is on PATH."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder, which `python -m` would search first

from lfwstudy.cli import main

sys.exit(main())
