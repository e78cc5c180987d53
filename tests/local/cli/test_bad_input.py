"""Everything that can be wrong gets one sentence, a status, and nothing half-written.

What ssh itself can object to is in test_ssh.py.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from board_agent.common.agent_lock import AgentLock
from board_agent.link.handshake import HELLO, MAGIC, NEW, VERSION
from board_agent.link.handshake import AgentHandshake as Handshake
from board_agent.link.link import Link
from rkernel_launcher import errors
from rkernel_launcher.board import agent_archive, reach
from rkernel_launcher.board.agent_endpoint import AgentEndpoint
from rkernel_launcher.errors import RkernelError
from rkernel_launcher.target import Target
from tests.support.boards import Board, wait_until
from tests.support.commands import (
    LIMIT,
    PYTHON,
    assert_refused,
    connection_file,
    disk,
    fill,
    kernels,
    launcher,
    rkernel,
    slave_service,
    wrapper,
)
from tests.support.environments import environment
from tests.support.ports import unused_port
from tests.support.pythons import interpreters
from tests.support.requirements import skip_or_fail

TOO_OLD = [v for v in interpreters() if tuple(map(int, v.split("."))) < (3, 8)]
Peer = Callable[[socket.socket, bytes], None]


def refused(home: Board, error: type[RkernelError], *arguments: str, words: str = "") -> None:
    """Add a kernel, in vain."""
    assert_refused(rkernel("add", *arguments), error, words)
    assert kernels(home) == []


def local(home: Board, error: type[RkernelError], *arguments: str, words: str = "") -> None:
    """Add a kernel of this machine, in vain; and in vain run it."""
    refused(home, error, "--via", "local", *arguments, words=words)
    run = launcher("--via", "local", *arguments, connection_file=connection_file(home))
    assert_refused(run, error, words)


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--host", "pi", "--port", "99999"],
        ["--host", "pi:0"],
        ["--host", "-oProxyCommand=touch"],
        ["--host", "pi", "--env", "no value"],
        ["--host", "pi", "--orphan-timeout", "soon"],
        ["--host", "pi", "--link-port", "-1"],
    ],
)
def test_options_that_cannot_be(home: Board, options: list[str]) -> None:
    refused(home, errors.BadOption, *options)


def test_names(home: Board) -> None:
    refused(home, errors.BadName, "--host", "pi", "--name", "../x")
    refused(home, errors.ForeignName, "--host", "pi", "--name", "python3", "--yes")
    assert_refused(rkernel("remove", "python3"), errors.NoSuchKernel)


def test_a_folder_for_kernels_that_cannot_be_written(
    home: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.folder / "file").write_text("")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(home.folder / "file"))
    refused(home, errors.KernelsUnusable, "--host", "pi.invalid", "--no-check")


# --- reaching the board -------------------------------------------------------------------------


@pytest.mark.parametrize("via", ["ssh", "rpyc", "auto"])
def test_a_host_that_is_not_known(home: Board, via: str) -> None:
    refused(home, errors.UnknownHost, "--via", via, "--host", "x.invalid", words="x.invalid")


@pytest.mark.parametrize("via", ["ssh", "rpyc"])
def test_a_port_that_refuses(home: Board, via: str) -> None:
    options = ["--via", via, "--host", f"127.0.0.1:{unused_port()}"]
    refused(home, errors.PortRefused, *options, words=options[-1][-5:])
    run = launcher(*options, connection_file=connection_file(home))
    assert_refused(run, errors.PortRefused)


def test_neither_ssh_nor_rpyc(home: Board) -> None:
    options = ["--host", "127.0.0.1", "--port", str(unused_port())]
    refused(home, errors.NoTransport, *options, words="neither over ssh (refused)")


def test_a_host_that_does_not_answer(home: Board) -> None:
    folder = Path(home.environment["HOME"], ".ssh")
    folder.mkdir(mode=0o700)
    (folder / "config").write_text("ConnectTimeout 1\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        options = ["--via", "ssh", "--host", f"127.0.0.1:{silent.getsockname()[1]}"]
        refused(home, errors.SshSilent, *options, words="says nothing")
        refused(home, errors.SshSilent, *options, "--ssh", "paramiko", words="says nothing")


def test_an_rpyc_port_that_speaks_http(home: Board) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            options = ["--via", "rpyc", "--host", f"127.0.0.1:{server.server_port}"]
            refused(home, errors.NotRpyc, *options)
        finally:
            server.shutdown()
            thread.join(LIMIT)


def test_a_machine_that_plays_no_board() -> None:
    start = "import sys; from rkernel_launcher import os_support; os_support.WINDOWS = True; "
    start += "from rkernel_launcher.cli.main import main; sys.exit(main())"
    command = [PYTHON, "-c", start, "add", "--via", "local"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert_refused(run, errors.NotSupportedHere)


# --- what the board has -------------------------------------------------------------------------


def test_no_python(home: Board) -> None:
    local(home, errors.NoPython, "--python", "/no/such/python", words="/no/such/python")
    with slave_service() as port:
        host = f"127.0.0.1:{port}"
        refused(home, errors.NoPython, "--via", "rpyc", "--host", host, "--python", "/none")


@pytest.mark.parametrize("version", TOO_OLD or [None])
def test_a_python_that_is_too_old(home: Board, version: str | None) -> None:
    if version is None:
        skip_or_fail("there is no Python older than 3.8 on this machine")
    local(home, errors.OldPython, "--python", interpreters()[version], words=version)


def test_a_python_that_is_none(home: Board) -> None:
    local(home, errors.ShellEnded, "--python", "/bin/false", words="status 1")
    path = home.folder / "noisy"
    path.write_text("#!/bin/sh\nprintf '\\033[2Jno \\342\\200\\256room\\n' >&2\nexit 9\n")
    path.chmod(0o755)
    local(home, errors.ShellEnded, "--python", str(path), words=r"\x1b[2Jno \u202eroom")


def venv(home: Board, *options: str) -> tuple[str, Path]:
    """Make a virtual environment without packages; give its Python and where they would be."""
    folder = home.folder / "venv"
    command = [PYTHON, "-m", "venv", "--without-pip", *options, str(folder)]
    subprocess.run(command, check=True, timeout=LIMIT)
    (packages,) = folder.glob("lib/python*/site-packages")
    return str(folder / "bin" / "python"), packages


def test_no_ipykernel(home: Board) -> None:
    python, _ = venv(home)
    own = ["--python", python, "--ipykernel", "board"]
    local(home, errors.NoIpykernel, *own, words="ipykernel")
    refused(home, errors.NoIpykernel, "--via", "local", *own, words="ensurepip")


def test_packages_that_are_too_old_for_ipykernel(home: Board) -> None:
    python = environment("old", "ipykernel==6.29.5", "--no-deps pyzmq==23.2.1")
    options = ["--via", "local", "--python", python, "--ipykernel", "board"]
    refused(
        home,
        errors.OldPackages,
        *options,
        words="needs pyzmq 24 or newer, but the board has 23.2.1",
    )


def test_a_board_of_an_unknown_kind(home: Board) -> None:
    python, packages = venv(home)
    name = "'Free\\x1b[5mBSD'"
    (packages / "sitecustomize.py").write_text(
        f"import platform\nplatform.system = lambda: {name}\n"
    )
    options = ["--via", "local", "--python", python]
    refused(home, errors.UnknownBoard, *options, words=r"(Free\x1b[5mBSD on")


def test_a_full_disk(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(home.folder / "disk", "size=16k") as folder:
        fill(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        local(home, errors.NoSpace, words=str(folder))
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["full"]


def test_a_disk_that_fills_while_our_code_is_written(
    home: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk(home.folder / "disk", "size=64k") as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        local(home, errors.NoSpace, words=str(folder))
        assert not list(folder.glob("rkernel/code-*"))


def test_a_folder_that_cannot_be_written(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(home.folder / "disk", "ro") as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        local(home, errors.CacheUnusable, words="Read-only")
    (home.folder / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home.folder / "file"))
    local(home, errors.CacheUnusable, words="Not a directory")


# --- the agent and its port ---------------------------------------------------------------------


def test_an_agent_that_does_not_start(home: Board) -> None:
    case = "*'board_agent --code'*) printf 'first\\nno \\033[5mluck\\n' >&2; exit 1;;"
    python = wrapper(home.folder / "python", case)
    run = launcher("--via", "local", "--python", python, connection_file=connection_file(home))
    assert_refused(run, errors.AgentFailed, r"no \x1b[5mluck")


def test_a_link_port_that_is_taken(home: Board) -> None:
    with slave_service() as port, socket.create_server(("127.0.0.1", 0)) as other:
        link_port = str(other.getsockname()[1])
        options = ["--via", "rpyc", "--host", f"127.0.0.1:{port}", "--link-port", link_port]
        run = launcher(*options, connection_file=connection_file(home))
        assert_refused(run, errors.LinkPortTaken, link_port)
        run = rkernel("add", *options)
        assert_refused(
            run, errors.CheckFailed, f"Another program on the board uses port {link_port}"
        )
        assert kernels(home) == []


def test_a_token_that_the_agent_does_not_know(home: Board) -> None:
    reached = reach.reach(Target(via="local"))
    try:
        reached.prepare()
        reached.start_agent()
    finally:
        reached.close()
    (state,) = Path(home.runtime).glob("rkernel/*/agent.json")
    state.write_text(json.dumps({**json.loads(state.read_text()), "token": "00" * 32}))
    run = launcher("--via", "local", connection_file=connection_file(home))
    assert_refused(run, errors.LinkRefused)


def test_an_agents_port_that_nobody_listens_at(home: Board) -> None:
    port = unused_port()
    agent = AgentEndpoint(port, "", "", b"")
    with slave_service() as service:
        reached = reach.reach(Target(via="rpyc", host="127.0.0.1", port=service))
        with pytest.raises(errors.AgentNotForwarded, match=str(port)):
            reached.connect(agent)


def says(data: bytes) -> Peer:
    """Answer what is said with some bytes."""

    def play(sock: socket.socket, token: bytes) -> None:
        sock.recv(HELLO, socket.MSG_WAITALL)
        sock.sendall(data)

    return play


def hangs_up_hard(sock: socket.socket, token: bytes) -> None:
    """Hear the beginning of a hello, and reset the connection."""
    sock.recv(1)  # and what is not read resets it


def breaks_off(sock: socket.socket, token: bytes) -> None:
    """Shake hands as an agent does, hear what is wanted, and go."""
    shake = Handshake(token)
    while shake.request is None:
        shake.receive_data(sock.recv(1))
        sock.sendall(shake.data_to_send())
    shake.accept(NEW, 0)
    sock.sendall(shake.data_to_send())
    sock.recv(1 << 10)


def breaks_the_protocol(sock: socket.socket, token: bytes) -> None:
    """Shake hands as an agent does, and send what no agent sends."""
    breaks_off(sock, token)
    sock.sendall(b"\xff" * 100)
    sock.recv(1 << 10)


def sends(content: dict[str, Any]) -> Peer:
    """Shake hands as an agent does, send a message, and go."""

    def play(sock: socket.socket, token: bytes) -> None:
        breaks_off(sock, token)
        link = Link(accepts_streams=True)
        link.message(content)
        sock.sendall(link.data_to_send())
        sock.recv(1 << 10)

    return play


@pytest.mark.parametrize(
    ("peer", "error", "words"),
    [
        (says(b""), errors.LinkRefused, ""),
        (says(b"HTTP/1.0 400 Bad Request\r\n\r\n"), errors.NotAnAgent, ""),
        (says(b"r\xff\x00" * 40), errors.NotAnAgent, ""),
        (says(MAGIC + bytes([VERSION + 1]) + bytes(32)), errors.OtherAgent, str(VERSION + 1)),
        (says(MAGIC + bytes([VERSION]) + bytes(73)), errors.WrongToken, ""),
        (hangs_up_hard, errors.HandshakeCut, "reset"),
        (breaks_off, errors.LinkLost, ""),
        (
            breaks_the_protocol,
            errors.BoardMisbehaved,
            "is not rkernel's agent: it sent what breaks",
        ),
        (sends({"type": "of tomorrow"}), errors.LinkLost, ""),
        (sends({"type": "note", "text": 5}), errors.LinkLost, ""),
        (sends({"type": "ready", "kernel": "a", "pid": "1"}), errors.BoardMisbehaved, "pid is '1'"),
        (sends({"type": "failed", "detail": []}), errors.BoardMisbehaved, "failed: detail"),
        (sends({"type": "ended"}), errors.BoardMisbehaved, "status is missing"),
    ],
)
def test_what_is_not_our_agent(
    home: Board, peer: Peer, error: type[RkernelError], words: str
) -> None:
    with false_agent(peer):
        options = ["--via", "local", "--orphan-timeout", "0"]
        run = launcher(*options, connection_file=connection_file(home))
        assert_refused(run, error, words)


@contextmanager
def false_agent(peer: Peer) -> Iterator[None]:
    """Take the agent's lock on this machine, and let `peer` deal with who connects."""
    token = os.urandom(32)
    lock = AgentLock(agent_archive.version(), "")
    assert lock.acquire()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(lock.socket)
    listener.listen()
    listener.settimeout(LIMIT)

    def serve() -> None:
        program, _ = listener.accept()
        with program:
            _, descriptors, _, _ = socket.recv_fds(program, 1, 3)
        with ExitStack() as stack:
            for descriptor in descriptors[1:]:
                stack.callback(os.close, descriptor)
            stream = stack.enter_context(socket.socket(fileno=descriptors[0]))
            stream.settimeout(LIMIT)
            peer(stream, token)

    thread = threading.Thread(target=serve)
    try:
        lock.write_state({"pid": os.getpid(), "port": None, "token": token.hex()})
        thread.start()
        yield
        thread.join(LIMIT)
    finally:
        listener.close()
        lock.clear()


