"""Put our code on the board, and load it.

The bootstrap session executes this source before anything of ours is there: it stands alone. Each
function returns JSON, since only plain strings may cross that session. A board's rpyc service keeps
for good what is imported here, so that is little.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Iterator

_UNPACK = """
import sys
sys.path.insert(0, sys.argv[1])
from board_agent.bootstrap import unpack
unpack.code()
"""

_MARK = b"\nrkernel-reply: "  # see common.reply
_UNWRITABLE = ("EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR")
_bootstrap: object = None


def load(code: str) -> str:
    """Import the code with a given hash; return whether it is installed."""
    global _bootstrap
    folder = next(filter(os.path.isdir, _folders(code)), None)
    if folder is None:
        return json.dumps({"installed": False})
    for name in [n for n in sys.modules if n.split(".")[0] == "board_agent"]:
        del sys.modules[name]  # another version's, in a service that has run for long
    sys.path.insert(0, folder)
    try:
        _bootstrap = importlib.import_module("board_agent.bootstrap.remote_calls")
    except ImportError:  # somebody has tidied up there; what is left goes when this process has
        os.rename(folder, "%s.%d" % (folder, os.getpid()))
        return json.dumps({"installed": False})
    finally:
        sys.path.remove(folder)
    return json.dumps({"installed": True})


def install(code: str, archive: bytes) -> str:
    """Have a child process unpack a zip archive as the code with a given hash.

    The program that does so is in the archive.

    It goes to the first of `_folders` that can be written, unless a disk is full.

    Returns:
        An empty object, or an `error`, `path` and `detail`.
    """
    said = ""
    for folder in _folders(code, make=True):
        reply = _install(folder, archive)
        said = said or reply  # the first one is for people
        if json.loads(reply).get("error") not in _UNWRITABLE:
            return reply
    return said


def _install(folder: str, archive: bytes) -> str:
    path = "%s.%s.zip" % (folder, os.urandom(4).hex())
    command = [sys.executable or "python3", "-c", _UNPACK, path, folder]
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        try:
            with open(path, "wb") as file:
                file.write(archive)
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            if os.path.exists(path):
                os.unlink(path)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "")
        return json.dumps({"error": name, "path": folder, "detail": str(error)})
    _, mark, reply = run.stdout.rpartition(_MARK)
    if run.returncode or not mark:
        detail = run.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return json.dumps({"error": "", "path": folder, "detail": detail})
    return reply.partition(b"\n")[0].decode()


def call(name: str, arguments: str) -> str:
    """Call a function of board_agent.bootstrap.remote_calls with the arguments in a JSON object."""
    return json.dumps(getattr(_bootstrap, name)(**json.loads(arguments)))


def send(name: str, data: bytes, arguments: str) -> str:
    """Call one with bytes, and then with the arguments in a JSON array."""
    return json.dumps(getattr(_bootstrap, name)(data, *json.loads(arguments)))


def hand_over(path: str, marker: str) -> str:
    """Hand our stdin and stdout over to the agent at a Unix socket; return only if that fails."""
    handover = importlib.import_module("board_agent.bootstrap.handover")
    stdin, stdout = globals()["stdio"]  # left there by the first stage
    return json.dumps({"error": handover.hand_over(stdin, stdout, path, marker)})


def _folders(code: str, make: bool = False) -> Iterator[str]:
    """Give the places for the code, best first; with `make`, those that could be made, too.

    Where the home cannot be written, it is in a folder that all users share. There, a place counts
    only if it is ours alone: nobody else can have put code into it.
    """
    name = "code-" + code
    base = os.environ.get("XDG_CACHE_HOME")
    yield os.path.join(base or os.path.join(os.path.expanduser("~"), ".cache"), "rkernel", name)
    if base or not hasattr(os, "getuid"):
        return
    for shared in ("/var/tmp", "/tmp"):
        path = "%s/rkernel-cache-%d" % (shared, os.getuid())
        try:
            if make and not os.path.lexists(path):
                os.mkdir(path, 0o700)
            status = os.lstat(path)
        except OSError:
            continue
        if status.st_mode == 0o40700 and status.st_uid == os.getuid():
            yield os.path.join(path, name)
