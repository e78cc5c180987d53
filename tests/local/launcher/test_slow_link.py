"""Pictures over a link that is slow for a while: worse ones, but new ones."""

from __future__ import annotations

import io
import json
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from board_agent.display.frame_scheduler import BEST
from board_agent.display.images import Picture
from board_agent.display.jpeg import encode
from tests.support.cache import share_wheels
from tests.support.environments import bare
from tests.support.kernels import Frontend, Message, launched, started
from tests.support.remote import Remote, remote
from tests.support.shown import data

SLOW = 100_000  # bytes a second, half of what the film has at its best
VERSION = f"3.{sys.version_info.minor}"
SENDING = 150_000  # bytes a second: 40 s for the packages
BITS = 10
FILM = f"""
import random, time
from PIL import Image
from board_agent.display import show
times = []
picture = Image.frombytes("L", (240, 160), random.Random(1).randbytes(240 * 160))
for number in range(1000):
    for bit in range({BITS}):
        picture.paste(255 * (number >> bit & 1), (16 * bit, 0, 16 * bit + 16, 16))
    times.append(time.time())
    show(picture)
    time.sleep(0.1)
"""


@pytest.fixture
def board() -> Iterator[Remote]:
    with remote() as found:
        yield found


@pytest.fixture
def kernel(board: Remote) -> Iterator[Frontend]:
    with started(board) as found:
        yield found
        board.network.restore()  # or it would not end its kernel


def test_quality_falls_and_freshness_stays(kernel: Frontend, board: Remote) -> None:
    best, poor = as_coarse_as(BEST), as_coarse_as(BEST * 2 // 3)
    number = kernel.send(FILM)
    before = kernel.until(lambda m: coarseness(m) == best, "a picture at its best")[-1]
    board.network.slow(SLOW, 0.02)
    kernel.until(lambda m: coarseness(m) > poor, "the quality falls")
    slow = [kernel.until(coarseness, "pictures come")[-1] for _ in range(15)]
    board.network.restore()
    kernel.until(lambda m: coarseness(m) == best, "the quality is at its best again")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(number).reply["content"]["ename"] == "KeyboardInterrupt"

    sizes = [len(data(message["content"])) for message in (before, *slow)]
    assert max(sizes[1:]) < 0.9 * sizes[0]
    times = json.loads(kernel.value("times"))
    ages = [m["header"]["date"].timestamp() - times[barcode(m["content"])] for m in slow]
    assert statistics.median(ages) < 1, ages  # those two that are under way take 0.3 s


def coarseness(message: Message) -> int:
    """Return how coarse the picture of an update is, as JPEG says; 0 for other messages."""
    is_update = message["msg_type"] == "update_display_data"
    return steps(data(message["content"])) if is_update else 0


def as_coarse_as(quality: int) -> int:
    return steps(encode(Picture("L", 8, 8, bytes(64)), quality))


def steps(jpeg: bytes) -> int:
    return sum(Image.open(io.BytesIO(jpeg)).quantization[0])


def barcode(content: dict[str, Any]) -> int:
    """Return the number that is drawn into a picture."""
    picture = Image.open(io.BytesIO(data(content)))
    return sum((picture.getpixel((16 * bit + 8, 8)) > 127) << bit for bit in range(BITS))


def test_a_cell_says_how_far_the_packages_are_sent() -> None:
    """They take longer than the minute for which most frontends wait for a kernel."""
    with remote() as board:
        share_wheels(Path(board.environment["XDG_CACHE_HOME"], "rkernel-wheels"))
        board.network.slow(SENDING)
        with launched(board, "--ipykernel", "bundled", "--python", bare(VERSION)) as kernel:
            kernel.client.wait_for_ready(timeout=board.limit)
            number = kernel.send("print(6 * 7)")
            for _ in range(2):
                step = r"pi: sending the packages, (\d+) %…\n"
                message = kernel.until_printed("sending the packages, ")[-1]
                assert message["parent_header"]["msg_id"] == number
                told = re.fullmatch(step, message["content"]["text"])
                assert told and 0 < int(told[1]) < 100
            board.network.restore()
            assert kernel.finish(number).text() == "42\n"
