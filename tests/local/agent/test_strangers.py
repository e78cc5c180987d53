"""Who may talk to an agent: strangers get little memory, little time, and no information."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from board_agent.agent.strangers import MAX_BYTES, MAX_STRANGERS
from board_agent.link.handshake import (
    BROKEN,
    HELLO,
    MAGIC,
    PROOF,
    RESUME_REPLY,
    SESSION,
    VERSION,
    LauncherHandshake,
)
from board_agent.link.link import Link
from tests.support.agents import LIMIT, Agent, Frontend, Session, alive, running
from tests.support.boards import wait_until
from tests.support.pythons import interpreter

PYTHONS = ["this", "3.8"]


@pytest.fixture(scope="module", params=PYTHONS)
def agent(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """Give an agent that outlives the test, as an agent should."""
    with running(python=interpreter(request.param)) as made:
        yield made
        assert alive(made.pid)
        assert "Traceback" not in made.log


@pytest.fixture
def session(agent: Agent) -> Iterator[Session]:
    with Session(agent) as made:
        yield made


def connect(agent: Agent) -> socket.socket:
    return socket.create_connection(("127.0.0.1", agent.port), timeout=LIMIT)


def read_all(sock: socket.socket) -> bytes:
    """Return what comes before the peer hangs up."""
    data = b""
    try:
        while part := sock.recv(1 << 16):
            data += part
    except ConnectionResetError:
        pass
    return data


def launcher(token: bytes) -> LauncherHandshake:
    """Give a launcher's end of the handshake, for a session of its own."""
    return LauncherHandshake(token, os.urandom(SESSION), 0)


def hear_hello(sock: socket.socket, shake: LauncherHandshake) -> None:
    sock.sendall(shake.data_to_send())
    hello = b""
    while len(hello) < HELLO:
        part = sock.recv(HELLO - len(hello))
        assert part, "the agent hung up"
        hello += part
    shake.receive_data(hello)


# --- no information ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [b"\0", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b"rkernel", b"x" * 100_000],
    ids=["a byte", "http", "tls", "half a hello", "a lot"],
)
def test_garbage_gets_no_answer(agent: Agent, session: Session, garbage: bytes) -> None:
    with connect(agent) as sock:
        try:
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has hung up already
        assert read_all(sock) == b""
    assert session.is_served()


def test_a_wrong_token_gets_no_proof(agent: Agent) -> None:
    shake = launcher(b"guessed" * 5)
    with connect(agent) as sock:
        hear_hello(sock, shake)
        sock.sendall(shake.data_to_send())
        assert read_all(sock) == b""


def test_a_wrong_token_does_not_touch_a_session(session: Session) -> None:
    """Nor does the right one tell a stranger who heard it of another's session."""
    guess = LauncherHandshake(b"guessed" * 5, session.number, 0)
    with connect(session.agent) as sock:
        hear_hello(sock, guess)
        sock.sendall(guess.data_to_send())
        assert read_all(sock) == b""
    assert session.is_served()


def test_another_version_is_told_ours(agent: Agent) -> None:
    with connect(agent) as sock:
        sock.sendall(MAGIC + bytes([VERSION + 1]) + bytes(HELLO))
        assert read_all(sock)[: len(MAGIC) + 1] == MAGIC + bytes([VERSION])


def test_what_comes_right_behind_the_proof_is_not_lost(agent: Agent) -> None:
    """A launcher need not wait for the agent's proof; here it sends more than a stranger may."""
    shake, link = launcher(agent.token), Link()
    link.resume(0)
    link.message({"type": "unknown", "text": "x" * 5 * MAX_BYTES})
    link.message({"type": "start", "python": "/no/such/python"})
    with connect(agent) as sock:
        hear_hello(sock, shake)
        sock.sendall(shake.data_to_send() + link.data_to_send())
        said = b""
        while b"failed" not in said[RESUME_REPLY.size + PROOF :]:
            part = sock.recv(1000)
            assert part, "the agent hung up"
            said += part


# --- little memory and time ----------------------------------------------------------------------


def test_a_stranger_may_say_little(agent: Agent) -> None:
    """Also if what it says is not wrong yet."""
    with connect(agent) as sock:
        shake = launcher(agent.token)
        hear_hello(sock, shake)
        sock.sendall(shake.data_to_send()[:-1])  # it lacks a byte of being proven
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.sendall(b"x" * MAX_BYTES)
        sock.settimeout(LIMIT)
        assert read_all(sock) == b""


