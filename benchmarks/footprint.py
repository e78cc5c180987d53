"""Measure what browser, server and launcher take of the PC's memory while a film is shown."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import linear_regression, median

import psutil

from .support.screen import RATE, screen
from .support.table import markdown
from .support.video_contenders import CONTENDERS

OURS, SIZE = CONTENDERS[0], (640, 480)
WARM_UP, EVERY = 60, 10  # seconds of the film before the first sample, and between two
WATCHED = 10  # seconds at the end, in which it is seen that the film is still shown
PROCESSES = {  # a word of their command lines
    "browser": "chromium",
    "jupyter server": "jupyterlab",
    "launcher": "rkernel_launcher",
}
TIDY = "browser, its garbage collected"  # what it keeps, without what it has not tidied up yet
OWN = ("Pss_Anon:", "Pss_Shmem:")
HEAD = ["MB", "at 1 min", "median of the middle", "end", "MB a minute", "range"]

Sample = dict[str, float]


def main(arguments: list[str]) -> int:
    """Show a film for some minutes after a warm-up, and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks footprint", description=__doc__)
    parser.add_argument("--minutes", type=int, default=11, help="that the film takes")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    print("{}x{}, {} pictures a second; load before {:.1f}\n".format(*SIZE, RATE, load))
    length = WARM_UP + options.minutes * 60
    with screen(OURS, SIZE, length + WATCHED, bad=False) as shown:
        shown.play()
        begin = time.monotonic()
        samples = []
        for at in range(WARM_UP, length + 1, EVERY):
            time.sleep(max(0.0, begin + at - time.monotonic()))
            sample = _sample()
            shown.tidy()
            samples.append({**sample, TIDY: _sample()["browser"]})
            sizes = [f"{name} {size:.1f}" for name, size in samples[-1].items()]
            print(f"{at} s", *sizes, sep=" | ", file=sys.stderr, flush=True)
        shown.watch()
        shown.wait()
        sights = shown.sights()
    rate = len(sights) / (sights[-1].at - sights[0].at)
    rows = [_row(name, [sample[name] for sample in samples]) for name in samples[0]]
    print(*markdown(HEAD, rows), sep="\n")
    print(f"\nAt the end {rate:.1f} pictures a second were shown.")
    return 0


def _row(name: str, sizes: list[float]) -> list[str]:
    minutes = [number * EVERY / 60 for number in range(len(sizes))]
    third = len(sizes) // 3
    values = sizes[0], median(sizes[third : len(sizes) - third]), sizes[-1]
    slope = linear_regression(minutes, sizes).slope
    around = f"{min(sizes):.1f} to {max(sizes):.1f}"
    return [name, *(f"{value:.1f}" for value in values), f"{slope:+.2f}", around]


def _sample() -> Sample:
    """Return what the processes that this one has started take, in MB."""
    sizes = dict.fromkeys(PROCESSES, 0.0)
    for process in psutil.Process().children(recursive=True):
        try:
            words, size = process.cmdline(), _own(process.pid)
        except (psutil.Error, OSError):
            continue  # it has just ended
        for name, word in PROCESSES.items():
            if any(word in part for part in words[:3]):
                sizes[name] += size
    return sizes


def _own(pid: int) -> float:
    """Return a process's share of memory that is no file's, in MB; see smaps_rollup in proc(5).

    Its share of files, such as libraries, would change with every other Chromium on this PC.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(OWN)) / 1024
