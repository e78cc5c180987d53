"""Real Notebook 7 in a real browser, with a kernel on a board."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat.v4
import pytest

from tests.support import boards, browser


@pytest.fixture(params=[()])
def notebook(
    request: pytest.FixtureRequest, board: boards.Board, tmp_path: Path
) -> Iterator[browser.Lab]:
    """Open a notebook; the parameter is the options of its launcher."""
    boards.write_spec(board.specs, "notebook7", board.argv(*request.param))
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    kernel = {"name": "notebook7", "display_name": "Python on the board"}
    empty = nbformat.v4.new_notebook(
        metadata={"kernelspec": kernel}, cells=[nbformat.v4.new_code_cell()]
    )
    nbformat.write(empty, notebooks / "film.ipynb")
    page = "notebooks/film.ipynb"
    with (
        browser.chromium(tmp_path) as chromium,
        browser.server(notebooks, board.environment, "notebook", page) as address,
    ):
        lab = browser.Lab(chromium, address, board.limit)
        lab.find(".jp-Notebook .cm-content", "the notebook's first cell")
        boards.wait_until(lambda: _is_idle(address), "the page has its kernel", board.limit)
        lab.find('.jp-Notebook-ExecutionIndicator[data-status="idle"]', "a kernel that is idle")
        yield lab
    shutil.rmtree(board.specs / "notebook7")


def _is_idle(address: str) -> bool:
    """Say whether a page is connected to a kernel that is idle.

    The page itself shows "idle" before, and drops what is run then.
    """
    parts = urllib.parse.urlsplit(address)
    kernels_page = parts._replace(path="/api/kernels").geturl()
    try:
        with urllib.request.urlopen(kernels_page, timeout=30) as answer:
            kernels = json.load(answer)
    except urllib.error.HTTPError:
        return False  # the server answers 500 while it starts a kernel
    return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)


def test_pictures_are_live_and_the_last_one_stays(notebook: browser.Lab) -> None:
    browser.assert_film_is_live(notebook, "video-notebook7.png")


@pytest.mark.parametrize("notebook", [("--python", "/nowhere/python")], indirect=True)
def test_a_cell_says_why_there_is_no_kernel(notebook: browser.Lab) -> None:
    cell = notebook.run("print(1)")
    notebook.wait_for_output(cell, "The board could not start Python (there is no /nowhere/python)")
    notebook.screenshot("no-kernel-notebook7.png")


def test_a_cell_says_why_its_kernel_has_died(notebook: browser.Lab) -> None:
    cell = notebook.run("import os; os._exit(3)")
    notebook.wait_for_output(cell, "The kernel ended with exit status 3.")