# --- the connection file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("", ""),
        ("{", ""),
        ("[]", ""),
        ("{}", "missing"),
        ("\udcff", ""),
    ],
)
def test_a_connection_file_that_is_none(home: Board, text: str | None, words: str) -> None:
    path = home.folder / "with space.json"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    run = launcher("--via", "local", connection_file=path)
    assert_refused(run, errors.BadConnectionFile, words, str(path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shell_port", 0),
        ("hb_port", 65536),
        ("iopub_port", "x"),
        ("control_port", None),
        ("transport", "pigeon"),
    ],
)
def test_a_connection_file_with_a_wrong_value(home: Board, field: str, value: object) -> None:
    path = connection_file(home, **{field: value})
    run = launcher("--via", "local", connection_file=path)
    assert_refused(run, errors.BadConnectionFile)


def test_a_port_of_the_connection_file_that_is_taken(home: Board) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        path = connection_file(home, stdin_port=port)
        run = launcher("--via", "local", connection_file=path)
        assert_refused(run, errors.PortInUse, str(port))
    assert home.agents() == set()


# --- the kernel ---------------------------------------------------------------------------------


def test_a_folder_to_work_in_that_is_not_there(home: Board) -> None:
    options = ["--via", "local", "--workdir", "/no/such/folder"]
    run = launcher(*options, connection_file=connection_file(home))
    assert_refused(run, errors.KernelNotStarted, "/no/such/folder")
    assert_refused(rkernel("add", *options), errors.CheckFailed, "/no/such/folder")
    assert kernels(home) == []


@pytest.mark.parametrize(
    ("ending", "status", "words"), [("exit 7", 7, "status 7"), ("kill -9 $$", 137, "SIGKILL")]
)
def test_a_kernel_that_ends_at_once(home: Board, ending: str, status: int, words: str) -> None:
    case = f"*'board_agent.kernel '*|*board_agent.kernel.template*) echo bye >&2; {ending};;"
    python = wrapper(home.folder / "python", case)
    options = ["--via", "local", "--python", python]
    run = launcher(*options, connection_file=connection_file(home))
    assert_refused(run, errors.KernelDied, words, "Its last output: bye", status=status)
    assert_refused(rkernel("add", *options), errors.CheckFailed, words)
    assert kernels(home) == []
    wait_until(lambda: not home.kernels(), "the kernels are gone", home.limit)
