"""Send a board the bundle for its Python: in pieces, going on where a cut upload ended."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any

from ... import errors
from ...sanitize import escape_controls
from .. import requirements
from ..board import Board, unwritable
from . import build, wheels

log = logging.getLogger(__name__)

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
    try:
        return _ensure(board, progress)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise errors.BoardMisbehaved(detail="what makes no sense of a bundle") from error


def _ensure(board: Board, progress: Progress) -> str:
    said = board.ask("python_version", python=board.target.python)
    if "error" in said:
        raise errors.NoPython(detail=escape_controls(str(said["detail"])))
    version = escape_controls(str(said["version"]))
    name = build.name(version)
    state = _checked(board.ask("bundle_state", name=name))
    if state["installed"]:
        return name
    progress("Fetching the packages", 0, 0)
    archive = build.build(version)
    size = len(archive.content)
    have = max(0, min(int(state["have"]), size))
    needed = archive.unpacked + size - have
    if needed > int(state["free"]):
        board.ask("bundle_drop", name=name)
        facts = {"needed": needed / (1 << 20), "free": max(0, int(state["free"])) / (1 << 20)}
        raise errors.NoSpaceForBundle(path="~/.cache/rkernel", **facts)
    while have < size:
        progress("Sending them", have, size)
        piece = archive.content[have : have + PIECE]
        before, have = have, int(_checked(board.send("bundle_add", piece, name, have))["have"])
        if not before < have <= size:
            board.ask("bundle_drop", name=name)
            raise errors.BundleFailed(detail="it keeps less than it was sent, or more")
    progress("Sending them", size, size)
    _unpack(board, archive, progress)
    return name


def choose(board: Board) -> str | None:
    """Return the name of the bundle that a kernel is to use; None for the board's own packages.

    Raises the errors of `requirements.choose_ipykernel` and `ensure`.
    """
    wanted = board.target.ipykernel
    if wanted == "auto":
        wanted = requirements.choose_ipykernel(board.facts(), board.target)
    return ensure(board, _logged) if wanted == "bundled" else None


def _logged(what: str, done: int, size: int) -> None:
    if done in (0, size):
        log.info("%s: %d of %d", what, done, size)


def packages(version: str) -> str:
    """Say for people what a bundle brings along. Raises NoBundle."""
    found = wheels.packages(".".join(version.split(".")[:2]))
    return f"ipykernel {found['ipykernel']}, IPython {found['ipython']}, sent along"


def _unpack(board: Board, archive: build.Archive, progress: Progress) -> None:
    digest = hashlib.sha256(archive.content).hexdigest()
    arguments = {"name": archive.name, "digest": digest, "python": board.target.python}
    progress("Compiling them there", 0, 0)
    _checked(board.ask("bundle_unpack", **arguments))
    deadline = time.monotonic() + COMPILE_SECONDS
    while time.monotonic() < deadline:
        said = _checked(board.ask("bundle_progress"))
        if said.get("over"):
            if not _checked(board.ask("bundle_state", name=archive.name))["installed"]:
                raise errors.BundleFailed(detail="it is not where it was put")
            return
        if said["all"]:
            progress("Compiling them there", int(said["done"]), int(said["all"]))
        time.sleep(POLL_SECONDS)
    raise errors.BundleFailed(detail=f"it did not end within {COMPILE_SECONDS:.0f} s")


def _checked(said: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of the board that is no complaint."""
    if "error" not in said:
        return said
    if not said["error"]:
        raise errors.BundleFailed(detail=escape_controls(str(said["detail"])))
    raise unwritable(said)
