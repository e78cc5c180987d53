"""Streams that are handed over to an agent through its Unix socket: by programs, and by others."""

from __future__ import annotations

import array
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from board_agent.link.handshake import NEW, RESUMED
from tests.support.agents import LIMIT, Agent, Frontend, running
from tests.support.boards import wait_until
from tests.support.handovers import PROGRAM, HandedOver, handed_over
from tests.support.pythons import interpreter

NO_DESCRIPTORS = PROGRAM.replace(
    "agent.sendmsg(", "raise OSError\n            agent.sendmsg("
)  # stands in for a system that cannot send descriptors
assert NO_DESCRIPTORS != PROGRAM
PATIENCE = "from board_agent.agent import handovers; handovers.SECONDS = 0.5"


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with running(patch=PATIENCE) as made:
        yield made


@pytest.fixture(params=["sockets", "pipes", "relay"])
def session(request: pytest.FixtureRequest, agent: Agent) -> Iterator[HandedOver]:
    source = NO_DESCRIPTORS if request.param == "relay" else PROGRAM
    with HandedOver(agent, source=source, pipes=request.param == "pipes") as made:
        yield made


def test_a_kernel_works_over_it_and_after_a_cut(session: HandedOver) -> None:
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        assert frontend.run("print(6 * 7)") == "42\n"
        begun = frontend.ask("for i in range(2000): print(i)")
        session.break_off()
        session.resume()
        assert session.status == RESUMED
        frontend.finish(begun)
        assert frontend.text == "42\n" + "".join(f"{i}\n" for i in range(2000))


@pytest.mark.parametrize("version", ["3.8", "this"])
@pytest.mark.parametrize("end", ["program", "agent"])
def test_every_python(version: str, end: str) -> None:
    python = interpreter(version)
    options = {"python": python} if end == "agent" else {}
    with running(**options) as agent:
        program = python if end == "program" else sys.executable
        with HandedOver(agent, python=program) as session:
            assert session.status == NEW and session.is_served()


def test_the_program_takes_next_to_nothing_and_ends_with_the_link(agent: Agent) -> None:
    with HandedOver(agent) as session:
        assert session.is_served()
        [program] = session.programs
        wait_until(lambda: psutil.Process(program.pid).name() == "cat", "it is cat", LIMIT)
        open_files = psutil.Process(program.pid).num_fds
        wait_until(lambda: open_files() == 3, "it has its three files open and no more", LIMIT)
        session.break_off()
        assert program.wait(LIMIT) == 0


def test_the_agent_lets_go_of_who_cannot_prove_itself(agent: Agent) -> None:
    before = descriptors(agent)
    ours, program = handed_over(agent)
    with ours, program:
        ours.sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(1000))
        with suppress(ConnectionResetError):
            while ours.recv(1000):
                pass
        assert program.wait(LIMIT) == 0
    wait_until(lambda: descriptors(agent) == before, "the agent has closed all of it", LIMIT)


# --- what others may send -------------------------------------------------------------------------


@contextmanager
def visiting(agent: Agent, said: bytes, files: list[int]) -> Iterator[socket.socket]:
    """Connect to the agent's Unix socket and send a byte with descriptors."""
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.settimeout(LIMIT)
        visitor.connect(str(agent.folder / "link"))
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
        if said:
            visitor.sendmsg([said], [rights] if files else [])
        yield visitor


def ends(sock: socket.socket) -> bool:
    """Wait until the agent hangs up; fail when it says something."""
    with suppress(ConnectionResetError):
        assert sock.recv(1) == b""
    return True


@pytest.mark.parametrize(
    ("said", "count"),
    [
        *((b"h", count) for count in (0, 1, 2, 4, 50)),
        *((b"r", count) for count in (1, 3)),
        *((b"x", count) for count in (0, 3)),
    ],
)
def test_what_does_not_fit_is_closed(agent: Agent, said: bytes, count: int) -> None:
    before = descriptors(agent)
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(count)]
        for pair in pairs:
            for end in pair:
                stack.callback(end.close)
        visitor = stack.enter_context(visiting(agent, said, [b.fileno() for _, b in pairs]))
        assert ends(visitor)
        for ours, theirs in pairs:
            theirs.close()
            ours.settimeout(LIMIT)
            assert ends(ours), "a copy stayed open"
    assert descriptors(agent) == before


