"""Measure rkernel on the emulated board, beside other ways to run a kernel there."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # where its modules find each other