@pytest.mark.parametrize("python", PYTHONS)
def test_silence_is_not_waited_for_long(python: str) -> None:
    patch = "from board_agent.agent import strangers; strangers.HANDSHAKE_TIMEOUT = 0.2"
    with running(python=interpreter(python), patch=patch) as agent, Session(agent) as session:
        for said in (b"", MAGIC, launcher(b"").data_to_send()):
            with connect(agent) as sock:
                sock.sendall(said)
                assert len(read_all(sock)) == (HELLO if len(said) == HELLO else 0)
        assert session.is_served(), "who has proven itself may be silent"


def _descriptors(agent: Agent) -> int:
    return len(list(Path(f"/proc/{agent.pid}/fd").iterdir()))


def _patient_session(agent: Agent) -> Session:
    """Begin a session, as often as it takes."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return Session(agent)
        except (EOFError, OSError):
            assert time.monotonic() < deadline, "no launcher can connect"


def test_a_flood_of_strangers_disturbs_nobody(agent: Agent) -> None:
    with ExitStack() as stack, Session(agent) as session:
        session.start(key="flooded")
        frontend = stack.enter_context(Frontend(session, "flooded"))
        frontend.listen()
        before = _descriptors(agent)
        flood = []
        for step in range(500):
            flood.append(stack.enter_context(connect(agent)))
            if step % 50 == 0:
                assert frontend.run(f"print({step})") == f"{step}\n"
        for sock in flood[: 500 - MAX_STRANGERS]:
            assert read_all(sock) == b"", "the oldest have to go"
        assert _descriptors(agent) <= before + MAX_STRANGERS
        with _patient_session(agent) as another:
            assert another.is_served()
        assert frontend.run("print('still there')") == "still there\n"
        session.say("end")
        session.wait_for("ended")


FEW = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))"


def test_when_there_are_no_sockets_left_the_agent_waits_and_goes_on() -> None:
    patch = f"{FEW}; from board_agent.agent import strangers; strangers.MAX_STRANGERS = 1000"
    with ExitStack() as stack, running(patch=patch) as agent, Session(agent) as session:
        flood = [stack.enter_context(connect(agent)) for _ in range(200)]
        wait_until(lambda: _descriptors(agent) == 100, "no socket is left", LIMIT)
        before = _seconds_of_cpu(agent.pid)
        deadline = time.monotonic() + 1.5  # more than one ACCEPT_BACKOFF
        while time.monotonic() < deadline:
            assert session.is_served()
            time.sleep(0.1)
        assert _seconds_of_cpu(agent.pid) - before < 0.3
        session.say("start", key="k", python=sys.executable, workdir="/tmp")
        assert session.wait_for("failed", "ready")["type"] == "failed"
        for sock in flood:
            sock.close()
        with _patient_session(agent) as another:
            assert another.start()["type"] == "ready"
            another.say("end")
            another.wait_for("ended")
        assert "Traceback" not in agent.log


def _seconds_of_cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- those who break the protocol ----------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True], ids=["nothing", "a kernel"])
def test_a_launcher_that_breaks_the_protocol_loses_its_link_only(
    agent: Agent, session: Session, started: bool
) -> None:
    with Session(agent) as broken:
        pid = broken.start(key="broken")["pid"] if started else agent.pid
        broken.sock.setblocking(True)
        broken.sock.sendall(b"\xff" * 100)
        broken.until(lambda: broken.closed, "the agent hangs up")
        assert alive(pid), "a kernel is left to its lease"
        if started:
            assert broken.resume() == BROKEN
            broken.until(lambda: broken.closed, "the agent hangs up again")
            [kernel] = _kernels(session)
            assert kernel["away"] >= 0
            session.say("stop", kernel=kernel["kernel"])
            wait_until(lambda: not alive(pid), "the kernel ends", LIMIT)
    assert session.is_served()


def _kernels(session: Session) -> list[dict[str, object]]:
    session.say("list")
    kernels = session.wait_for("kernels")["kernels"]
    assert isinstance(kernels, list)
    return kernels


def test_a_number_that_cannot_be_is_as_good_as_a_broken_frame(
    agent: Agent, session: Session
) -> None:
    with Session(agent) as broken:
        pid = broken.start(key="number")["pid"]
        shake = LauncherHandshake(agent.token, broken.number, 1 << 40)
        with connect(agent) as sock:
            hear_hello(sock, shake)
            sock.sendall(shake.data_to_send())
            assert len(read_all(sock)) == RESUME_REPLY.size + PROOF
        assert alive(pid)
        broken.break_off()
        assert broken.resume() == BROKEN
        [kernel] = _kernels(session)
        session.say("stop", kernel=kernel["kernel"])
        wait_until(lambda: not alive(pid), "the kernel ends", LIMIT)
