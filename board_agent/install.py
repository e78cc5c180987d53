"""Put our code on the board, and load it.

Executed from its source in the bootstrap session before anything of ours is there: it stands alone.
Each function returns JSON, since only plain strings may cross that session.
"""

import errno
import importlib
import io
import json
import os
import shutil
import sys
import zipfile
from typing import Any, Dict

_bootstrap: Any = None


def load(code: str) -> str:
    """Import the code with a given hash; say whether it is there."""
    global _bootstrap
    folder = _folder(code)
    if not os.path.isdir(folder):
        return json.dumps({"installed": False})
    for name in [n for n in sys.modules if n.split(".")[0] == "board_agent"]:
        del sys.modules[name]  # another version's, in a service that has run for long
    sys.path.insert(0, folder)
    try:
        _bootstrap = importlib.import_module("board_agent.bootstrap")
    finally:
        sys.path.remove(folder)
    return json.dumps({"installed": True})


def install(code: str, archive: bytes) -> str:
    """Unpack a zip archive as the code with a given hash, whole or not at all."""
    folder = _folder(code)
    partial = "%s.%d" % (folder, os.getpid())
    try:
        os.makedirs(partial, 0o700)
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(partial)
        _compile(partial)
        os.sync()  # a board may lose its power at any time, and a half-written file would stay
        os.rename(partial, folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another launcher was faster
            name = errno.errorcode.get(error.errno or 0, "")
            return json.dumps({"error": name, "path": folder, "detail": str(error)})
    return json.dumps({})


def call(name: str, arguments: str) -> str:
    """Call a function of board_agent.bootstrap with the arguments in a JSON object."""
    result: Dict[str, Any] = getattr(_bootstrap, name)(**json.loads(arguments))
    return json.dumps(result)


def send(name: str, data: bytes, arguments: str) -> str:
    """Call one with bytes, and then the arguments in a JSON array."""
    result: Dict[str, Any] = getattr(_bootstrap, name)(data, *json.loads(arguments))
    return json.dumps(result)


def _folder(code: str) -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rkernel", "code-" + code)


def _compile(folder: str) -> None:
    import compileall

    compileall.compile_dir(folder, quiet=2, force=True)
