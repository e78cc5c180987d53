"""Run the agent."""

import sys

from .agent import main

main(sys.argv[1:])
