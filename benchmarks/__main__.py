"""Measure rkernel: beside others, with a bad link, for long, pictures, memory, starts."""

from __future__ import annotations

import signal
import sys

from . import compare, footprint, frames, link, memory, soak, starts, video

COMMANDS = {
    "footprint": footprint.main,
    "frames": frames.main,
    "link": link.main,
    "memory": memory.main,
    "soak": soak.main,
    "starts": starts.main,
    "video": video.main,
}


def main(arguments: list[str]) -> int:
    """Run the measurement that the first argument names, or the comparison."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is ended either way
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    return compare.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
