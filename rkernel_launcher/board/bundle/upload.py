"""Send a board the bundle for its Python: in pieces, going on where a cut upload ended."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from ... import errors
from ..answers import (
    BundleProgress,
    BundleSize,
    BundleState,
    Complaint,
    Done,
    PythonVersion,
    never,
)
from ..board import Board, no_python, unwritable
from . import build, wheels

PIECE = 1 << 17  # bytes: seconds of a slow link
POLL_SECONDS = 0.3  # seconds between looks at how far the board is
COMPILE_SECONDS = 900.0  # the slowest boards take two minutes

Progress = Callable[[str, int, int], None]
"""Told what is under way, how much of it is done, and of how much."""


def ensure(board: Board, progress: Progress = lambda what, done, size: None) -> str:
    """Return the name of the bundle on a board, sent there if it has none.

    Parameters: progress, told what is done.
    Raises NoPython, NoBundle, NoWheels, PcCacheUnusable, NoSpaceForBundle, NoSpace,
    CacheUnusable, BundleFailed or BoardMisbehaved.
    """
    python = board.target.python
    version = board.ask(PythonVersion, no_python, "python_version", python=python).version
    name = build.name(version)
    state = _state(board, name)
    if state.installed:
        return name
    progress("Fetching the packages", 0, 0)
    archive = build.build(version)
    size = len(archive.content)
    have = max(0, min(state.have, size))
    needed = archive.unpacked + size - have
    if needed > state.free:
        _drop(board, name)
        facts = {"needed": needed / (1 << 20), "free": max(0, state.free) / (1 << 20)}
        raise errors.NoSpaceForBundle(path="~/.cache/rkernel", **facts)
    while have < size:
        progress("Sending them", have, size)
        piece = archive.content[have : have + PIECE]
        before, have = have, board.send(BundleSize, _failure, "bundle_add", piece, name, have).have
        if not before < have <= size:
            _drop(board, name)
            raise errors.BundleFailed(detail="it keeps less than it was sent, or more")
    progress("Sending them", size, size)
    _unpack(board, archive, progress)
    return name


def packages(version: str) -> str:
    """Say for people what a bundle brings along. Raises NoBundle."""
    found = wheels.packages(".".join(version.split(".")[:2]))
    return f"ipykernel {found['ipykernel']}, IPython {found['ipython']}, sent along"


def _unpack(board: Board, archive: build.Archive, progress: Progress) -> None:
    digest = hashlib.sha256(archive.content).hexdigest()
    arguments = {"name": archive.name, "digest": digest, "python": board.target.python}
    progress("Compiling them there", 0, 0)
    board.ask(Done, _failure, "bundle_unpack", **arguments)
    deadline = time.monotonic() + COMPILE_SECONDS
    while time.monotonic() < deadline:
        said = board.ask(BundleProgress, _failure, "bundle_progress")
        if said.over:
            if not _state(board, archive.name).installed:
                raise errors.BundleFailed(detail="it is not where it was put")
            return
        if said.all:
            progress("Compiling them there", said.done, said.all)
        time.sleep(POLL_SECONDS)
    raise errors.BundleFailed(detail=f"it did not end within {COMPILE_SECONDS:.0f} s")


def _state(board: Board, name: str) -> BundleState:
    return board.ask(BundleState, _failure, "bundle_state", name=name)


def _drop(board: Board, name: str) -> None:
    board.ask(Done, never, "bundle_drop", name=name)


def _failure(said: Complaint) -> errors.RkernelError:
    return unwritable(said) if said.error else errors.BundleFailed(detail=said.detail)
