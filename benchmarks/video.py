"""Measure live pictures from show() to the page: JupyterLab in Chromium, with a clock in each.

A source draws the time into each picture, as stripes. A script in the page reads it from the <img>
at each animation frame, so what counts is what was on the screen.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from statistics import median, quantiles

from .support.other_launchers import Failed
from .support.screen import RATE, STALL, Sight, screen, stalls
from .support.table import markdown
from .support.video_contenders import CONTENDERS, VideoContender

SIZES = {"240x240": (240, 240), "640x480": (640, 480)}
RECOVERY = 0.5  # seconds after a stall that count as the stall's
NEW = 0.25  # seconds that a picture may be old to count as new
HEAD = [
    "picture",
    "network",
    "way",
    "shown/s",
    "p50, p95",
    "first third",
    "last third",
    "after a stall",
]


def main(arguments: list[str]) -> int:
    """Show films in JupyterLab, and print how they came; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks video", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="that each film takes")
    parser.add_argument("--size", action="append", choices=SIZES, help="this one only")
    ways = {way.name: way for way in CONTENDERS}
    parser.add_argument("--way", action="append", choices=ways, help="this one only")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    chosen = [ways[name] for name in options.way or ways]
    lines = markdown(HEAD, _rows(options.size or list(SIZES), chosen, options.seconds))
    print(f"{RATE} pictures a second for {options.seconds} s; load before {load:.1f}\n")
    print(*lines, sep="\n")
    return 0


def film(
    way: VideoContender, size: tuple[int, int], seconds: int, bad: bool
) -> tuple[list[Sight], list[float]]:
    """Show a film in JupyterLab; return what was seen, and when stalls ended. Raises Failed."""
    with screen(way, size, seconds, bad) as shown:
        shown.watch()
        shown.play()
        with stalls(shown.networks, seconds if bad else 0) as ended:
            shown.wait()
        return shown.sights(), ended


def _rows(sizes: list[str], ways: list[VideoContender], seconds: int) -> list[list[str]]:
    rows = []
    for size, bad, way in itertools.product(sizes, (False, True), ways):
        try:
            cells = _cells(*film(way, SIZES[size], seconds, bad))
        except Failed as error:
            cells = [f"does not run: {error}", "", "", "", ""]
        rows.append([size, "bad" if bad else "loopback", way.title, *cells])
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    return rows


def _cells(sights: list[Sight], ended: list[float]) -> list[str]:
    if len(sights) < 10:
        return [f"only {len(sights)} pictures", "", "", "", ""]
    calm = [s for s in sights if not any(end - STALL <= s.at <= end + RECOVERY for end in ended)]
    span = sights[-1].at - sights[0].at
    shown = len(calm) / (span - len(ended) * (STALL + RECOVERY))
    start, third = sights[0].at, span / 3
    parts = [
        [s for s in calm if start + n * third <= s.at < start + (n + 1) * third] for n in (0, 2)
    ]
    fresh = [_fresh(sights, end) for end in ended]
    after = f"{1000 * max(fresh):.0f} ms" if fresh else "-"
    after = "never" if float("inf") in fresh else after
    return [f"{shown:.1f}", *(_delays(part) for part in (calm, *parts)), after]


def _fresh(sights: list[Sight], end: float) -> float:
    """Return the seconds from a stall's end until a new picture was seen."""
    return min((s.at - end for s in sights if s.at >= end and s.delay < NEW), default=float("inf"))


def _delays(sights: list[Sight]) -> str:
    if len(sights) < 20:
        return "-"
    delays = [1000 * sight.delay for sight in sights]
    return f"{median(delays):.0f}, {quantiles(delays, n=20)[-1]:.0f} ms"
