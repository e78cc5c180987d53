"""A film in JupyterLab, in headless Chromium, and a script in the page that looks at it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium.webdriver import Chrome

from tests.support.boards import write_spec
from tests.support.browser import Lab, chromium, server
from tests.support.network import Network

from .boards import behind_networks
from .other_launchers import Failed
from .video_contenders import VideoContender

RATE = 30  # pictures a second
BAD = (10e6 / 8, 0.01)  # bytes a second; seconds one way
STALL, EVERY = 3.0, 20.0  # seconds that nothing passes, and between the beginnings of that
LIMIT = 60.0  # seconds for JupyterLab or a kernel to do something
QUIET = STALL + 1  # seconds without a new picture after which none is on its way

WATCH = """
window.seen = [];
const canvas = document.createElement("canvas");
canvas.width = 32; canvas.height = 1;
const context = canvas.getContext("2d", {willReadFrequently: true});
let last = -1;
function look() {
  const all = document.querySelectorAll(".jp-Cell-outputArea img");
  const image = all[all.length - 1];
  if (image && image.complete && image.naturalWidth >= 32) {
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
class Sight:
    """A picture that was seen: when, and how long after it was made, in seconds."""

    at: float
    delay: float


@dataclass(frozen=True)
class Screen:
    """A notebook with a kernel that is ready to play a film of so many seconds."""

    lab: Lab
    browser: Chrome
    code: Path
    over: Path
    seconds: float
    networks: list[Network]

    def play(self) -> None:
        """Run the cell that plays the film."""
        self.lab.run(f"exec(open({str(self.code)!r}).read(), dict())")

    def watch(self) -> None:
        """Look at the pictures from now on."""
        self.browser.execute_script(WATCH)

    def tidy(self) -> None:
        """Have the page collect its garbage; see HeapProfiler in Chrome's DevTools protocol."""
        self.browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})

    def wait(self) -> None:
        """Wait for the film's end. Raises Failed."""
        deadline = time.monotonic() + self.seconds + LIMIT
        while not self.over.exists():
            if time.monotonic() > deadline:
                raise Failed(f"the film does not end: {self.lab.output(0)[-300:]!r}")
            time.sleep(0.1)

    def sights(self) -> list[Sight]:
        """Return what has been seen once no more comes."""
        seen: list[list[int]] = []
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            seen, before = self._seen(), len(seen)
            if seen and len(seen) == before:
                break
            time.sleep(QUIET)
        return [Sight(now / 1000, _delay(now, stamp)) for now, stamp in seen]

    def _seen(self) -> list[list[int]]:
        seen = self.browser.execute_script("return window.seen")
        assert isinstance(seen, list)
        return seen


@contextmanager
def screen(way: VideoContender, size: tuple[int, int], seconds: int, bad: bool) -> Iterator[Screen]:
    """Open a notebook for a film.

    Parameters: way, how it shows pictures; size, in pixels; seconds, that it takes; bad, whether
    the network is slow from when the kernel is ready.
    Raises: Failed when the kernel cannot be had.
    """
    with ExitStack() as stack:
        here = stack.enter_context(behind_networks("local", 1))
        kernel = stack.enter_context(way.kernel(here, bad))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="film-", dir="/tmp")))
        notebooks, over = folder / "notebooks", folder / "over"
        notebooks.mkdir()
        code = notebooks / "film.py"
        code.write_text(way.source(size, seconds * RATE, RATE, str(over)))
        environment = here.board.environment
        write_spec(here.board.specs, "film", kernel.argv)
        address = stack.enter_context(server(notebooks, environment))
        browser = stack.enter_context(chromium(folder))
        lab = Lab(browser, address, LIMIT)
        lab.new_notebook("film")
        if bad:
            for network in kernel.networks:
                network.slow(*BAD)
        yield Screen(lab, browser, code, over, seconds, kernel.networks)


@contextmanager
def stalls(networks: list[Network], seconds: float) -> Iterator[list[float]]:
    """Stall slow networks now and then; give the times when that ended.

    Parameters: seconds, that the film takes: no stall is so late that nothing comes after it; 0 for
    none.
    """
    ended: list[float] = []
    over = threading.Event()

    def stall() -> None:
        for _ in range(int((seconds - 1) // EVERY)):
            if over.wait(EVERY - STALL):
                return
            for network in networks:
                network.hole()
            over.wait(STALL)
            for network in networks:
                network.restore()
                network.slow(*BAD)
            ended.append(time.time())

    thread = threading.Thread(target=stall)
    thread.start()
    try:
        yield ended
    finally:
        over.set()
        thread.join()


def _delay(now: int, stamp: int) -> float:
    """Return the seconds between two times in ms, of which one is the lower 32 bits only."""
    return ((now - stamp + (1 << 31)) % (1 << 32) - (1 << 31)) / 1000
