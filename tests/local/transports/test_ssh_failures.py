"""What can go wrong on the way to a program over ssh: the same error from both clients."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from rkernel_launcher import errors
from tests.support import sshd
from tests.support.ports import unused_port
from tests.support.ssh_pc import LIMIT, Pc


def refused(pc: Pc, error: type[Exception], target: object) -> str:
    with pytest.raises(error) as caught:
        pc.start(target).close()  # type: ignore[arg-type]
    return str(caught.value)


@contextmanager
def greeter(*greetings: bytes) -> Iterator[int]:
    """Give a port that says something to each connection, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for greeting in greetings:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(greeting)
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(LIMIT)
                    while connection.recv(4096):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(LIMIT)
        assert not thread.is_alive(), "not every greeting was fetched"


def test_a_host_that_is_not_known(pc: Pc) -> None:
    assert "nowhere.invalid" in refused(pc, errors.UnknownHost, pc.target(host="nowhere.invalid"))


def test_a_refused_port(pc: Pc) -> None:
    port = unused_port()
    assert str(port) in refused(pc, errors.PortRefused, pc.target(host="127.0.0.1", port=port))


def test_a_network_that_does_not_lead_there(pc: Pc) -> None:
    target = pc.target(host="255.255.255.255")  # which TCP never leads to
    assert "cannot reach 255.255.255.255" in refused(pc, errors.NoRoute, target)


def test_a_server_that_runs_nothing(pc: Pc) -> None:
    with sshd.openssh("MaxSessions 0") as server:
        pc.know(server)
        server.authorize(pc.key())
        said = refused(pc, errors.SshFailed, pc.target(server))
    assert "failed" in said and said.endswith(" true")  # the command to try


def test_a_server_that_says_nothing_is_waited_for_as_long_as_the_settings_say(pc: Pc) -> None:
    pc.configure("ConnectTimeout 1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        target = pc.target(host="127.0.0.1", port=silent.getsockname()[1])
        refused(pc, errors.SshSilent, target)
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"", "no reason"),
        (b"Exceeded MaxStartups\r\n", "Exceeded MaxStartups"),
        (b"Not allowed at this time\r\n", "Not allowed at this time"),
        (b"HTTP/1.0 400 Bad \x1b[31m Request\r\n\r\n", "HTTP/1.0 400 Bad "),
    ],
)
def test_a_server_that_is_busy_is_quoted(pc: Pc, greeting: bytes, words: str) -> None:
    with greeter(greeting, greeting, greeting) as port:  # we try three times
        said = refused(pc, errors.SshBusy, pc.target(host="127.0.0.1", port=port))
    assert words in said and "Wait a minute" in said and "\x1b" not in said


def test_a_server_that_is_busy_for_a_moment_is_tried_again(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())
    argv, server.argv = server.argv, ["printf", "Exceeded MaxStartups\\r\\n"]

    def free() -> None:
        deadline = time.monotonic() + LIMIT
        while server.connections == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        server.argv = argv

    thread = threading.Thread(target=free)
    thread.start()
    pc.works(pc.target(server))
    thread.join(LIMIT)
    assert server.connections == 2


def test_a_server_with_nothing_in_common(pc: Pc) -> None:
    pc.configure("Host usual\n HostName 127.0.0.1")
    if pc.engine == "openssh":
        pc.configure(" Ciphers aes128-ctr")
    with sshd.openssh("Ciphers chacha20-poly1305@openssh.com") as server:
        pc.know(server)
        said = refused(pc, errors.NoCommonAlgorithm, pc.target(server, host="usual"))
        assert "no cipher in common" in said
        assert "Ciphers +chacha20-poly1305@openssh.com" in said


@pytest.mark.parametrize("engine", ["openssh"])
@pytest.mark.parametrize(
    ("command", "error"), [("no-such-program", errors.NoProgram), ("true", errors.SshUnusable)]
)
def test_a_client_that_is_none(pc: Pc, command: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=command):
        pc.start(replace(pc.target(host="board"), ssh_command=command))


RELAY = """
import socket, sys, threading
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := sys.stdin.buffer.read1(65536):
        far.sendall(data)
    far.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := far.recv(65536):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""


@pytest.mark.parametrize("engine", ["openssh"])
def test_a_proxy_command_carries_the_connection(pc: Pc, server: sshd.Server) -> None:
    (pc.home / "relay.py").write_text(RELAY)
    server.authorize(pc.key())
    pc.configure(f"Host board\n HostName 127.0.0.1\n Port {server.port}")
    pc.configure(f" ProxyCommand {sys.executable} {pc.home}/relay.py %h %p")
    pc.works(pc.target(host="board"))


@pytest.mark.parametrize("engine", ["openssh"])
def test_a_proxy_command_that_fails_is_quoted(pc: Pc) -> None:
    pc.configure("ProxyCommand sh -c 'echo no way out >&2; exit 7'")
    assert "no way out" in refused(pc, errors.ProxyFailed, pc.target(host="board"))


def test_a_jump_host(pc: Pc) -> None:
    with sshd.openssh() as jump, sshd.openssh() as board:
        pc.know(jump, board)
        for server in (jump, board):
            server.authorize(pc.key(f"id_{server.port}"))
        pc.configure(f"Host jump\n HostName 127.0.0.1\n Port {jump.port}")
        pc.configure(f" IdentityFile {pc.ssh}/id_{jump.port}")
        pc.configure(f"Host board\n HostName 127.0.0.1\n Port {board.port}\n ProxyJump jump")
        pc.configure(f" IdentityFile {pc.ssh}/id_{board.port}")
        pc.works(pc.target(host="board"))
        assert (jump.connections, board.connections) == (1, 1)
        identity = str(pc.ssh / f"id_{board.port}")
        pc.works(pc.target(board, identity=identity, jump="jump"))
        pc.known_hosts.write_text(board.known_hosts)  # each host on the way is checked
        with pytest.raises((errors.UnknownHostKey, errors.JumpFailed)):
            pc.start(pc.target(host="board"))
        assert (jump.connections, board.connections) == (3, 2)


def test_a_jump_host_that_reaches_nothing_is_a_sentence(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())
    jump = f"127.0.0.1:{server.port}"
    target = pc.target(host="127.0.0.1", port=unused_port(), jump=jump)
    assert "could not reach" in refused(pc, errors.JumpFailed, target)
    with sshd.openssh("AllowTcpForwarding no") as closed:
        pc.know(closed)
        closed.authorize((pc.ssh / "id_ed25519.pub").read_text())
        refused(pc, errors.JumpFailed, pc.target(server, jump=f"127.0.0.1:{closed.port}"))


def test_the_loss_of_the_board_ends_the_connection_to_the_jump_host(
    pc: Pc, server: sshd.Server
) -> None:
    with sshd.openssh() as jump:
        pc.know(jump)
        server.authorize(pc.key())
        jump.authorize((pc.ssh / "id_ed25519.pub").read_text())
        stream = pc.start(pc.target(server, jump=f"127.0.0.1:{jump.port}"))
        assert stream.read(100, LIMIT) == b"here\n"
        server.drop()
        assert stream.read(100, LIMIT) == b""
        stream.close()
