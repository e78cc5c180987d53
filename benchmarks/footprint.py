"""What browser, server and launcher take of the PC's memory while a film is shown."""

from __future__ import annotations

import time
from statistics import linear_regression, median

import psutil

from .screen import screen
from .table import markdown
from .ways import Way

WARM_UP, EVERY = 60, 10  # seconds of the film before the first sample, and between two
WATCHED = 10  # seconds at the end, in which it is seen that the film is still shown
PROCESSES = {  # a word of their command lines
    "browser": "chromium",
    "jupyter server": "jupyterlab",
    "launcher": "rkernel_launcher",
}
TIDY = "browser, its garbage collected"  # what it keeps, without what it has not tidied up yet
HEAD = ["MB (PSS)", "at 1 min", "median of the middle", "end", "MB a minute", "range"]

Sample = dict[str, float]


def lines(way: Way, size: tuple[int, int], minutes: int) -> list[str]:
    """Show a film for some minutes after a warm-up; return a table of what it took.

    Raises: Failed when it cannot be shown.
    """
    length = WARM_UP + minutes * 60
    with screen(way, size, length + WATCHED, bad=False) as shown:
        shown.play()
        begin = time.monotonic()
        samples = []
        for at in range(WARM_UP, length + 1, EVERY):
            time.sleep(max(0.0, begin + at - time.monotonic()))
            sample = _sample()
            shown.tidy()
            samples.append({**sample, TIDY: _sample()["browser"]})
        shown.watch()
        shown.wait()
        sights = shown.sights()
    rate = len(sights) / (sights[-1].at - sights[0].at)
    rows = [_row(name, [sample[name] for sample in samples]) for name in samples[0]]
    return [*markdown(HEAD, rows), "", f"At the end {rate:.1f} pictures a second were shown."]


def _row(name: str, sizes: list[float]) -> list[str]:
    minutes = [number * EVERY / 60 for number in range(len(sizes))]
    third = len(sizes) // 3
    values = sizes[0], median(sizes[third : len(sizes) - third]), sizes[-1]
    slope = linear_regression(minutes, sizes).slope
    around = f"{min(sizes):.1f} to {max(sizes):.1f}"
    return [name, *(f"{value:.1f}" for value in values), f"{slope:+.2f}", around]


def _sample() -> Sample:
    """Return the proportional set sizes of what this process has started, in MB."""
    sizes = dict.fromkeys(PROCESSES, 0.0)
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
            pss = process.memory_full_info().pss / 2**20
        except psutil.Error:
            continue  # it has just ended
        for name, word in PROCESSES.items():
            if any(word in part for part in words[:3]):
                sizes[name] += pss
    return sizes
