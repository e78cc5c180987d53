"""Put our code on the board, and load it.

The bootstrap session executes this source before anything of ours is there: it stands alone. Each
function returns JSON, since only plain strings may cross that session. A board's rpyc service keeps
for good what is imported here, so that is little.
"""

import errno
import importlib
import json
import os
import subprocess
import sys

_UNPACK = """
import sys
sys.path.insert(0, sys.argv[1])
from board_agent.bootstrap import unpack
unpack.code()
"""

_MARK = b"\nrkernel-reply: "  # see common.reply
_bootstrap: object = None


def load(code: str) -> str:
    """Import the code with a given hash; return whether it is installed."""
    global _bootstrap
    folder = _folder(code)
    if not os.path.isdir(folder):
        return json.dumps({"installed": False})
    for name in [n for n in sys.modules if n.split(".")[0] == "board_agent"]:
        del sys.modules[name]  # another version's, in a service that has run for long
    sys.path.insert(0, folder)
    try:
        _bootstrap = importlib.import_module("board_agent.bootstrap.remote_calls")
    finally:
        sys.path.remove(folder)
    return json.dumps({"installed": True})


def install(code: str, archive: bytes) -> str:
    """Have a child process unpack a zip archive as the code with a given hash.

    The program that does so is in the archive.

    Returns:
        An empty object, or an `error`, `path` and `detail`.
    """
    folder = _folder(code)
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


def _folder(code: str) -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rkernel", "code-" + code)
