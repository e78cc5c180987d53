"""Serve rpyc over stdin and stdout on a board that may have nothing but Python.

The launcher feeds this file to `python3 -c` over stdin and calls `main`. rpyc's modules follow on
the same stream, the first time; then they are kept, compiled, in the user's cache folder. They are
loaded without a package's own `__init__`, which would import all of rpyc and plumbum.
"""

import json
import marshal
import os
import select
import sys
import threading
import time
import types
import zlib
from typing import IO, Any, Callable, List, Tuple

Modules = List[Tuple[str, types.CodeType]]
_GRACE = 1.0  # Seconds in which an idle first stage ends by itself.
_LOOK = 60.0  # Seconds, at most, between polls of how long the launcher has been silent.


def main(marker: str, key: str, size: int, packages: List[str], peer_timeout: float) -> None:
    """Report, receive the modules if need be, and serve until stdin ends.

    Args:
        marker: Begins each line for the launcher.
        key: Names this version of the modules.
        size: Bytes that have to be sent for them.
        packages: Names of those that are packages.
        peer_timeout: Seconds of silence after which the launcher is given up: no server need ever
            tell us that a network has gone.
    """
    incoming = os.fdopen(os.dup(0), "rb", 0)
    outgoing = os.fdopen(os.dup(1), "wb", 0)
    # From here on, what the board's own code prints or reads stays out of the stream.
    if os.path.sameopenfile(1, 2):  # as over adb, which mixes stdout and stderr
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def say(**facts: object) -> None:
        outgoing.write((marker + json.dumps(facts) + "\n").encode("ascii"))

    path = _cache_path(key)
    modules = _kept(path)
    if modules is None:
        say(need=True)
        modules = _received(incoming, size)
        kept = _keep(path, modules)
    else:
        kept = True
    _load(modules, packages)  # a Python may lack what they import
    say(kept=kept)
    _serve(incoming, outgoing, peer_timeout)


def _cache_path(key: str) -> str:
    """Name the file for this Python's bytecode: another Python could not read it."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # The XDG base directory rules say to ignore such a value.
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    name = "%s-%x" % (sys.implementation.cache_tag, sys.hexversion)
    return os.path.join(cache, "rkernel", "rpyc-" + key, name)


def _kept(path: str) -> "Modules | None":
    """Read the modules from the cache, but only from a file that nobody else can have written."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
                return None
            check, data = file.read(4), file.read()
    except OSError:
        return None
    # A board that lost its power while writing may have kept anything, and bad bytecode can crash.
    if check != _check(data):
        return None
    modules: Modules = marshal.loads(data)
    return modules


def _keep(path: str, modules: Modules) -> bool:
    """Write the modules to the cache; a board where that cannot be works without."""
    part = "%s.%d" % (path, os.getpid())
    data = marshal.dumps(modules)
    try:
        os.makedirs(os.path.dirname(os.path.dirname(path)), 0o700, exist_ok=True)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(_check(data) + data)
            os.replace(part, path)
        except OSError:
            os.unlink(part)
            raise
    except OSError:
        return False
    return True


def _check(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def _received(incoming: IO[bytes], size: int) -> Modules:
    """Receive the modules' sources, JSON packed with zlib, and compile them."""
    data = b""
    while len(data) < size:
        part = incoming.read(size - len(data))
        if not part:
            raise EOFError("the launcher went away")
        data += part
    sources = json.loads(zlib.decompress(data).decode("utf-8"))
    return [(name, compile(text, "<%s>" % name, "exec")) for name, text in sources]


def _load(modules: Modules, packages: List[str]) -> None:
    """Make the modules, in the order given, which is that of their needs."""
    for name in packages:
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = []
    # rpyc looks for ssl, which is slow to load and large, and can do without it.
    ssl = sys.modules.pop("ssl", None)
    sys.modules["ssl"] = None  # type: ignore[assignment]
    for name, code in modules:
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.__package__ = name if name in packages else name.rpartition(".")[0]
        exec(code, module.__dict__)
    del sys.modules["ssl"]
    if ssl is not None:
        sys.modules["ssl"] = ssl


def _end_with(incoming: IO[bytes], is_silent: Callable[[], bool], pause: float) -> None:
    """End this process with the launcher, even while a request hangs."""
    if not hasattr(select, "poll"):  # Windows, where this is a child that the launcher kills.
        return
    watched = os.dup(incoming.fileno())

    def watch() -> None:
        hangup = select.poll()
        hangup.register(watched, 0)  # The end of the stream is always reported.
        while not hangup.poll(pause * 1000) and not is_silent():
            pass
        time.sleep(_GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _serve(incoming: IO[bytes], outgoing: IO[bytes], peer_timeout: float) -> None:
    rpyc: Any = sys.modules
    heard = [time.monotonic()]

    class Stream(rpyc["rpyc.core.stream"].PipeStream):  # type: ignore[misc]
        def read(self, count: int) -> Any:
            data = super().read(count)
            heard[0] = time.monotonic()
            return data

    stream = Stream(incoming, outgoing)
    _end_with(
        incoming, lambda: time.monotonic() - heard[0] > peer_timeout, min(_LOOK, peer_timeout)
    )
    channel = rpyc["rpyc.core.channel"].Channel(stream)
    config = {"bind_threads": False}  # Which the environment could turn on: another wire format.
    service = rpyc["rpyc.core.service"].SlaveService()
    service.namespace["stdio"] = incoming.fileno(), outgoing.fileno()
    service._connect(channel, config).serve_all()
