"""The kernel process: a stock ipykernel, with what a board and a slow link ask for.

The agent runs it as `python -m board_agent.kernel FD CONNECTION_FILE WORKDIR [--bundle FOLDER]
[--debugger] [--eager]`. FD is the kernel's socket to its agent: on it, this process says that it is
ready and receives another launcher's key, and its end means that the agent is gone. FOLDER is that
of a bundle, in place of the board's own ipykernel. `--eager` is for packages that cannot be
imported lazily.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any, Dict, Iterator, List, Optional

from ..common import agent_socket, home
from ..common.memory import SHORT, available
from . import interrupts, lazy_imports, maix_hook

POLL_SECONDS = 0.05  # seconds between polls of a thread that ends
KILL_AFTER = 1.5  # seconds between a polite end and the final one

IMPORTED_BY_KERNELS = (  # modules that a kernel imports when it is made: here, its template does it
    *("IPython.core.completerlib", "IPython.core.oinspect", "IPython.extensions.storemagic"),
    *("ipykernel.debugger", "tornado.platform.asyncio", "unicodedata", "queue"),
)

_agent_is_gone = threading.Event()
_app: Any = None


def main(argv: List[str], imports: Optional[contextlib.ExitStack] = None) -> None:
    """Run a kernel until it is shut down.

    Args:
        argv: The arguments, from FD on.
        imports: What `import_all` was given, where it has run.
    """
    agent_socket.adopt(int(argv[0]))
    connection_file, workdir = argv[1:3]
    debugger = "--debugger" in argv[3:]
    bundle = argv[argv.index("--bundle") + 1] if "--bundle" in argv[3:] else None
    interrupts.install()
    threading.Thread(target=_watch_agent, daemon=True).start()
    _set_up_process(workdir)
    maix_hook.install()
    global _app
    try:
        if imports is None:
            imports = contextlib.ExitStack()
            import_all(bundle, imports, debugger, lazily="--eager" not in argv)
        with imports:
            from . import app

            _app = app.make(connection_file)
    except Exception as error:
        if "--eager" not in argv:
            _restart_eagerly([*argv, "--eager"])
        if not isinstance(error, ImportError):
            raise
        agent_socket.send({"missing": error.name or "ipykernel", "detail": str(error)})
        sys.exit(1)
    if available(SHORT) < SHORT:
        lazy_imports.lazy_numpy()
    import ipykernel
    from tornado.ioloop import IOLoop

    # Not before it runs: what closes a kernel waits for ever for one that is still being set up.
    IOLoop.current().add_callback(signal.signal, signal.SIGTERM, _end_politely)
    agent_socket.send({"ready": True, "ipykernel": ipykernel.__version__})
    _app.start()
    _let_control_finish()


def _let_control_finish() -> None:
    """Wait until the control thread is done with the request that ended the kernel."""
    # It uses sockets that the interpreter closes as it exits, and would hang in them.
    thread = getattr(_app, "control_thread", None)
    if thread is None:
        return
    done, deadline = threading.Event(), time.monotonic() + KILL_AFTER
    thread.io_loop.add_callback(done.set)
    while thread.is_alive() and time.monotonic() < deadline and not done.wait(POLL_SECONDS):
        pass


def _restart_eagerly(argv: List[str]) -> None:
    """Try again in the same process: packages that we do not know may not bear laziness."""
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    os.chdir(home.code())
    os.set_inheritable(int(argv[0]), True)
    command = [sys.executable, *_args_from_interpreter_flags(), "-m", "board_agent.kernel", *argv]
    os.execv(sys.executable, command)


def import_all(
    bundle: Optional[str],
    imports: contextlib.ExitStack,
    debugger: bool = False,
    lazily: bool = True,
) -> None:
    """Import what a kernel is made of.

    Args:
        bundle: The folder of a bundle, or None for what the board has.
        imports: Receives what is to be undone once the kernel is made.
        debugger: Whether the kernel is to have one.
        lazily: Whether to load later what a kernel may do without.

    Raises:
        Exception: Whatever the board's packages raise.
    """
    code = sys.path.pop(0)  # where `-m` found us
    sys.path.append(code)
    imports.enter_context(_bundle(bundle, code))
    if lazily:
        imports.enter_context(lazy_imports.lazily())
    if not debugger:
        sys.modules["debugpy"] = None  # type: ignore[assignment] # 5 MB that only a debugger needs
        imports.callback(sys.modules.pop, "debugpy")  # the user may still import it
    from . import app  # noqa: F401

    for name in IMPORTED_BY_KERNELS:
        with contextlib.suppress(ModuleNotFoundError):  # ipykernel 5 has no debugger
            importlib.import_module(name)
    lazy_imports.disable_stand_ins()  # making a kernel runs startup files


@contextlib.contextmanager
def _bundle(folder: Optional[str], code: str) -> Iterator[None]:
    """Import from a bundle; meanwhile from the stand-ins for compiled packages, too.

    Those are for ipykernel. A cell that imports one which is not loaded gets the board's, if any.
    """
    if folder is None:
        yield
        return
    from . import bundle_importer

    bundle = bundle_importer.use(folder)
    stand_ins = os.path.join(code, "board_agent", "stand_ins")
    sys.path.insert(0, stand_ins)
    yield
    sys.path.remove(stand_ins)
    if "" in sys.path:  # the user's own modules come first, as they do before site-packages
        sys.path.remove(bundle)
        sys.path.insert(sys.path.index("") + 1, bundle)
    if os.path.dirname(getattr(sys.modules.get("psutil"), "__file__", None) or "") == stand_ins:
        del sys.modules["psutil"]


def _set_up_process(workdir: str) -> None:
    """Make the process look like a kernel started by hand."""
    os.chdir(os.path.expanduser(workdir) if workdir else os.path.expanduser("~"))
    signal.signal(signal.SIGTERM, _end)
    faulthandler.enable(os.dup(2), all_threads=False)  # a crash is for the agent, not the cell
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # not as the agent, see there
    except (AttributeError, OSError):
        pass
    try:  # if memory runs out, the kernel is to go, not the agent or sshd
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass


def _end_politely(signum: int, frame: Any) -> None:
    import atexit

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit._run_exitfuncs()
    _end(signum, frame)


def _end(signum: int, frame: Any) -> None:
    if _agent_is_gone.is_set():
        os.killpg(0, signal.SIGKILL)  # nobody else ends what cells have left running
    os._exit(0)


def _watch_agent() -> None:
    try:
        for line in agent_socket.lines(interrupts.wait):
            with contextlib.suppress(Exception):  # whatever it is, this thread has to stay
                _change_key(json.loads(line))
    except OSError:
        pass
    _agent_is_gone.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(KILL_AFTER)
    os.killpg(0, signal.SIGKILL)


def _change_key(wanted: Dict[str, str]) -> None:
    """Sign with another launcher's key from now on; the agent asks once the kernel is ready."""
    _app.session.signature_scheme = wanted["signature_scheme"]
    _app.session.key = wanted["key"].encode()
    agent_socket.send({"rekeyed": True})
