"""What `rkernel doctor` asks of a board before anything of ours is needed there.

The bootstrap session executes this source: it stands alone, so that it works on a full disk and
beside damaged code. Each function returns JSON, as those of the loader.
"""

import errno
import glob
import json
import os
import time

_SAMPLE = bytes(4096)  # what a trial writes: less may fit where a disk is full
_MOST = 1 << 50  # some file systems have more room than JSON has numbers


def look_at_board(code: str) -> str:
    """Return the condition of the board.

    Args:
        code: The hash of our code.
    """
    return json.dumps(
        {
            "now": time.time(),
            "shell": _shell(),
            "cache": _place(_cache()),
            "temporary": _place("/tmp"),
            "code": _code_hash(os.path.join(_cache(), "code-" + code)),
            "cameras": [
                {"path": path, "usable": os.access(path, os.R_OK | os.W_OK)}
                for path in sorted(glob.glob("/dev/video*"))
            ],
        }
    )


def echo(data: bytes, size: int) -> str:
    """Take some bytes, and return a text of as many characters as are wanted."""
    return json.dumps(os.urandom((size + 1) // 2).hex()[:size])


def _cache() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "rkernel")


def _shell() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_shell
    except (ImportError, KeyError):
        return os.environ.get("SHELL", "")


def _place(path: str) -> "dict[str, object]":
    """Return how much room a folder has, or the folder that it would be made in."""
    folder = path
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    trouble, detail = "", ""
    trial = os.path.join(folder, ".rkernel-%s" % os.urandom(4).hex())
    try:
        with open(trial, "wb", buffering=0) as file:
            file.write(_SAMPLE)
    except OSError as failure:
        trouble = errno.errorcode.get(failure.errno or 0, "EIO")
        detail = failure.strerror or str(failure)
    finally:
        if os.path.exists(trial):
            os.unlink(trial)
    disk = os.statvfs(folder)
    return {
        "path": path,
        "trouble": trouble,
        "detail": detail,
        "free": min(disk.f_frsize * disk.f_bavail, _MOST),
        "files": min(disk.f_favail, _MOST) if disk.f_files else None,
    }


def _code_hash(folder: str) -> "str | None":
    """Return what names our code after its content, see `agent_archive`; None where it is not."""
    if not os.path.isdir(folder):
        return None
    import hashlib  # which may load OpenSSL

    names = []
    folder = os.path.join(folder, "board_agent")
    for path, _, files in os.walk(folder):
        names += [os.path.join(path, name) for name in files if name.endswith(".py")]
    contents = {os.path.relpath(name, folder).replace(os.sep, "/"): name for name in names}
    digest = hashlib.sha256()
    for name, path in sorted(contents.items()):
        with open(path, "rb") as file:
            content = file.read()
        digest.update(b"%s %d\n" % (name.encode(), len(content)) + content)
    return digest.hexdigest()[:12]
