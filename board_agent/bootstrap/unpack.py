"""Unpack an archive beside the place that its content is to have: whole or not at all.

The bootstrap session, which may be in a service that runs on, runs it as a child process: with our
code from the archive that is unpacked, or as `python -m board_agent.bootstrap.unpack ARCHIVE FOLDER
DIGEST` with the kernel's Python. It reports on stdout, in replies.
"""

import compileall
import contextlib
import hashlib
import os
import shutil
import sys
import zipfile
from functools import partial
from types import CodeType
from typing import Any, Callable, Dict, Iterator, List, Tuple

from ..common import reply
from ..common.bundle_format import CODE, SOURCES, pack
from ..common.home import failure


def code() -> None:
    """Unpack our code, and compile it; print what went wrong.

    The arguments of the process are the archive and the folder.
    """
    archive, place = sys.argv[1:]
    _say(_put(place, partial(_unpack_code, archive)))


def bundle() -> None:
    """Unpack a bundle, and compile it; print how far that is, and what went wrong.

    The arguments of the process are the archive, the folder, and the archive's SHA-256 in hex.
    """
    archive, place, digest = sys.argv[1:]
    report = _put(place, partial(_unpack_bundle, archive, digest, place))
    if report.get("error", "") in ("", "ENOSPC"):  # else it may be unpacked another time
        with contextlib.suppress(FileNotFoundError):
            os.unlink(archive)
    if report:
        _say(report)


def _put(place: str, fill: Callable[[str], None]) -> Dict[str, Any]:
    """Make a folder of what `fill` puts into another one; return what went wrong."""
    new = "%s.%d" % (place, os.getpid())
    try:
        _remove_stale(place)
        os.mkdir(new, 0o700)
        fill(new)
        os.sync()  # a board may lose its power at any time, and a half-written file would stay
        os.rename(new, place)
    except OSError as error:
        if not os.path.isdir(place):  # else another launcher was faster
            return failure(error, place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return {}


def _unpack_code(archive: str, new: str) -> None:
    with zipfile.ZipFile(archive) as files:
        files.extractall(new)
    compileall.compile_dir(new, quiet=2, force=True)


def _unpack_bundle(archive: str, digest: str, place: str, new: str) -> None:
    if not _is(archive, digest):
        raise OSError("the archive came damaged")
    with zipfile.ZipFile(archive) as files:
        files.extractall(new)
    listed = os.path.join(new, "precompiled")
    with open(listed) as file:
        paths: List[str] = file.read().split("\n")
    os.unlink(listed)
    sources = zipfile.ZipFile(os.path.join(new, SOURCES))
    with sources, open(os.path.join(new, CODE), "wb") as target:
        others = sorted(set(sources.namelist()) - set(paths))
        pack(target, _compiled(sources, paths, place), others)


def _compiled(
    sources: zipfile.ZipFile, paths: List[str], place: str
) -> Iterator[Tuple[str, CodeType]]:
    """Yield the code of modules; tracebacks name the place where the sources will be."""
    for done, path in enumerate(paths):
        _say({"done": done, "all": len(paths)})
        with contextlib.suppress(SyntaxError):  # it is for another version of Python
            name = os.path.join(place, path)
            yield path, compile(sources.read(path), name, "exec", dont_inherit=True)


def _remove_stale(place: str) -> None:
    """Remove what others left that were ended while they unpacked."""
    for name in os.listdir(os.path.dirname(place)):
        head, _, pid = name.rpartition(".")
        if head == os.path.basename(place) and pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(os.path.join(os.path.dirname(place), name), ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is(part: str, digest: str) -> bool:
    found = hashlib.sha256()
    with open(part, "rb") as file:
        for piece in iter(lambda: file.read(1 << 16), b""):
            found.update(piece)
    return found.hexdigest() == digest


def _say(content: Dict[str, Any]) -> None:
    try:
        reply.say(content)
    except OSError:
        pass  # the launcher is gone; the next one finds what we made


if __name__ == "__main__":
    bundle()
