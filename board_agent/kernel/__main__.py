"""Entry of the kernel process: `python -m board_agent.kernel`, see `main`."""

import sys

from .main import main

main(sys.argv[1:])
