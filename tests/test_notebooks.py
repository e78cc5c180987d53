"""Notebooks like those of Sipeed's rpyc_ikernel, executed by nbclient on a any_board."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import boards
import nbformat
import pytest

FOLDER = Path(__file__).parent / "notebooks"


pytestmark = pytest.mark.parametrize(
    "any_board",
    [
        "local",
        pytest.param("bookworm", marks=pytest.mark.board),
        pytest.param("trixie", marks=pytest.mark.board),
    ],
    indirect=True,
)


def test_the_usage_notebook(any_board: boards.Board, tmp_path: Path) -> None:
    outputs = executed("usage.ipynb", any_board, tmp_path)
    uname, exception, division, loop, words, magic = outputs
    assert f"machine='{any_board.shell('uname -m').strip()}'" in uname[0].text
    assert (exception[0].ename, exception[0].evalue) == ("Exception", "on purpose")
    assert (division[0].ename, division[0].evalue) == ("ZeroDivisionError", "division by zero")
    times = [float(line) for line in "".join(part.text for part in loop).splitlines()]
    assert len(times) == 5
    assert all(later - sooner >= 1 for sooner, later in pairwise(times))
    assert words[0].text == "你好板子 · ünïcödé · 🤖\n"
    assert "Wall time" in magic[0].text


def test_the_display_notebook(any_board: boards.Board, tmp_path: Path) -> None:
    html, frames, handle, image = executed("display.ipynb", any_board, tmp_path)
    assert html[0].data["text/html"] == "<b>bold</b>"
    assert html[1].data["text/plain"] == "{'a': [1, 2, 3]}"
    assert [part.text for part in frames] == ["frame 4\n"]
    assert handle[0].data["text/plain"] == "'second'"
    assert image[0].data["image/png"].startswith("iVBOR")


def executed(name: str, any_board: boards.Board, folder: Path) -> list[list[nbformat.NotebookNode]]:
    """Have `jupyter execute` run a notebook on the board; return the outputs of its cells."""
    boards.write_spec(folder / "kernels", "board", any_board.argv())
    shutil.copy(FOLDER / name, folder)
    limit = int(any_board.limit)
    command = [sys.executable, "-c", "from nbclient.cli import main; main()"]  # jupyter execute
    run = subprocess.run(
        [*command, name, "--kernel_name=board", "--inplace", f"--startup_timeout={limit}"],
        cwd=folder,
        env={**any_board.environment, "JUPYTER_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=3 * limit,
    )
    assert run.returncode == 0, run.stderr
    notebook = nbformat.read(folder / name, as_version=4)
    return [cell.outputs for cell in notebook.cells]
