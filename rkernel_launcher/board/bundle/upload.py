"""Send a board the bundle for its Python, in pieces; a broken upload goes on where it ended."""

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
from ..board import Board, unwritable
from . import build, wheels

PIECE = 1 << 17  # bytes: seconds of a slow link
POLL_SECONDS = 0.3  # between two questions how far the board is
COMPILE_SECONDS = 900.0  # at most; the slowest boards take two minutes

Progress = Callable[[str, int, int], None]
"""Called with the step that runs, how much of it is done, and of how much (0: not known)."""


def ensure(board: Board, progress: Progress = lambda what, done, size: None) -> str:
    """Make sure that the bundle for a board's Python is installed there.

    Args:
        board: The board, with our code there.
        progress: Called whenever there is progress.

    Returns:
        The bundle's name.

    Raises:
        NoPython: The board cannot start its Python.
        NoBundle: We have no packages for its version.
        NoWheels: We cannot fetch them.
        PcCacheUnusable: We cannot read or write the cache of wheels on this PC.
        NoSpaceForBundle: The board's disk has too little space for them.
        NoSpace: The board's disk is full.
        CacheUnusable: We cannot write to our folder on the board.
        BundleFailed: The board could not install them.
        BoardMisbehaved: An answer of the board makes no sense.
    """
    python = board.target.python
    version = board.ask(PythonVersion, board.no_python, "python_version", python=python).version
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
        progress("Sending the packages", have, size)
        piece = archive.content[have : have + PIECE]
        before, have = have, board.send(BundleSize, _failure, "bundle_add", piece, name, have).have
        if not before < have <= size:
            _drop(board, name)
            raise errors.BundleFailed(detail="it stored less than we sent, or more")
    progress("Sending the packages", size, size)
    _unpack(board, archive, progress)
    return name


def packages(version: str) -> str:
    """Say for people what the bundle for a version of Python contains.

    Args:
        version: Such as "3.11.2".

    Raises:
        NoBundle: We have no packages for that version.
    """
    found = wheels.packages(".".join(version.split(".")[:2]))
    return f"ipykernel {found['ipykernel']}, IPython {found['ipython']}, sent by rkernel"


def _unpack(board: Board, archive: build.Archive, progress: Progress) -> None:
    digest = hashlib.sha256(archive.content).hexdigest()
    arguments = {"name": archive.name, "digest": digest, "python": board.target.python}
    progress("Compiling the packages there", 0, 0)
    board.ask(Done, _failure, "bundle_unpack", **arguments)
    deadline = time.monotonic() + COMPILE_SECONDS
    while time.monotonic() < deadline:
        reply = board.ask(BundleProgress, _failure, "bundle_progress")
        if reply.over:
            if not _state(board, archive.name).installed:
                raise errors.BundleFailed(detail="they are not in their folder afterwards")
            return
        if reply.all:
            progress("Compiling the packages there", reply.done, reply.all)
        time.sleep(POLL_SECONDS)
    raise errors.BundleFailed(detail=f"it took longer than {COMPILE_SECONDS:.0f} s")


def _state(board: Board, name: str) -> BundleState:
    return board.ask(BundleState, _failure, "bundle_state", name=name)


def _drop(board: Board, name: str) -> None:
    board.ask(Done, never, "bundle_drop", name=name)


def _failure(complaint: Complaint) -> errors.RkernelError:
    return (
        unwritable(complaint) if complaint.error else errors.BundleFailed(detail=complaint.detail)
    )
