"""The board's code as we send it: one archive, named by the hash of its content."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import resources

EPOCH = (1980, 1, 1, 0, 0, 0)  # an archive depends on its content alone, not on when it was made


@functools.cache
def _files() -> dict[str, bytes]:
    root = resources.files("board_agent")
    return dict(sorted(_modules(root, "")))


def _modules(folder: resources.abc.Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _modules(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()


@functools.cache
def version() -> str:
    """Return the hash that names this version of the board's code, 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, content in _files().items():
        digest.update(b"%s %d\n" % (name.encode(), len(content)) + content)
    return digest.hexdigest()[:12]


def archive() -> bytes:
    """Return the board's code as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in _files().items():
            info = zipfile.ZipInfo(f"board_agent/{name}", EPOCH)
            target.writestr(info, content, zipfile.ZIP_DEFLATED)  # `info` would say: stored
    return buffer.getvalue()


def loader_source() -> str:
    """Return the source of the module that unpacks the archive on the board."""
    return _files()["bootstrap/loader.py"].decode()


def condition_source() -> str:
    """Return the source of the module that looks at the board's condition."""
    return _files()["bootstrap/condition.py"].decode()
