"""Take a runtime that the launcher sends: in pieces, whole or not at all.

The functions up to `look` are called from the bootstrap session. What has come is kept in a file
until all of it has, so that a cut upload goes on where it was. The child process is run with the
kernel's Python as `python -m board_agent.bundle ARCHIVE FOLDER`: the code is compiled for that one.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from types import CodeType
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .home import cache, code, interpreter, runtime_folder
from .importer import CODE, SOURCES, pack

MARGIN = 1 << 20  # bytes that are to stay free
_ASK = "import sys; print('%d.%d' % sys.version_info[:2])"

_child: "Optional[subprocess.Popen[bytes]]" = None
_said = b""


def python_version(python: Optional[str]) -> str:
    """Return the version of an interpreter, such as 3.8. Raises OSError or CalledProcessError."""
    if python is None:
        return "%d.%d" % sys.version_info[:2]
    return subprocess.check_output([interpreter(python), "-c", _ASK]).decode().strip()


def state(name: str) -> Dict[str, Any]:
    """Say whether a runtime is installed; if not, how much has come, and how much space is left."""
    place = runtime_folder(name)
    if os.path.isdir(place):
        return {"installed": True}
    try:
        os.makedirs(cache(), 0o700, exist_ok=True)
        found = os.statvfs(cache())
    except OSError as error:
        return _failure(error, place)
    free = found.f_bavail * found.f_frsize
    return {"installed": False, "have": _size(_part(place)), "free": free - MARGIN}


def add(data: bytes, name: str, offset: int) -> Dict[str, Any]:
    """Write a piece of the archive; say how much there is of it now."""
    place = runtime_folder(name)
    part = _part(place)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            if offset <= _size(part):  # else there would be a hole
                file.seek(offset)
                file.write(data)
    except OSError as error:
        drop(name)
        return _failure(error, place)
    return {"have": _size(part)}


def drop(name: str) -> Dict[str, Any]:
    """Forget what has come of a runtime."""
    try:
        os.unlink(_part(runtime_folder(name)))
    except FileNotFoundError:
        pass
    return {}


def unpack(name: str, digest: str, python: Optional[str]) -> Dict[str, Any]:
    """Have the archive checked, unpacked and compiled by a child process."""
    global _child, _said
    place = runtime_folder(name)
    command = [interpreter(python), "-m", "board_agent.bundle", _part(place), place, digest]
    try:
        _child = subprocess.Popen(
            command,
            cwd=code(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it goes on when we are cut off
        )
    except OSError as error:
        return _failure(error, place)
    assert _child.stdout is not None
    os.set_blocking(_child.stdout.fileno(), False)
    _said = b""
    return {}


def look() -> Dict[str, Any]:
    """Say how far the child process is: "done" of "all" files, or what came of it."""
    global _said
    assert _child is not None and _child.stdout is not None
    status = _child.poll()
    _said = (_said + (_child.stdout.read() or b""))[-4096:]
    lines = [line for line in _said.split(b"\n")[:-1] if line]
    try:
        last: Dict[str, Any] = dict(json.loads(lines[-1])) if lines else {}
    except ValueError:
        last = {}
    if status is None:
        return {"done": last.get("done", 0), "all": last.get("all", 0)}
    _child.stdout.close()
    if "error" in last or status == 0:
        return dict(last, over=True)
    detail = _said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return {"over": True, "error": "", "path": "", "detail": detail or "status %d" % status}


def main(part: str, place: str, digest: str) -> None:
    """Unpack a runtime and compile it; say on stdout how far that is, as lines of JSON."""
    new = "%s.%d" % (place, os.getpid())
    try:
        if not _is(part, digest):
            os.unlink(part)
            _say({"error": "damaged", "path": place, "detail": "the archive came damaged"})
            return
        _sweep(place)
        _unpack(part, new, place)
        os.sync()  # a board may lose its power at any time, and a half-written file would stay
        os.rename(new, place)
        os.unlink(part)
    except OSError as error:
        if error.errno == errno.ENOSPC and os.path.exists(part):
            os.unlink(part)
        if not os.path.isdir(place):  # else another launcher was faster
            _say(_failure(error, place))
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _unpack(part: str, new: str, place: str) -> None:
    with zipfile.ZipFile(part) as files:
        files.extractall(new)
    near = os.path.join(new, "near")
    with open(near) as file:
        paths: List[str] = file.read().split("\n")
    os.unlink(near)
    sources = zipfile.ZipFile(os.path.join(new, SOURCES))
    with sources, open(os.path.join(new, CODE), "wb") as target:
        others = sorted(set(sources.namelist()) - set(paths))
        pack(target, _compiled(sources, paths, place), others)


def _compiled(
    sources: zipfile.ZipFile, paths: List[str], place: str
) -> Iterator[Tuple[str, CodeType]]:
    """Give the code of modules; what tracebacks call them is where they will be."""
    for done, path in enumerate(paths):
        _say({"done": done, "all": len(paths)})
        with contextlib.suppress(SyntaxError):  # it is for another version of Python
            name = os.path.join(place, path)
            yield path, compile(sources.read(path), name, "exec", dont_inherit=True)


def _sweep(place: str) -> None:
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


def _part(place: str) -> str:
    return place + ".part"


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _failure(error: OSError, place: str) -> Dict[str, Any]:
    name = errno.errorcode.get(error.errno or 0, "")
    return {"error": name, "path": place, "detail": str(error)}


def _say(content: Dict[str, Any]) -> None:
    try:
        print(json.dumps(content), flush=True)
    except OSError:
        pass  # the launcher is gone; the next one finds what we made


if __name__ == "__main__":
    main(*sys.argv[1:])
