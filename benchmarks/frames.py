"""Measure what a picture costs the board: instructions, memory, and other clients' time.

The first two on an emulated board whose clock counts instructions, so that they are the same
however busy this machine is.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

from tests.support.boards import Board
from tests.support.emulator.image import SUITES
from tests.support.kernels import Frontend, attached, started

from .support.boards import behind_networks
from .support.table import markdown

SIZES = {"240x240": (240, 240), "640x480": (640, 480)}
FRAMES = 60
PAUSE = 0.2  # seconds between pictures, so that each is sent
TURNS, ROUNDS = 6, 10  # of kernel_info: without pictures and with them in turn, each so often
INSTRUCTIONS = 125  # million a second of the board's clock

SCENE = """\
import gc, glob, json, time
from PIL import Image
scene = Image.linear_gradient("L").resize({size})
scene = Image.merge("RGB", (scene, scene.rotate(90), Image.effect_noise({size}, 30)))
scene.copy()
def pss():
    gc.collect()
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
def agents():
    "The seconds of processor time that agents have had."
    total = 0
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        with open(name) as file:
            if "board_agent" in file.read().split("\\0"):
                with open(name[:-7] + "schedstat") as times:
                    total += int(times.read().split()[0])
    return total / 1e9
def cost(action, count, pause=0.0, clock=time.process_time):
    "The ms that an action takes, without the pauses after it."
    mine, theirs = clock(), agents()
    for _ in range(count):
        action()
        time.sleep(pause) if pause else None
    return 1000 * (clock() - mine) / count, 1000 * (agents() - theirs) / count
before = pss()
"""
SHOWN = """\
from board_agent.display import show
show(scene)
time.sleep(2)
nothing = cost(lambda: None, {frames}, {pause})
shown = cost(lambda: show(scene), {frames}, {pause})
memory = pss() - before
"""
AFTER = """\
from board_agent.display import jpeg as encoders
from board_agent.display.images import take
picture = take(scene)
encoders.encode(picture, 80)
bare = cost(lambda: encoders.encode(picture, 80), {frames})[0]
print(json.dumps(dict(name=encoders.name(), bare=bare, memory=memory,
    kernel=shown[0] - nothing[0], agent=shown[1] - nothing[1])))
"""
UNSENT = """\
from board_agent.display import show
show(scene)
mine = scene.copy()
time.sleep(1)
print(json.dumps(dict(
    unsent=cost(lambda: show(scene), {frames} * 10, clock=time.thread_time)[0],
    copy=cost(lambda: mine.paste(scene, (0, 0)), {frames}, clock=time.thread_time)[0])))
"""
FILM = """\
import threading
def film(step):
    begin, number = time.monotonic(), 0
    while True:
        step()
        number += 1
        time.sleep(max(0, begin + number / 30 - time.monotonic()))
"""


def main(arguments: list[str]) -> int:
    """Measure, and print a table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks frames", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default="bookworm", help="of the board")
    options = parser.parse_args(arguments)
    with behind_networks(options.suite, 1, counted=True) as here:
        ssh = "--host", here.names[0], "--orphan-timeout", "0"
        columns = [_column(here.board, ssh, size) for size in SIZES.values()]
    with behind_networks(options.suite, 1) as here:
        ssh = "--host", here.names[0], "--orphan-timeout", "0"
        for column, size in zip(columns, SIZES.values(), strict=True):
            column |= _round_trips(here.board, ssh, size)
    print(f"{options.suite}, {columns[0]['name']}; {INSTRUCTIONS} million instructions a second\n")
    rows = [[title, *(form(column) for column in columns)] for title, form in ROWS.items()]
    print(*markdown(["", *SIZES], rows), sep="\n")
    return 0


ROWS = {
    "the encoder alone, quality 80": lambda c: f"{c['bare']:.2f} ms",
    "shown and sent: in the kernel": lambda c: f"{c['kernel']:.2f} ms",
    "and in the agent": lambda c: f"{c['agent']:.2f} ms",
    "both, beside the encoder alone": lambda c: f"{(c['kernel'] + c['agent']) / c['bare']:.2f}",
    "show() of one that is not sent": lambda c: f"{c['unsent']:.2f} ms",
    "beside the encoder alone": lambda c: f"{100 * c['unsent'] / c['bare']:.1f} %",
    "a copy alone": lambda c: f"{c['copy']:.2f} ms",
    "memory (PSS) of the kernel, while the cell runs": lambda c: f"{c['memory']:+.2f} MB",
    "kernel_info of another client": lambda c: f"{c['calm']:.0f} ms",
    "with 30 pictures a second": lambda c: f"{c['busy']:.0f} ms",
    "beside it without": lambda c: f"{c['busy'] / c['calm']:.2f}",
}


def _column(board: Board, ssh: tuple[str, ...], size: tuple[int, int]) -> dict[str, Any]:
    """Measure pictures of a size."""
    values = {"size": size, "frames": FRAMES, "pause": PAUSE}
    found: dict[str, Any] = {}
    with started(board, *ssh) as kernel:
        _run(kernel, SCENE, **values)
        _run(kernel, SHOWN, **values)
        found |= json.loads(_run(kernel, AFTER, **values))
    # At one picture a second nearly none is sent.
    with started(board, *ssh, "--frame-rate", "1") as kernel:
        _run(kernel, SCENE, **values)
        found |= json.loads(_run(kernel, UNSENT, **values))
    return found


def _round_trips(board: Board, ssh: tuple[str, ...], size: tuple[int, int]) -> dict[str, float]:
    """Measure how long kernel_info takes another client, without pictures and with them."""
    films = {"calm": "film(lambda: None)", "busy": "film(lambda: show(scene))"}
    times: dict[str, list[float]] = {name: [] for name in films}
    with started(board, *ssh) as kernel, attached(kernel) as other:
        _run(kernel, SCENE + FILM + "from board_agent.display import show", size=size)
        for _ in range(TURNS):
            for name, film in films.items():
                times[name] += _round_trip(kernel, other, film)
    return {name: 1000 * median(seconds) for name, seconds in times.items()}


def _run(kernel: Frontend, code: str, **values: object) -> str:
    for name, value in values.items():
        code = code.replace("{" + name + "}", str(value))
    result = kernel.run(code)
    if result.reply["content"]["status"] != "ok":
        raise RuntimeError("\n".join(result.reply["content"]["traceback"]))
    return result.text()


def _round_trip(kernel: Frontend, other: Frontend, code: str) -> list[float]:
    """Return the seconds that kernel_info takes another client on control while a cell runs."""
    # Its interrupt, being an error, is not to cost the cell that comes next.
    number = kernel.send("print('on')\n" + code, stop_on_error=False)
    kernel.until_printed("on")
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        other.control("kernel_info_request")
        times.append(time.perf_counter() - start)
    kernel.control("interrupt_request")
    kernel.finish(number)
    return times
