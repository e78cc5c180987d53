"""Real JupyterLab in a real browser, with a kernel on a board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import boards, browser

NAME = "Python on the board"
FAILING = "No Python on the board"
PICTURE = """\
from PIL import Image, ImageDraw
picture = Image.new("RGB", (240, 60), "#205080")
draw = ImageDraw.Draw(picture)
for x in range(0, 240, 12): draw.line((x, 59, 239 - x, 0), fill="#f0c040")
picture"""


@pytest.fixture
def lab(board: boards.Board, tmp_path: Path) -> Iterator[browser.Lab]:
    if not (board.specs / "jupyterlab").exists():
        boards.write_spec(board.specs, "jupyterlab", board.argv(), display_name=NAME)
        argv = board.argv("--python", "/nowhere/python")
        boards.write_spec(board.specs, "failing", argv, display_name=FAILING)
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    with (
        browser.chromium(tmp_path) as chromium,
        browser.server(notebooks, board.environment) as address,
    ):
        yield browser.Lab(chromium, address, board.limit)


def test_a_notebook_on_the_board(board: boards.Board, lab: browser.Lab) -> None:
    assert any(name.startswith(NAME) for name in lab.kernels())
    before = board.kernels()
    lab.new_notebook(NAME)

    machine = board.shell("uname -m").strip()
    lab.wait_for_output(lab.run("import platform, time; kept = 41; platform.uname()"), machine)
    lab.wait_for_output(lab.run("255 / 0"), "ZeroDivisionError: division by zero")
    if machine == "armv7l":
        picture = lab.run(PICTURE)
        boards.wait_until(lambda: lab.has_image(picture), "the picture is shown", board.limit)

    loop = lab.run("print('around it goes')\nwhile True: pass")
    lab.wait_for_output(loop, "around it goes")
    lab.interrupt()
    lab.wait_for_output(loop, "KeyboardInterrupt")
    lab.wait_for_output(lab.run("kept + 1"), "42")
    lab.screenshot("jupyterlab.png" if machine == "armv7l" else "jupyterlab-local.png")

    [kernel] = board.kernels() - before
    lab.restart()
    boards.wait_until(
        lambda: len(board.kernels() - before - {kernel}) == 1, "another kernel", board.limit
    )
    assert kernel not in board.kernels()
    lab.wait_for_status("Idle")
    lab.wait_for_output(lab.run("kept"), "NameError")


def test_pictures_are_live_and_the_last_one_stays(board: boards.Board, lab: browser.Lab) -> None:
    lab.new_notebook(NAME)
    browser.assert_film_is_live(lab, f"video-{board.shell('uname -m').strip()}.png")


def test_a_cell_says_why_there_is_no_kernel(board: boards.Board, lab: browser.Lab) -> None:
    lab.new_notebook(FAILING)
    cell = lab.run("print(1)")
    lab.wait_for_output(cell, "The board could not start Python (there is no /nowhere/python).")
    lab.wait_for_output(cell, "or give its path with --python.")
    lab.screenshot("no-kernel.png")


def test_a_cell_says_why_its_kernel_has_died_and_another_is_started(
    board: boards.Board, lab: browser.Lab
) -> None:
    before = board.kernels()
    lab.new_notebook(NAME)
    cell = lab.run("import os; os._exit(3)")
    lab.wait_for_output(cell, "The kernel ended with exit status 3.")
    lab.accept("Kernel Restarting")
    boards.wait_until(lambda: board.kernels() - before, "another kernel", board.limit)
    lab.wait_for_status("Idle")
    lab.wait_for_output(lab.run("print(6 * 7)"), "42")
    lab.screenshot("kernel-died.png")
