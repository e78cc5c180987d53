"""The page with the live pictures, in a real browser."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from rkernel_launcher.launcher.video.frames import Frame
from rkernel_launcher.launcher.video.http_server import MjpegServer
from rkernel_launcher.launcher.video.latest_frames import LatestFrames
from tests.support.boards import LIMIT, wait_until
from tests.support.browser import ARTEFACTS, chromium

RED, GREEN, BLUE = (200, 40, 40), (40, 160, 60), (40, 60, 200)
FPS = 20
PIXEL = """
const [picture] = arguments;
const canvas = document.createElement("canvas");
const context = canvas.getContext("2d");
context.drawImage(picture, 0, 0);
return [...context.getImageData(20, 20, 1, 1).data].slice(0, 3);
"""


@pytest.fixture
def frames() -> LatestFrames:
    return LatestFrames()


@pytest.fixture
def address(frames: LatestFrames) -> Iterator[str]:
    server = MjpegServer(frames, port=0)
    try:
        yield server.url
    finally:
        server.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path) as browser:
        yield browser


def frame(
    stream: str,
    colour: tuple[int, int, int],
    size: tuple[int, int] = (240, 180),
    kind: str = "jpeg",
) -> Frame:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return Frame(stream, "cell", "display", f"image/{kind}", *size, 0.025, buffer.getvalue())


@contextmanager
def playing(frames: LatestFrames, *shown: Frame) -> Iterator[None]:
    """Put the frames again and again, as a board does that shows the same all the time."""
    ended = threading.Event()

    def play() -> None:
        while not ended.wait(1 / FPS):
            for frame in shown:
                frames.put(frame)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(LIMIT)


def figure(browser: Chrome, name: str) -> WebElement:
    """Wait for the figure of a stream."""
    found: list[WebElement] = []

    def look() -> bool:
        figures = browser.find_elements(By.CSS_SELECTOR, "figure")
        found[:] = [each for each in figures if part(each, ".name").text == name]
        return bool(found)

    wait_until(look, f"the figure of {name!r}", LIMIT)
    return found[0]


def part(figure: WebElement, selector: str) -> WebElement:
    return figure.find_element(By.CSS_SELECTOR, selector)


def wait_for_colour(browser: Chrome, picture: WebElement, colour: tuple[int, int, int]) -> None:
    def looks_so() -> bool:
        pixel = browser.execute_script(PIXEL, picture)
        return all(abs(is_ - ought) < 8 for is_, ought in zip(pixel, colour, strict=True))

    wait_until(looks_so, f"a picture in {colour}", LIMIT)


def wait_for_text(element: Callable[[], WebElement], text: str) -> None:
    wait_until(lambda: text in element().text, f"the text {text!r}", LIMIT)


def test_the_picture_is_live(browser: Chrome, frames: LatestFrames, address: str) -> None:
    with playing(frames, frame("front", RED)):
        browser.get(address)
        front = figure(browser, "front")
        picture = part(front, "img")
        wait_until(lambda: picture.get_property("naturalWidth") == 240, "the picture", LIMIT)
        assert picture.get_property("naturalHeight") == 180
        wait_for_colour(browser, picture, RED)
        facts = part(front, ".facts")

        def rate() -> float:
            return float(facts.text.split(" · ")[1].removesuffix(" fps"))

        wait_until(lambda: FPS / 2 < rate() <= FPS, "the rate of the pictures", LIMIT)
        assert facts.text.startswith("240 \u00d7 180 · ")
        assert facts.text.endswith(" · 25 ms delay")
    frames.put(frame("front", BLUE, (320, 240)))
    wait_for_colour(browser, picture, BLUE)  # the very last one, though no other follows
    wait_for_text(lambda: facts, "320 \u00d7 240 · 0.0 fps")


def test_no_picture_waits_for_the_next(browser: Chrome, frames: LatestFrames, address: str) -> None:
    frames.put(frame("", RED))
    browser.get(address)
    picture = part(figure(browser, ""), "img")
    for colour, kind in ((RED, "jpeg"), (GREEN, "png"), (BLUE, "png"), (RED, "jpeg")):
        frames.put(frame("", colour, kind=kind))
        wait_for_colour(browser, picture, colour)


def test_a_stream_that_comes_later(browser: Chrome, frames: LatestFrames, address: str) -> None:
    """The page asks the board for pictures before there are any."""
    browser.get(address)
    wait_for_text(lambda: browser.find_element(By.ID, "note"), "Run a cell")
    wait_until(lambda: frames.has_viewers, "the page looks", LIMIT)
    with playing(frames, frame("left", RED)):
        left = figure(browser, "left")
        with playing(frames, frame("right", GREEN)):
            right = figure(browser, "right")
            wait_for_colour(browser, part(left, "img"), RED)
            wait_for_colour(browser, part(right, "img"), GREEN)
            ARTEFACTS.mkdir(parents=True, exist_ok=True)
            browser.save_screenshot(str(ARTEFACTS / "view.png"))
    assert browser.find_element(By.ID, "note").text == ""


def test_more_streams_than_a_browser_has_connections(
    browser: Chrome, frames: LatestFrames, address: str
) -> None:
    with playing(frames, *(frame(f"camera {number}", GREEN) for number in range(9))):
        browser.get(address)
        for number in range(9):
            wait_for_colour(browser, part(figure(browser, f"camera {number}"), "img"), GREEN)
    with playing(frames, *(frame(f"camera {number}", BLUE) for number in range(9))):
        for number in range(9):
            wait_for_colour(browser, part(figure(browser, f"camera {number}"), "img"), BLUE)


def test_markup_in_a_streams_name_is_text(
    browser: Chrome, frames: LatestFrames, address: str
) -> None:
    name = "<img src=x onerror=\"document.title='owned'\"> & \u202e"
    frames.put(frame(name, RED))
    browser.get(address)
    hostile = figure(browser, name.replace("\u202e", r"\u202e"))
    wait_for_colour(browser, part(hostile, "img"), RED)
    assert len(hostile.find_elements(By.CSS_SELECTOR, "img")) == 1
    assert browser.title == "Live pictures"


def test_the_page_is_dark_where_the_system_is(browser: Chrome, address: str) -> None:
    browser.get(address)
    grounds = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        body = browser.find_element(By.TAG_NAME, "body")
        ground = body.value_of_css_property("background-color")
        grounds[scheme] = [int(number) for number in re.findall(r"\d+", ground)[:3]]
    assert max(grounds["dark"]) < 64 < 192 < min(grounds["light"])


def test_a_snapshot_is_downloaded(
    browser: Chrome, frames: LatestFrames, address: str, tmp_path: Path
) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    behaviour = {"behavior": "allow", "downloadPath": str(folder)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    shot = frame("../front door", GREEN)
    frames.put(shot)
    browser.get(address)
    front = figure(browser, "../front door")
    wait_for_colour(browser, part(front, "img"), GREEN)
    part(front, ".snapshot").click()
    wait_until(lambda: list(folder.glob("*.jpg")), "the download", LIMIT)
    (file,) = folder.iterdir()
    assert file.name.startswith("_front_door-20")
    assert file.read_bytes() == shot.data


def test_only_a_page_that_can_be_seen_looks(
    browser: Chrome, frames: LatestFrames, address: str
) -> None:
    frames.put(frame("", RED))
    browser.get(address)
    wait_for_colour(browser, part(figure(browser, ""), "img"), RED)
    assert frames.has_viewers
    page = browser.current_window_handle
    browser.switch_to.new_window("tab")
    wait_until(lambda: not frames.has_viewers, "the hidden page looks no more", LIMIT)
    browser.switch_to.window(page)
    frames.put(frame("", BLUE))
    wait_for_colour(browser, part(figure(browser, ""), "img"), BLUE)
    browser.get("about:blank")
    wait_until(lambda: not frames.has_viewers, "the page that was left looks no more", LIMIT)


def test_the_launchers_end_is_said(browser: Chrome, frames: LatestFrames) -> None:
    server = MjpegServer(frames, port=0)
    try:
        frames.put(frame("", RED))
        browser.get(server.url)
        picture = part(figure(browser, ""), "img")
        wait_for_colour(browser, picture, RED)
    finally:
        server.close()
    wait_for_text(lambda: browser.find_element(By.ID, "note"), "The kernel has ended")
    wait_for_colour(browser, picture, RED)  # the last picture stays
