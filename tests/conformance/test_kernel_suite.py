"""Jupyter's own test suite for kernels, run on a board's kernel and on a plain local one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import boards

SECONDS = 130  # a little more than the suite gives itself

pytestmark = pytest.mark.parametrize(
    "any_board",
    ["local", *(pytest.param(name, marks=pytest.mark.board) for name in ("trixie", "bare-64"))],
    indirect=True,
)


def test_nothing_fails_that_passes_on_a_plain_local_kernel(any_board: boards.Board) -> None:
    kernels = Path(any_board.environment["JUPYTER_DATA_DIR"], "kernels")
    plain = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    boards.write_spec(kernels, "suite-plain", plain)
    boards.write_spec(kernels, "suite-board", any_board.argv())
    there, here = suite(any_board, "suite-board"), suite(any_board, "suite-plain")
    assert len(here["passed"]) >= 12
    assert set(there["failed"]) <= set(here["failed"]), there["failed"]
    assert set(there["skipped"]) <= {"test_recv_iopub_welcome_msg"}  # by an old ipykernel
    assert set(here["passed"]) <= set(there["passed"] + there["skipped"])


def suite(any_board: boards.Board, kernel: str) -> dict[str, list[str]]:
    """Run the suite on a kernel; return the names of the tests that passed and failed."""
    command = [sys.executable, "-m", "tests.support.suite", kernel]
    run = subprocess.run(
        command, env=any_board.environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout))
