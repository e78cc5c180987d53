"""JupyterLab or Notebook in a real browser: a server, headless Chromium, and what a user does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.boards import LIMIT, ROOT, wait_until
from tests.support.requirements import skip_or_fail

ARTEFACTS = Path(os.environ.get("RKERNEL_ARTEFACTS", ROOT / "test-artefacts"))
START = 60  # seconds for JupyterLab to come up
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--window-size=1280,1000",
]

FILM = """\
from PIL import Image, ImageDraw
from board_agent.display import show
import math, platform
def draw(n):
    picture = Image.new("RGB", (240, 240), "#102030")
    pen = ImageDraw.Draw(picture)
    for k in range(12):
        a = (n + 30 * k) * math.pi / 180
        x, y = 120 + 90 * math.cos(a), 120 + 90 * math.sin(a)
        pen.ellipse((x - 14, y - 14, x + 14, y + 14), fill=(20 * k + 20, 240 - 18 * k, 160))
    pen.text((84, 114), platform.machine() + " " + str(n), fill="white")
    return picture"""


@contextmanager
def server(
    folder: Path, environment: dict[str, str], module: str = "jupyterlab", page: str = "lab"
) -> Iterator[str]:
    """Run JupyterLab, or another application, on a folder of notebooks; give a page's address."""
    _ask_no_questions(Path(environment["JUPYTER_CONFIG_DIR"]))
    command = [sys.executable, "-m", module, "--no-browser", "--allow-root"]
    command += [f"--ServerApp.root_dir={folder}", "--ServerApp.port=0"]
    with (
        (folder.parent / f"{module}.log").open("wb") as log,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process,
    ):
        try:
            info = Path(environment["JUPYTER_RUNTIME_DIR"], f"jpserver-{process.pid}.json")
            wait_until(lambda: _is_whole(info), f"{module} starts", START)
            found = json.loads(info.read_text())
            yield f"{found['url']}{page}?token={found['token']}"
            process.terminate()
            process.wait(LIMIT)
        finally:
            process.kill()


def _is_whole(file: Path) -> bool:
    """Say whether a file of JSON is there, and not still being written."""
    return file.exists() and file.read_text().rstrip().endswith("}")


