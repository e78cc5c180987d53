"""`rkernel view`, and the pictures of a running kernel at the address that it opens."""

from __future__ import annotations

import io
import socket
import stat
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
from PIL import Image

from rkernel_launcher import errors
from tests.support.boards import Board, wait_until
from tests.support.commands import assert_refused, rkernel
from tests.support.kernels import Frontend, launched

LOOP = """
from PIL import Image
from board_agent.display import show
import time
while True: show(Image.new("RGB", (40, 30), (200, 100, 50))); time.sleep(0.02)
"""


def add(*options: str) -> None:
    """Add this machine as a board."""
    run = rkernel("add", "--via", "local", "--name", "films", "--yes", "--no-check", *options)
    assert run.returncode == 0, run.stderr


@contextmanager
def viewed(home: Board, *options: str) -> Iterator[Frontend]:
    """Add a board whose pictures are served, and start its kernel."""
    add("--video", "mjpeg", *options)
    spec = home.specs / "films"
    with launched(home, spec=spec) as kernel:
        kernel.client.wait_for_ready(timeout=home.limit)
        yield kernel


def opened(home: Board, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run `rkernel view`; return the address that the browser is led to."""
    browser = home.folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {home.folder}/opened\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    run = rkernel("view", "films")
    assert run.returncode == 0, run.stderr
    file = home.folder / "opened"
    wait_until(lambda: file.exists() and file.read_text().strip(), "the browser starts", 10)
    uri = file.read_text().strip()
    assert uri.startswith("file:///")
    page = Path(uri.removeprefix("file://"))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    address = page.read_text().partition("url=")[2].partition('"')[0]
    assert address in run.stdout and address not in uri
    return address


def still(address: str) -> Image.Image:
    with urllib.request.urlopen(f"{address}still.jpg", timeout=30) as answer:
        return Image.open(io.BytesIO(answer.read()))


def test_the_pictures_of_a_cell(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with viewed(home) as kernel:
        address = opened(home, monkeypatch)
        assert len(address.rstrip("/").rpartition("/")[2]) >= 20
        kernel.send(LOOP)
        kernel.until(lambda m: m["msg_type"] == "display_data", "a picture is shown")
        picture = still(address)
        assert picture.size == (40, 30) and abs(picture.getpixel((9, 9))[0] - 200) < 5
        film = cv2.VideoCapture(f"{address}stream.mjpg")
        read, image = film.read()
        film.release()
        assert read and image.shape == (30, 40, 3) and abs(int(image[9, 9, 2]) - 200) < 5
        log = kernel.log()
        assert "the launcher serves pictures at port" in log and address not in log
        kernel.manager.interrupt_kernel()
    with pytest.raises(OSError):
        still(address)


def test_pictures_of_a_thread_are_made_while_somebody_looks(
    home: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    with viewed(home) as kernel:
        address = opened(home, monkeypatch)
        body = "\n    ".join(LOOP.strip().splitlines())
        kernel.run(
            f"import threading\ndef film():\n    {body}\n"
            "threading.Thread(target=film, daemon=True).start()\ntime = __import__('time')\n"
            "time.sleep(0.3)"
        )
        assert still(address).size == (40, 30)


def test_a_port_that_is_taken_and_a_path_that_is_chosen(
    home: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with viewed(home, "--video-port", port, "--video-path", "pictures"):
            address = opened(home, monkeypatch)
    assert address.endswith("/pictures/") and f":{port}/" not in address


def test_no_kernel_that_serves_pictures(home: Board) -> None:
    add()
    assert_refused(rkernel("view", "films"), errors.NoView)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--frame-rate", "0"), ("--frame-rate", "61"), ("--video-path", "a/b"), ("--video-port", "0")],
)
def test_options_that_make_no_sense(home: Board, option: str, value: str) -> None:
    assert_refused(rkernel("add", "--via", "local", "--yes", option, value), errors.BadOption)
