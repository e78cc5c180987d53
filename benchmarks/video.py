"""Measure live pictures from show() to the page: JupyterLab in Chromium, with a clock in each.

A source draws the time into each picture, as stripes. A script in the page reads it from the <img>
at each animation frame, so what counts is what was on the screen.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from tests.boards import write_spec
from tests.network import Network

from .places import place
from .site import ROOT
from .table import markdown

sys.path.append(str(ROOT / "tests"))  # where its modules find each other
from browser import Lab, chromium, server

RATE = 30  # pictures a second
SIZES = {"240x240": (240, 240), "640x480": (640, 480)}
BAD = (10e6 / 8, 0.01)  # bytes a second; seconds one way
STALL, EVERY = 3.0, 20.0  # seconds that nothing passes, and between the beginnings of that
RECOVERY = 0.5  # seconds after a stall that count as the stall's
NEW = 0.25  # seconds that a picture may be old to count as new
LIMIT = 60.0  # seconds for JupyterLab to do something

SOURCE = """\
import io, time
from PIL import Image
size, seconds = {size}, {seconds}
scene = Image.linear_gradient("L").resize(size)
scene = Image.merge("RGB", (scene, scene.rotate(90), Image.effect_noise(size, 30)))
stripes = (size[0], size[1] // 8)
def picture():
    stamp = int(time.time() * 1000) & 0xffffffff
    bits = bytes(255 * (stamp >> i & 1) for i in range(32))
    image = scene.copy()
    image.paste(Image.frombytes("L", (32, 1), bits).resize(stripes, Image.NEAREST))
    return image
def jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
{prepare}
begin = time.monotonic()
for number in range(int(seconds * {rate})):
    {show}
    time.sleep(max(0, begin + (number + 1) / {rate} - time.monotonic()))
print("the film" + " is over")
"""
WATCH = """
window.seen = [];
const canvas = document.createElement("canvas");
canvas.width = 32; canvas.height = 1;
const context = canvas.getContext("2d", {willReadFrequently: true});
let last = -1;
function look() {
  const all = document.querySelectorAll(".jp-Cell-outputArea img");
  const image = all[all.length - 1];
  if (image && image.complete && image.naturalWidth) {
    context.drawImage(image, 0, image.naturalHeight / 16, image.naturalWidth, 1, 0, 0, 32, 1);
    const pixels = context.getImageData(0, 0, 32, 1).data;
    let stamp = 0;
    for (let i = 31; i >= 0; i--) stamp = stamp * 2 + (pixels[4 * i] > 127 ? 1 : 0);
    if (stamp !== last) { window.seen.push([Date.now(), stamp]); last = stamp; }
  }
  requestAnimationFrame(look);
}
look();
"""


@dataclass(frozen=True)
class Way:
    """A way to show pictures: what a cell does first, and for each picture."""

    name: str
    prepare: str
    show: str
    ours: bool = False


WAYS = [
    Way("rkernel", "from board_agent.display import show", "show(picture())", ours=True),
    Way(
        "update_display in the kernel",
        "from IPython.display import Image as Shown, display\n"
        "handle = display(Shown(jpeg(picture())), display_id=True)",
        "handle.update(Shown(jpeg(picture())))",
    ),
    Way(
        "clear_output and display_data",
        "from IPython.display import Image as Shown, clear_output, display",
        "clear_output(wait=True); display(Shown(jpeg(picture())))",
    ),
]


@dataclass(frozen=True)
class Sight:
    """A picture that was seen: when, and how long after it was made, in seconds."""

    at: float
    delay: float


def main(arguments: list[str]) -> int:
    """Show films in JupyterLab, and print how they came; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks video", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="that each film takes")
    parser.add_argument("--size", action="append", choices=SIZES, help="this one only")
    options = parser.parse_args(arguments)
    rows = []
    load = os.getloadavg()[0]
    for name, bad in itertools.product(options.size or SIZES, (False, True)):
        for way in WAYS:
            sights, stalls = film(way, SIZES[name], options.seconds, bad)
            row = [
                name,
                "bad" if bad else "loopback",
                way.name,
                *_cells(sights, stalls, options.seconds),
            ]
            print(*row, sep=" | ", file=sys.stderr, flush=True)
            rows.append(row)
    head = [
        "picture",
        "network",
        "way",
        "shown/s",
        "p50, p95",
        "first third",
        "last third",
        "after a stall",
    ]
    print(f"{RATE} pictures a second for {options.seconds} s; load before {load:.1f}\n")
    print(*markdown(head, rows), sep="\n")
    return 0


def film(
    way: Way, size: tuple[int, int], seconds: int, bad: bool
) -> tuple[list[Sight], list[float]]:
    """Show a film in JupyterLab; return what was seen, and when stalls ended."""
    code = SOURCE.format(size=size, seconds=seconds, rate=RATE, prepare=way.prepare, show=way.show)
    with ExitStack() as stack:
        here = stack.enter_context(place("local", 1))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="film-", dir="/tmp")))
        options = ("--host", here.names[0]) if bad else ()
        argv = here.board.argv(*options, "--via", "ssh" if options else "local")
        write_spec(Path(here.board.environment["JUPYTER_DATA_DIR"], "kernels"), "film", argv)
        (folder / "notebooks").mkdir()
        address = stack.enter_context(server(folder / "notebooks", here.board.environment))
        browser = stack.enter_context(chromium(folder))
        lab = Lab(browser, address, LIMIT + seconds)
        lab.new_notebook("film")
        browser.execute_script(WATCH)
        if bad:
            here.networks[0].slow(*BAD)
        (folder / "notebooks/film.py").write_text(code)
        lab.run(f"exec(open({str(folder / 'notebooks/film.py')!r}).read())")
        with _stalls(here.networks[0], bad) as stalls:
            lab.wait_for_output(0, "the film is over")
        seen = browser.execute_script("return window.seen")
    return [Sight(now / 1000, _delay(now, stamp)) for now, stamp in seen], stalls


def _delay(now: int, stamp: int) -> float:
    """Return the seconds between two times in ms, of which one is the lower 32 bits only."""
    return ((now - stamp + (1 << 31)) % (1 << 32) - (1 << 31)) / 1000


@contextmanager
def _stalls(network: Network, wanted: bool) -> Iterator[list[float]]:
    """Stall the network now and then; give the times when that ended."""
    ended: list[float] = []
    over = threading.Event()

    def stall() -> None:
        while not over.wait(EVERY - STALL):
            network.hole()
            over.wait(STALL)
            network.restore()
            network.slow(*BAD)
            ended.append(time.time())

    thread = threading.Thread(target=stall)
    if wanted:
        thread.start()
    try:
        yield ended
    finally:
        over.set()
        if wanted:
            thread.join()


def _cells(sights: list[Sight], stalls: list[float], seconds: int) -> list[str]:
    if len(sights) < 10:
        return [f"only {len(sights)} pictures", "", "", "", ""]
    calm = [s for s in sights if not any(end - STALL <= s.at <= end + RECOVERY for end in stalls)]
    span = sights[-1].at - sights[0].at
    shown = len(calm) / (span - len(stalls) * (STALL + RECOVERY))
    start, third = sights[0].at, span / 3
    parts = [
        [s for s in calm if start + n * third <= s.at < start + (n + 1) * third] for n in (0, 2)
    ]
    fresh = [_fresh(sights, end) for end in stalls]
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
