"""Jupyter's own test suite for kernels, run on a board's kernel and on a plain local one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import boards

SECONDS = 130  # a little more than the suite gives itself


@pytest.fixture(scope="session")
def plain() -> dict[str, list[str]]:
    """Run the suite on a plain local kernel; it is the same wherever it is asked for."""
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    with boards.local() as here:
        boards.write_spec(here.specs, "suite", command)
        return suite(here, "suite")


def test_nothing_fails_that_passes_on_a_plain_local_kernel(
    board: boards.Board, plain: dict[str, list[str]]
) -> None:
    boards.write_spec(board.specs, "suite", board.argv())
    there = suite(board, "suite")
    assert len(plain["passed"]) >= 12
    assert set(there["failed"]) <= set(plain["failed"]), there["failed"]
    assert set(there["skipped"]) <= {"test_recv_iopub_welcome_msg"}  # by an old ipykernel
    assert set(plain["passed"]) <= set(there["passed"] + there["skipped"])


def suite(board: boards.Board, kernel: str) -> dict[str, list[str]]:
    """Run the suite on a kernel; return the names of the tests that passed and failed.

    Args:
        board: Whose home has the kernelspec.
        kernel: The kernelspec's name.
    """
    command = [sys.executable, "-m", "tests.support.suite", kernel]
    run = subprocess.run(
        command, env=board.environment, capture_output=True, text=True, timeout=SECONDS
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout))
