"""The names of other packages that we lean on and that they do not promise: each is still there.

An upgrade that takes one away says here what it broke, and for whom. What a name does is tested
where it is used.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from importlib.resources import files
from types import ModuleType
from typing import Any

import IPython
import pytest
import zeroconf  # noqa: F401 - its import starts a program, which a unit test may not

from board_agent.common import hashlib_without_openssl
from board_agent.kernel import lazy_imports
from rkernel_launcher.board import bootstrap
from tests.support.boards import ROOT

# By the module of ours that needs them. A | stands between the names that versions have for one.
NAMES = {
    "board_agent/kernel/app.py": """
        ipykernel.iostream.OutStream.write
        ipykernel.iostream.OutStream.flush
        ipykernel.iostream.OutStream.closed
        ipykernel.iostream.OutStream.parent_header
        ipykernel.iostream.OutStream.pub_thread
        ipykernel.iostream.OutStream._buffer_lock
        ipykernel.iostream.OutStream._buffers|_buffer
        ipykernel.iostream.OutStream._flush
        ipykernel.iostream.OutStream._flush_pending
        ipykernel.iostream.OutStream._rotate_buffers|_rotate_buffer
        ipykernel.iostream.IOPubThread._events
        ipykernel.iostream.IOPubThread.schedule
        ipykernel.iostream.IOPubThread.thread
        ipykernel.kernelapp.IPKernelApp._bind_socket
        ipykernel.kernelapp.IPKernelApp.blocking_class
        ipykernel.kernelapp.IPKernelApp.init_iopub
        ipykernel.kernelapp.IPKernelApp.init_pdb
        ipykernel.kernelapp.IPKernelApp.iopub_thread
        ipykernel.kernelapp.IPKernelApp.kernel
        ipykernel.kernelapp.IPKernelApp.outstream_class
        ipykernel.kernelapp.IPKernelApp.parent_handle
        ipykernel.kernelapp.IPKernelApp.shell
        traitlets.config.Application._configure_logging
        traitlets.config.Application._log_formatter_cls
        traitlets.config.Application._logging_configured
        traitlets.config.Application.log_datefmt
        traitlets.config.Application.log_format
        traitlets.config.Application.logging_config
        traitlets.config.Application.parse_command_line
        IPython.core.interactiveshell.InteractiveShell.display_pub
        IPython.core.interactiveshell.InteractiveShell._tee
    """,
    "board_agent/kernel/completion.py": """
        IPython.core.completer.Completer.use_jedi
        IPython.core.interactiveshell.InteractiveShell.Completer
        ipykernel.ipkernel.IPythonKernel.do_complete
    """,
    "board_agent/kernel/history.py": """
        IPython.core.interactiveshell.HistoryManager
        IPython.core.interactiveshell.InteractiveShell.configurables
        IPython.core.interactiveshell.InteractiveShell.history_manager
        IPython.core.history.HistoryManager._db_changed
        IPython.core.history.HistoryManager.enabled
        IPython.core.history.HistoryManager.dir_hist
        IPython.core.history.HistoryManager.exceptions
        IPython.core.history.HistoryManager.input_hist_parsed
        IPython.core.history.HistoryManager.input_hist_raw
        IPython.core.history.HistoryManager.output_hist
        IPython.core.history.HistoryManager.output_hist_reprs
        IPython.core.history.HistoryManager.outputs
        IPython.core.interactiveshell.ExecutionInfo.store_history
        ipykernel.ipkernel.IPythonKernel.do_history
    """,
    "board_agent/kernel/lazy_imports.py": """
        importlib._bootstrap._DeadlockError
        importlib._bootstrap._ModuleLockManager
        _strptime._strptime_datetime
        ipykernel.eventloops._use_appnope
    """,
    "board_agent/kernel/main.py": """
        atexit._run_exitfuncs
        ipykernel.control.ControlThread.io_loop
        ipykernel.kernelapp.IPKernelApp.control_thread
        subprocess._args_from_interpreter_flags
    """,
    "board_agent/kernel/maix_hook.py": """
        sys._getframe
    """,
    "board_agent/display/publisher.py": """
        sys._current_frames
        ipykernel.kernelapp.IPKernelApp.abs_connection_file
        ipykernel.zmqshell.ZMQDisplayPublisher._flush_streams
        ipykernel.zmqshell.ZMQDisplayPublisher.parent_header
        ipykernel.zmqshell.ZMQDisplayPublisher.pub_socket
        ipykernel.zmqshell.ZMQDisplayPublisher.session
        IPython.core.interactiveshell.InteractiveShell.run_cell_async
    """,
    "board_agent/display/jpeg.py": """
        PIL.Image.SAVE
        PIL.Image.Image.encoderconfig
        PIL.Image.Image.encoderinfo
        PIL.JpegImagePlugin._save
    """,
    "board_agent/bootstrap/first_stage.py": """
        rpyc.core.channel.Channel
        rpyc.core.service.SlaveService._connect
        rpyc.core.stream.PipeStream.read
    """,
    "rkernel_launcher/board/rpyc/packets.py": """
        rpyc.core.brine._load
        rpyc.core.brine.TAG_TUP3
        rpyc.core.brine.dump
    """,
    "rkernel_launcher/board/rpyc/session.py": """
        rpyc.core.consts.HANDLE_CALL
        rpyc.core.consts.HANDLE_CALLATTR
        rpyc.core.consts.HANDLE_CLOSE
        rpyc.core.consts.HANDLE_GETROOT
        rpyc.core.consts.LABEL_LOCAL_REF
        rpyc.core.consts.LABEL_REMOTE_REF
        rpyc.core.consts.LABEL_TUPLE
        rpyc.core.consts.LABEL_VALUE
        rpyc.core.consts.MSG_EXCEPTION
        rpyc.core.consts.MSG_REPLY
        rpyc.core.consts.MSG_REQUEST
    """,
    "rkernel_launcher/discovery/mdns.py": """
        zeroconf.DNSAddress.address
        zeroconf.DNSOutgoing.add_question
        zeroconf.DNSPointer.alias
        zeroconf.DNSQuestion
        zeroconf.DNSRecord
        zeroconf.Zeroconf.async_send
        zeroconf.DNSCache.async_entries_with_name
    """,
    "rkernel_launcher/transports/paramiko/channels.py": """
        paramiko.Channel.status_event
    """,
    "rkernel_launcher/transports/paramiko/connection.py": """
        paramiko.Transport.banner_timeout
        paramiko.Transport.handshake_timeout
        paramiko.Transport.packetizer
        paramiko.Transport.remote_version
        paramiko.Transport.sock
        paramiko.packet.Packetizer.complete_handshake
    """,
    "rkernel_launcher/transports/paramiko/keys.py": """
        paramiko.agent.AgentSSH._send_message
    """,
    "rkernel_launcher/transports/paramiko/login.py": """
        paramiko.Transport._auth_trigger
        paramiko.Transport._send_message
        paramiko.Transport.auth_handler
        paramiko.auth_handler.AuthHandler._finalize_pubkey_algorithm
    """,
    "rkernel_launcher/transports/prompts.py": """
        keyring.backends.fail.Keyring
        keyring.backends.null.Keyring
    """,
    "rkernel_launcher/cli/trial.py": """
        jupyter_client.manager.KernelManager.kernel_spec
    """,
}
SINCE_IPYTHON_9 = {"_tee", "exceptions", "outputs"}
PUBLIC = {  # that only look private
    *("_exit", "_fields", "_field_defaults", "_replace", "_repr_jpeg_", "_repr_png_"),
    "_port",  # a part of a name in connection files
}
PAIRS = [(user, name) for user, names in NAMES.items() for name in names.split()]
PRIVATE = re.compile(r"_[A-Za-z]\w*")


@pytest.mark.parametrize(("user", "name"), PAIRS, ids=[name for _, name in PAIRS])
def test_the_name_is_there(user: str, name: str) -> None:
    place, _, last = name.rpartition(".")
    if last in SINCE_IPYTHON_9 and IPython.version_info < (9,):
        pytest.skip("it came with IPython 9, and is looked for there")
    where = resolve(place)
    assert any(has(where, one) for one in last.split("|")), f"{name} is gone, which {user} needs"


def test_what_stands_in_for_a_lazy_module_is_in_the_module() -> None:
    for module, names in {**lazy_imports.LAZY, **lazy_imports.NUMPY}.items():
        found = importlib.import_module(module)
        for name in names:
            assert hasattr(found, name), f"{module}.{name} is gone, which lazy_imports needs"


@pytest.mark.parametrize(("module", "name"), lazy_imports._ELSEWHERE)
def test_what_a_lazy_module_has_from_elsewhere_is_there(module: str, name: str) -> None:
    elsewhere = importlib.import_module(lazy_imports._ELSEWHERE[module, name])
    expected = getattr(importlib.import_module(module), name)
    assert getattr(elsewhere, name, elsewhere) is expected


def test_this_python_has_hashes_of_its_own() -> None:
    for name in hashlib_without_openssl._OWN:
        assert importlib.util.find_spec(name), f"{name} is gone"


def test_rpyc_has_the_modules_that_are_sent() -> None:
    for name in bootstrap._MODULES:
        parts = name.split(".")[1:]
        place = files("rpyc").joinpath(*parts)
        assert place.is_dir() or place.with_suffix(".py").is_file(), f"{name} is gone"


def test_no_private_name_is_missing_above() -> None:
    """A name that begins with _ and that none of our modules defines is somebody else's."""
    used, defined = set(), set()
    for path in sorted([*ROOT.glob("board_agent/**/*.py"), *ROOT.glob("rkernel_launcher/**/*.py")]):
        tree = ast.parse(path.read_text("utf-8"))
        relative = str(path.relative_to(ROOT))
        used |= {(relative, name) for name in private_names(tree)}
        defined |= set(own_names(tree))
    listed = {last for _, name in PAIRS for last in re.split(r"[.|]", name)}
    listed |= {*PUBLIC, *hashlib_without_openssl._OWN, *lazy_imports._COMPILED.values()}
    listed |= {"_hashlib", "_sha2", "_sha256", "_sha512"}
    assert {pair for pair in used if pair[1] not in listed | defined} == set()


# --- helpers ------------------------------------------------------------------------------------


def resolve(path: str) -> Any:
    """Return a module, or something in one."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            found = getattr(found, name)
        return found
    raise AssertionError(f"there is no {path}")


def has(where: Any, name: str) -> bool:
    """Say whether something has a name, or whether objects of a class get it."""
    if hasattr(where, name):
        return True
    if isinstance(where, ModuleType):
        return False
    assigned = re.compile(rf"\bself\.{name}\b[^=\n]*=[^=]")
    for owner in where.__mro__:
        with contextlib.suppress(OSError, TypeError):  # one that is compiled
            if assigned.search(inspect.getsource(owner)):
                return True
    return False


def private_names(tree: ast.AST) -> Iterator[str]:
    """Give the names that begin with one _ and are asked of something, imported, or in strings."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name):
                names = [name]
            case ast.ImportFrom(names=aliases, level=0):
                names = [alias.name for alias in aliases]
            case ast.Constant(value=str(name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if PRIVATE.fullmatch(name))


def own_names(tree: ast.AST) -> Iterator[str]:
    """Give the names that a module of ours defines, or gives to its own objects."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self" | "cls")):
                yield name
