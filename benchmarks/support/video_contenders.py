"""The ways to show live pictures that are compared: for each, its kernel and the film's source."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from tests.support import maixpy3
from tests.support.network import Network
from tests.support.ports import unused_port

from . import other_launchers
from .boards import Place

MJPG_PORT, RPYC_PORT = 18811, 18812  # of maixpy3, fixed in rpyc_ikernel
START = 30.0  # seconds for a board's services to come up

FILM = """\
import asyncio, io, time
from PIL import Image
scene = Image.linear_gradient("L").resize({size})
scene = Image.merge("RGB", (scene, scene.rotate(90), Image.effect_noise({size}, 30)))
stripes = (scene.width, scene.height // 8)
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
def left(number):
    return max(0, begin + (number + 1) / {rate} - time.monotonic())
def end():
    open({over!r}, "x").close()
"""
LOOP = """
begin = time.monotonic()
for number in range({pictures}):
    {show}
    time.sleep(left(number))
end()
"""
TASK = """
async def play():
    global begin
    begin = time.monotonic()
    for number in range({pictures}):
        {show}
        await asyncio.sleep(left(number))
    end()
task = asyncio.get_running_loop().create_task(play())
"""
WIDGET = """\
import numpy
from IPython.display import display
from jupyter_rfb import RemoteFrameBuffer
class Screen(RemoteFrameBuffer):
    def get_frame(self):
        return numpy.asarray(picture())
screen = Screen(css_width=f"{scene.width}px", css_height=f"{scene.height}px")
display(screen)
"""
# Like maix's own encoder, and unlike Pillow's, OpenCV's does not ask what sys.stdout is: with
# rpyc_ikernel that is the PC's, and asking takes a round trip.
MAIX = """\
import cv2, numpy
from maix import display
def maix_jpeg(image):
    bgr = numpy.asarray(image)[..., ::-1]
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
"""
BOARD = "import maix.mjpg; maix.mjpg.start('127.0.0.1', {}, {})"


@dataclass(frozen=True)
class Kernel:
    """A kernelspec's argv, and the networks between this PC and the kernel's board."""

    argv: list[str]
    networks: list[Network]


@contextmanager
def _rkernel(here: Place, bad: bool) -> Iterator[Kernel]:
    """Give a kernel of ours: on this machine, over ssh where the network is bad."""
    way = ("--host", here.names[0], "--via", "ssh") if bad else ("--via", "local")
    yield Kernel(here.board.argv(*way), here.networks)


@dataclass(frozen=True)
class VideoContender:
    """A way to show pictures.

    `prepare` is what a cell does first, `show` what it does for each picture, and `loop` what
    repeats that, if not the cell itself. `kernel` gives the kernel at a place, and says whether
    the network may become bad. `title` says what is shown how, and in which kernel.
    """

    name: str
    title: str
    prepare: str
    show: str
    loop: str = LOOP
    kernel: Callable[[Place, bool], AbstractContextManager[Kernel]] = _rkernel

    def source(self, size: tuple[int, int], pictures: int, rate: int, over: str) -> str:
        """Return the source of a film.

        Parameters: size, in pixels; pictures, how many; rate, of them a second; over, the file
        that is made at the end.
        """
        film = FILM.format(size=size, rate=rate, over=over)
        return film + self.prepare + self.loop.format(pictures=pictures, show=self.show)


@contextmanager
def _rpyc_ikernel(here: Place, bad: bool) -> Iterator[Kernel]:
    """Give the kernel of rpyc_ikernel, which polls the board's MJPEG; needs Python < 3.13.

    The board is a process with the real maix.mjpg of maixpy3, whose display.show() is given JPEGs
    since the compiled encoder does not run here.
    """
    python = other_launchers.environment("rpyc_ikernel==0.4.0")
    ports = MJPG_PORT, RPYC_PORT
    if taken := [port for port in ports if _listens(port)]:
        raise other_launchers.Failed(f"something else has port {taken[0]}")
    there = (unused_port(), unused_port()) if bad else ports
    with ExitStack() as stack:
        stack.enter_context(_maix(*there))
        networks = [
            stack.enter_context(Network("127.0.0.1", port, at=at))
            for port, at in zip(there, ports, strict=True)
            if bad
        ]
        yield Kernel([str(python), "-m", "rpyc_ikernel", "-f", "{connection_file}"], networks)


@contextmanager
def _maix(mjpg: int, rpyc: int) -> Iterator[None]:
    """Run maixpy3's services at two ports."""
    path = os.pathsep.join(map(str, (maixpy3.files(), maixpy3.STAND_IN)))
    command = [sys.executable, "-c", BOARD.format(mjpg, rpyc)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as process:
        try:
            _wait_for(process, mjpg)
            _wait_for(process, rpyc)
            yield
        finally:
            process.kill()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until something listens. Raises Failed."""
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        if _listens(port):
            return
        time.sleep(0.05)
    raise other_launchers.Failed(f"the board's maix.mjpg does not serve port {port}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


CONTENDERS = [
    VideoContender("rkernel", "rkernel", "from board_agent.display import show", "show(picture())"),
    VideoContender(
        "update",
        "update_display, in rkernel",
        "from IPython.display import Image as Shown, display\n"
        "handle = display(Shown(jpeg(picture())), display_id=True)",
        "handle.update(Shown(jpeg(picture())))",
    ),
    VideoContender(
        "clear",
        "clear_output and display, in rkernel",
        "from IPython.display import Image as Shown, clear_output, display",
        "clear_output(wait=True); display(Shown(jpeg(picture())))",
    ),
    # The cell ends at once, as usual with it: what the widget's page answers is handled after it.
    VideoContender(
        "rfb", "jupyter_rfb's widget, in rkernel", WIDGET, "screen.request_draw()", loop=TASK
    ),
    VideoContender(
        "rpyc_ikernel",
        "rpyc_ikernel 0.4.0 polls MJPEG",
        MAIX,
        "display.show(maix_jpeg(picture()), local_show=False)",
        kernel=_rpyc_ikernel,
    ),
]