def test_what_cannot_be_watched_is_closed(agent: Agent, tmp_path: Path) -> None:
    before = descriptors(agent)
    with ExitStack() as stack:
        (tmp_path / "file").touch()
        file = os.open(tmp_path / "file", os.O_RDWR)
        stack.callback(os.close, file)
        held, given = socket.socketpair()
        stack.callback(held.close)
        with given:
            visitor = stack.enter_context(visiting(agent, b"h", [file, file, given.fileno()]))
        assert ends(visitor)
        held.settimeout(LIMIT)
        assert ends(held)
    assert descriptors(agent) == before


def test_who_says_nothing_is_sent_away(agent: Agent) -> None:
    with visiting(agent, b"", []) as visitor:
        assert ends(visitor)
    wait_until(lambda: not connections(agent), "the agent has forgotten it", LIMIT)


def test_only_so_many_may_wait(agent: Agent) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(visiting(agent, b"", [])) for _ in range(40)]
        assert ends(crowd[0]), "the first makes room"
        assert len(connections(agent)) <= 16
        with HandedOver(agent) as session:
            assert session.is_served()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_is_refused(agent: Agent) -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv, "util-linux is not installed"
    socket_path = agent.folder / "link"
    argv = [setpriv, "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c"]
    code = (
        "import socket, sys\ns = socket.socket(socket.AF_UNIX)\n"
        "try:\n s.connect(sys.argv[1]); s.send(b'r'); print(s.recv(1))\n"
        "except OSError as error: print(type(error).__name__)"
    )

    def tried() -> str:
        run = subprocess.run([*argv, code, str(socket_path)], capture_output=True, text=True)
        return run.stdout.strip()

    folders = [p for p in (agent.folder, *agent.folder.parents) if agent.runtime in (p, *p.parents)]
    assert tried() == "PermissionError", "the folder keeps others out"
    modes = [(path, path.stat().st_mode & 0o777) for path in (*folders, socket_path)]
    try:
        for path, _ in modes:
            path.chmod(0o777)
        assert tried() in ("b''", "ConnectionResetError", "BrokenPipeError")
    finally:
        for path, mode in modes:
            path.chmod(mode)


# --- pipes that are full, or break ----------------------------------------------------------------


def test_who_never_reads_holds_up_itself_alone(agent: Agent) -> None:
    with HandedOver(agent) as deaf, HandedOver(agent) as other:
        deaf.start(key="one")
        other.start(key="two")
        with Frontend(deaf, "one") as talker, Frontend(other, "two") as frontend:
            talker.listen()
            frontend.listen()
            memory = psutil.Process(agent.pid).memory_info().rss
            asked = talker.begin("print('x' * 50_000_000)")
            for number in range(50):
                assert frontend.run(f"print({number})") == f"{number}\n"
            assert psutil.Process(agent.pid).memory_info().rss - memory < 8 << 20
            talker.finish(asked)
            assert len(talker.text) == 50_000_001


def test_a_pipe_that_breaks_ends_the_connection_and_not_the_kernel(agent: Agent) -> None:
    with HandedOver(agent, pipes=True) as session:
        session.start()
        with Frontend(session) as frontend:
            frontend.listen()
            asked = frontend.begin("import time\nfor i in range(500): print(i); time.sleep(0.002)")
            for child in psutil.Process(session.programs[0].pid).children():
                with suppress(psutil.NoSuchProcess):  # one ends when the next to it does
                    child.kill()
            session.break_off()
            session.resume()
            assert session.status == RESUMED
            frontend.finish(asked)
            assert frontend.text == "".join(f"{i}\n" for i in range(500))


# --- helpers --------------------------------------------------------------------------------------


def descriptors(agent: Agent) -> int:
    """Count the files that an agent has open."""
    return psutil.Process(agent.pid).num_fds()


def connections(agent: Agent) -> list[Callable[[], object]]:
    """Return what is connected to an agent's Unix socket."""
    path = str(agent.folder / "link")
    found = psutil.Process(agent.pid).net_connections("unix")
    return [one for one in found if one.laddr == path and one.fd >= 0][1:]  # but the listener
