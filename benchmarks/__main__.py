"""Measure rkernel on the emulated board, beside a kernel started by hand, and print a table."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import time
from importlib import metadata

from tests.emulator.image import SUITES, available

from . import table
from .contenders import BY_HAND, OURS, OVER_RPYC, PEERS
from .measures import ALONE, IDLE, IN_TURN
from .rounds import run
from .site import Site, site

ROUNDS = 5
IDLE_SECONDS = 60.0
QUICK_IDLE_SECONDS = 10.0
MEASURES = [*IN_TURN, *ALONE, *IDLE]


def main() -> None:
    """Boot a board, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [measure.name for measure in MEASURES]
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0], help="the board's Debian")
    parser.add_argument("--memory", type=int, default=512, help="the board's, in MB")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="one round, and no peers from PyPI")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs is ended either way
    if reason := available():
        parser.exit(1, f"{reason}\n")
    peers = [] if options.quick else PEERS
    rounds, idle = (1, QUICK_IDLE_SECONDS) if options.quick else (options.rounds, IDLE_SECONDS)
    wanted = options.only or names
    load = os.getloadavg()[0]  # that of others, before we add ours
    with site(options.suite, options.memory) as place:
        header = _header(place, options.suite, options.memory, load)
        ours = run(place, [BY_HAND, OURS, OVER_RPYC], wanted, rounds, idle)
        # Peers apart, since some keep the board busy, and a small one has no memory for all.
        theirs = {p.name: run(place, [BY_HAND, p], wanted, rounds, idle) for p in peers}
    rows = [measure for measure in MEASURES if measure.name in wanted]
    lines = table.lines(rows, ours, {OVER_RPYC.name: ours, **theirs})
    print(header, *lines, sep="\n")


def _header(place: Site, suite: str, memory: int, load: float) -> str:
    """Say what is measured, when and where."""
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr
    ipykernel = place.machine.run("python3 -c 'import ipykernel; print(ipykernel.__version__)'")
    versions = [f"{name} {metadata.version(name)}" for name in ("rkernel", "paramiko")]
    parts = [
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        *versions,
        f"Python {platform.python_version()}",
        ssh.partition(",")[0].strip(),
        f"board: {suite}, {memory} MB, ipykernel {ipykernel.strip()}",
        f"PC: {os.cpu_count()} CPUs, load before {load:.1f}",
    ]
    return "; ".join(parts) + "\n"


if __name__ == "__main__":
    main()