def _ask_no_questions(config: Path) -> None:
    """Decline JupyterLab's news, whose question would cover the page."""
    folder = config / "lab/user-settings/@jupyterlab/apputils-extension"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"fetchNews": "false", "checkForUpdates": False}
    (folder / "notification.jupyterlab-settings").write_text(json.dumps(settings))


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """Run headless Chromium with a profile of its own."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        skip_or_fail("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS, f"--user-data-dir={folder}/profile"]:
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


class Lab:
    """A user of JupyterLab, or of Notebook, whose pages have the same parts.

    `limit` is how many seconds the kernel may take.
    """

    def __init__(self, browser: webdriver.Chrome, address: str, limit: float) -> None:
        self._browser = browser
        self.limit = limit
        browser.get(address)

    def kernels(self) -> list[str]:
        """Return the names of the kernels that the launcher offers for notebooks."""
        self.find(_CARD, "the launcher's cards")
        cards = self._browser.find_elements(By.CSS_SELECTOR, _CARD)
        return [card.get_attribute("title") or "" for card in cards]

    def new_notebook(self, kernel: str) -> None:
        """Click a kernel's card in the launcher, and wait until the kernel is idle."""
        self.find(f'{_CARD}[title^="{kernel}"]', "the kernel's card").click()
        self.find(".jp-Notebook .cm-content", "the notebook's first cell")
        self.wait_for_status("Idle")

    def run(self, code: str) -> int:
        """Type code into the last cell and run it; return the cell's place."""
        place = len(self._cells()) - 1
        self._cells()[place].find_element(By.CSS_SELECTOR, ".cm-content").click()
        keys = ActionChains(self._browser)
        for number, line in enumerate(code.splitlines()):
            if number:  # without the indentation that the editor proposes
                keys.send_keys(Keys.ENTER).key_down(Keys.SHIFT).send_keys(Keys.HOME)
                keys.key_up(Keys.SHIFT).send_keys(Keys.DELETE)
            keys.send_keys(line)
        keys.key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
        self._wait(lambda: len(self._cells()) > place + 1, "a new cell below")
        return place

    def wait_for_output(self, place: int, text: str) -> None:
        """Wait until a cell's output contains a text."""
        self._wait(lambda: text in self.output(place), f"{text!r} in output {place + 1}")

    def output(self, place: int) -> str:
        """Return the text of a cell's outputs."""
        areas = self._cells()[place].find_elements(By.CSS_SELECTOR, ".jp-Cell-outputArea")
        return "".join(area.text for area in areas)

    def has_image(self, place: int) -> bool:
        """Say whether a cell's output shows a picture that has loaded."""
        script = "return arguments[0].querySelector('.jp-Cell-outputArea img')?.naturalWidth > 0"
        return bool(self._browser.execute_script(script, self._cells()[place]))

    def images(self, place: int) -> list[str]:
        """Return the sources of the pictures in a cell's output."""
        script = (
            "return [...arguments[0].querySelectorAll('.jp-Cell-outputArea img')].map(i => i.src)"
        )
        return list(self._browser.execute_script(script, self._cells()[place]))

    def interrupt(self) -> None:
        """Click the toolbar's button with the square."""
        self.find('[data-command="notebook:interrupt-kernel"]', "the interrupt button").click()

    def restart(self) -> None:
        """Restart the kernel from the menu, and confirm."""
        menus = self._browser.find_elements(By.CSS_SELECTOR, ".lm-MenuBar-item")
        next(menu for menu in menus if menu.text == "Kernel").click()
        self.find('.lm-Menu-item[data-command="kernelmenu:restart"]', "the menu's entry").click()
        self.find(".jp-Dialog .jp-mod-accept", "the dialog's button").click()

    def accept(self, title: str) -> None:
        """Wait for a dialog, and click its button."""

        def shown() -> bool:
            return title in self.find(".jp-Dialog", "a dialog").text

        self._wait(shown, f"the dialog {title!r}")
        self.find(".jp-Dialog .jp-mod-accept", "the dialog's button").click()

    def wait_for_status(self, status: str) -> None:
        """Wait until the status bar shows the kernel's status, such as Idle or Busy.

        The notebook's round indicator says "idle" also while there is no connection to a kernel.
        """

        def shown() -> bool:
            bars = self._browser.find_elements(By.CSS_SELECTOR, ".jp-StatusBar-Left")
            return any(f"| {status}" in bar.text for bar in bars)

        self._wait(shown, f"a kernel that is {status}")

    def screenshot(self, name: str) -> None:
        """Keep a picture of the page among the tests' artefacts."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self._browser.save_screenshot(str(ARTEFACTS / name))

    def find(self, selector: str, what: str) -> WebElement:
        """Wait for an element that can be seen."""
        found: list[WebElement] = []

        def look() -> bool:
            found[:] = self._browser.find_elements(By.CSS_SELECTOR, selector)
            return bool(found) and found[0].is_displayed()

        self._wait(look, what)
        return found[0]

    def _cells(self) -> list[WebElement]:
        return self._browser.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-Cell")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        message = f"waited {self.limit:.0f} s for {what}"
        redrawn = [StaleElementReferenceException]  # between finding an element and looking at it
        wait = WebDriverWait(self._browser, self.limit, 0.1, redrawn)
        wait.until(lambda _: condition(), message)


def assert_film_is_live(lab: Lab, screenshot: str) -> None:
    """Run a film in the notebook that is open; its picture moves, and the last one stays."""
    lab.run(FILM)
    film = lab.run("for n in range(10**6): show(draw(n))")
    wait_until(lambda: lab.has_image(film), "a picture is shown", lab.limit)
    seen: set[str] = set()
    wait_until(lambda: seen.update(lab.images(film)) or len(seen) > 5, "they move", lab.limit)
    lab.screenshot(screenshot)
    assert len(lab.images(film)) == 1
    lab.interrupt()
    lab.wait_for_output(film, "KeyboardInterrupt")
    # The error comes first, then the last picture, then the end: what is sent before is aborted.
    lab.find('.jp-Notebook-ExecutionIndicator[data-status="idle"]', "the end of the film")
    lab.wait_for_output(lab.run("print(n * 0 + 77)"), "77")
    last = lab.images(film)
    lab.wait_for_output(lab.run("print(n * 0 + 78)"), "78")
    assert len(last) == 1 and lab.images(film) == last and lab.has_image(film)


_CARD = '.jp-LauncherCard[data-category="Notebook"]'
