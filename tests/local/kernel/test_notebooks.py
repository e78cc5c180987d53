"""Notebooks like those of Sipeed's rpyc_ikernel, executed by nbclient on a board."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from tests.support import boards, maixpy3

FOLDER = boards.ROOT / "tests" / "notebooks"


@pytest.fixture
def showing() -> tuple[str, ...]:
    """Give the options of a kernel that finds NumPy and Pillow."""
    return ()


@pytest.fixture
def filming() -> tuple[str, ...]:
    """Give the options of a kernel that finds maixpy3's own files."""
    return maixpy3.options()


@pytest.fixture(params=[False, True], ids=["nbclient", "papermill"])
def with_papermill(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_the_usage_notebook(board: boards.Board, tmp_path: Path) -> None:
    outputs = executed("usage.ipynb", board, tmp_path)
    uname, exception, division, loop, words, magic = outputs
    assert f"machine='{board.shell('uname -m').strip()}'" in printed(uname)
    assert (exception[0].ename, exception[0].evalue) == ("Exception", "on purpose")
    assert (division[0].ename, division[0].evalue) == ("ZeroDivisionError", "division by zero")
    times = [float(line) for line in printed(loop).splitlines()]
    assert len(times) == 5
    assert all(later - sooner >= 1 for sooner, later in pairwise(times))
    assert printed(words) == "你好板子 · ünïcödé · 🤖\n"
    assert "Wall time" in "".join(part.get("text", "") for part in magic)


def test_the_display_notebook(board: boards.Board, tmp_path: Path) -> None:
    html, frames, handle, image = executed("display.ipynb", board, tmp_path)
    assert html[0].data["text/html"] == "<b>bold</b>"
    assert html[1].data["text/plain"] == "{'a': [1, 2, 3]}"
    assert printed(frames) == "frame 4\n"
    assert handle[0].data["text/plain"] == "'second'"
    assert image[0].data["image/png"].startswith("iVBOR")


def test_the_video_notebook(
    board: boards.Board, showing: tuple[str, ...], tmp_path: Path, with_papermill: bool
) -> None:
    """A saved notebook holds one picture of each stream: the last."""
    outputs = executed("video.ipynb", board, tmp_path, with_papermill, *showing)
    nothing, film, streams, one = outputs
    assert nothing == []
    [last] = pictures(film)
    assert last.size == (240, 240)
    yellow, blue = last.getpixel((200, 120)), last.getpixel((2, 2))
    assert yellow[0] > 200 and blue[0] > 200  # the bar has reached the right edge
    assert sorted(picture.size for picture in pictures(streams)) == [(24, 32), (32, 24)]
    assert [abs(p.getpixel((9, 9)) - 100) < 8 for p in pictures(streams)] == [True, True]
    assert [picture.size for picture in pictures(one)] == [(240, 240)]
    assert printed(one[1:]) == "after the picture\n"


def test_the_camera_notebook(
    board: boards.Board, filming: tuple[str, ...], tmp_path: Path, with_papermill: bool
) -> None:
    """What Sipeed's notebooks do, with maixpy3's own files: each cell keeps its last picture."""
    outputs = executed("camera.ipynb", board, tmp_path, with_papermill, *filming)
    _, film, drawing, lcd = outputs
    [last] = pictures(film)
    level = last.convert("L").getpixel((12, 12))
    assert last.size == (24, 24) and abs(level - 60) <= 2  # each of its 60 has its number for grey
    [last] = pictures(drawing)
    assert last.size == (48, 24)
    red, blue = last.getpixel((30, 12)), last.getpixel((46, 12))
    assert red[0] > 200 > 60 > red[2] and blue[2] > 200 > 60 > blue[0]  # it is at 40
    assert [output.get("text") for output in lcd] == ["on the LCD only\n"]


def test_a_camera_whose_loop_fails(
    board: boards.Board, filming: tuple[str, ...], tmp_path: Path
) -> None:
    _, failing = executed("failing.ipynb", board, tmp_path, False, *filming)
    [last] = pictures(failing)
    assert abs(last.convert("L").getpixel((12, 12)) - 30) <= 2
    assert [output.evalue for output in failing if "evalue" in output] == ["on purpose"]


def printed(outputs: list[nbformat.NotebookNode]) -> str:
    """Return what outputs that are all text say; a slow board sends a line in parts."""
    return "".join(part.text for part in outputs)


def pictures(outputs: list[nbformat.NotebookNode]) -> list[Image.Image]:
    found = [output.data["image/jpeg"] for output in outputs if "data" in output]
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


def executed(
    name: str, board: boards.Board, folder: Path, with_papermill: bool = False, *options: str
) -> list[list[nbformat.NotebookNode]]:
    """Have `jupyter execute`, or papermill, run a notebook on the board; return the outputs."""
    boards.write_spec(folder / "kernels", "board", board.argv(*options))
    shutil.copy(FOLDER / name, folder)
    limit = int(board.limit)
    command = [sys.executable, "-c", "from nbclient.cli import main; main()"]  # jupyter execute
    command += [name, "--kernel_name=board", "--inplace", f"--startup_timeout={limit}"]
    if with_papermill:
        command = [sys.executable, "-m", "papermill", "--kernel", "board", "--no-progress-bar"]
        command += ["--start-timeout", str(limit), name, name]
    run = subprocess.run(
        command,
        cwd=folder,
        env={**board.environment, "JUPYTER_PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=3 * limit,
    )
    assert run.returncode == 0, run.stderr
    notebook = nbformat.read(folder / name, as_version=4)
    first, *others = [cell.outputs for cell in notebook.cells]
    # a start of more than 10 s says in the first cell what goes on
    return [[part for part in first if part.get("name") != "stderr"], *others]
