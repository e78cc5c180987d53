"""Real agents: their lock, their kernels, and their end."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient

from board_agent.common import reply
from board_agent.link.handshake import REPLACED
from tests.support import agents, boards
from tests.support.agents import LIMIT, Agent, Session, alive, launch, running
from tests.support.boards import wait_until
from tests.support.pythons import interpreter

PYTHONS = ["this", "3.8"]
ENDS_WITHIN = 2.0  # seconds: what a kernel may take to end when its agent has
# Agents that wait for a polite end for longer: where the status tells whether it was one.
PATIENT = "from board_agent.agent import kernels; kernels.KILL_AFTER = 20.0"


@pytest.fixture(params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    """Give the interpreter that the agent runs on."""
    return interpreter(request.param)


@pytest.fixture(scope="module", params=PYTHONS)
def shared(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """Give an agent that outlives the test, as an agent should."""
    with running(python=interpreter(request.param), patch=PATIENT) as agent:
        yield agent
        assert alive(agent.pid)
        assert "Traceback" not in agent.log


@pytest.fixture
def agent() -> Iterator[Agent]:
    """Give an agent of the test's own."""
    with running(patch=PATIENT) as made:
        yield made
        assert "Traceback" not in made.log


@pytest.fixture
def session(shared: Agent) -> Iterator[Session]:
    with Session(shared) as made:
        yield made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


class Cells:
    """Runs code in an agent's only kernel, over its own sockets."""

    def __init__(self, agent: Agent) -> None:
        [path] = agent.folder.glob("*/connection.json")
        self._client = BlockingKernelClient(connection_file=str(path))
        self._client.load_connection_file()
        self._client.start_channels(iopub=False, stdin=False, hb=False, control=False)

    def __enter__(self) -> Cells:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.stop_channels()

    def begin(self, code: str) -> None:
        self._client.execute(code, silent=True)

    def run(self, code: str) -> None:
        self.begin(code)
        reply = self._client.get_shell_msg(timeout=LIMIT)
        assert reply["content"]["status"] == "ok", reply["content"]


# --- the lock ------------------------------------------------------------------------------------


def test_an_agent_says_where_it_is_to_its_own_user_only(shared: Agent) -> None:
    assert mode(shared.folder) == mode(shared.folder.parent) == 0o700
    for path in shared.folder.iterdir():
        assert mode(path) == 0o600, path
    state = json.loads((shared.folder / "agent.json").read_text())
    assert state.keys() == {"pid", "port", "token"}
    assert len(shared.token) == 32


def test_only_one_agent_has_a_lock(shared: Agent) -> None:
    assert launch(shared.runtime) == b""
    assert agents.find(shared.runtime) == shared
    with Session(shared) as session:
        assert session.is_served()
    assert agents.marked(f"XDG_RUNTIME_DIR={shared.runtime}", "board_agent") == [shared.pid]


def test_a_port_that_is_taken_is_told(python: str) -> None:
    with agents.folder() as runtime, socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        said = reply.last(launch(runtime, python, bind=bind))
        assert said is not None
        assert said["error"] == errno.EADDRINUSE and said["detail"]
        assert not (runtime / "rkernel").exists(), "nothing is left"


def test_the_secrets_are_not_on_view(agent: Agent) -> None:
    with Session(agent) as session:
        kernel = session.start(key="a-secret-key")["pid"]
        for pid in (agent.pid, kernel):
            for name in ("cmdline", "environ"):
                shown = Path(f"/proc/{pid}/{name}").read_bytes()
                assert agent.token.hex().encode() not in shown
                assert b"a-secret-key" not in shown
    assert agent.token.hex() not in agent.log


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_gets_nowhere(agent: Agent) -> None:
    with Session(agent) as session:
        session.start()
        [path] = agent.folder.glob("*/k-1")
        (agent.folder / "log").touch(0o644)  # as the bootstrap may have made it
        tries = f"""
import encodings.idna, socket, os
from board_agent.link.handshake import HELLO, LauncherHandshake
os.setgroups([])
os.setgid(65534); os.setuid(65534)
def refused(call, *arguments):
    try:
        call(*arguments)
    except PermissionError:
        return True
assert refused(open, {str(agent.folder / "agent.json")!r})
assert refused(open, {str(path.parent / "connection.json")!r})
assert refused(open, {str(agent.folder / "log")!r})
assert refused(os.listdir, {str(agent.folder)!r})
assert refused(os.listdir, {str(path.parent)!r})
assert refused(socket.socket(socket.AF_UNIX).connect, {str(path)!r})
assert refused(os.kill, {agent.pid}, 0)
assert refused(open, "/proc/{agent.pid}/mem", "rb")
assert refused(open, "/proc/{agent.pid}/environ", "rb")
with socket.create_connection(("127.0.0.1", {agent.port}), timeout={LIMIT}) as sock:
    shake = LauncherHandshake(bytes(32), bytes(16), 0)
    sock.sendall(shake.data_to_send())
    shake.receive_data(sock.recv(HELLO))
    sock.sendall(shake.data_to_send())
    assert sock.recv(1) == b""
print("nowhere")
"""
        command = [sys.executable, "-W", "ignore", "-c", tries]
        said = subprocess.run(
            command, cwd=boards.ROOT, capture_output=True, text=True, timeout=LIMIT
        )
        assert said.stdout == "nowhere\n", said.stderr


# --- kernels -------------------------------------------------------------------------------------


def test_a_kernel_starts_serves_and_ends(shared: Agent, tmp_path: Path) -> None:
    with Session(shared) as session:
        ready = session.start(
            key="päss", env={"COLOUR": "grün", "PATH": "/bin"}, workdir=str(tmp_path)
        )
        pid = ready["pid"]
        assert ready["former_keys"] == [] and ready["ipykernel"][0].isdigit()
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert "COLOUR=grün".encode() in environment and b"PATH=/bin" in environment
        assert not [name for name in environment if name.startswith(b"JPY_PARENT")]
        assert Path(f"/proc/{pid}/cwd").readlink() == tmp_path
        assert os.getpgid(pid) == os.getsid(pid) == pid
        [path] = shared.folder.glob("*/connection.json")
        assert mode(path.parent) == 0o700 and mode(path) == 0o600
        info = json.loads(path.read_text())
        assert info["key"] == "päss" and info["transport"] == "ipc"

        greeting = b"\xff" + bytes(8) + b"\x7f"
        streams = [session.link.open(name) for name in ("shell", "control", "stdin", "iopub")]
        for stream in streams:
            session.link.send(stream, greeting)
        refused, waiting = session.link.open("files"), session.link.open("video")
        session.flush()
        for stream in streams:
            session.until(lambda s=stream: len(session.received.get(s, b"")) >= 10, "ZMTP answers")
            assert session.received[stream][0] == 0xFF
        session.until(lambda: refused in session.over, "the other is refused")
        assert not session.over & {*streams, waiting}

        session.say("end")
        assert session.wait_for("ended")["status"] == 0
        assert not alive(pid) and not path.parent.exists()
        session.until(lambda: session.over >= set(streams), "the streams end")
        session.say("interrupt")
        session.say("end")
        assert session.is_served()


def test_streams_without_a_kernel_are_refused(session: Session) -> None:
    stream = session.link.open("shell")
    session.flush()
    session.until(lambda: stream in session.over, "the stream is refused")
    assert session.is_served()


def test_a_kernel_is_interrupted_with_its_children(agent: Agent, tmp_path: Path) -> None:
    with Session(agent) as session:
        session.start(workdir=str(tmp_path))
        with Cells(agent) as cells:
            cells.begin("import subprocess; subprocess.run(['sleep', '1000'])")
            wait_until(lambda: _sleepers(agent), "the child runs", LIMIT)
            session.say("interrupt")
            wait_until(lambda: not _sleepers(agent), "the child is interrupted", LIMIT)
            cells.begin("open('after', 'w')")
            wait_until((tmp_path / "after").exists, "the kernel lives", LIMIT)


def _sleepers(agent: Agent) -> list[int]:
    return agents.marked(f"XDG_RUNTIME_DIR={agent.runtime}", "1000")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_how_a_kernel_died_is_told(shared: Agent, number: signal.Signals) -> None:
    with Session(shared) as session:
        ready = session.start()
        os.kill(ready["pid"], number)
        assert session.wait_for("ended")["status"] == -number


def test_what_a_kernel_writes_outside_cells_is_passed_on(agent: Agent) -> None:
    with Session(agent) as session:
        session.start()
        with Cells(agent) as cells:
            cells.run("import os; os.write(1, b'to stdout'); os.write(2, b' and stderr \\xff')")
            text = ""
            while "stderr" not in text:
                text += session.wait_for("output")["text"]
            assert text.endswith("to stdout and stderr \ufffd")
            cells.begin("os.write(2, b'the last words'); os._exit(3)")
            ended = session.wait_for("ended")
        assert ended["status"] == 3
        assert ended["output"].endswith("to stdout and stderr \ufffdthe last words")


def test_a_python_without_ipykernel_is_told(shared: Agent, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -s "$@"\n')
    bare.chmod(0o755)
    with Session(shared) as session:
        session.say("start", python=str(bare), workdir="/tmp")
        assert session.wait_for("missing")["module"] in ("ipykernel", "zmq")
        assert session.wait_for("ended")["status"] == 1


BAD = {
    "no such python": {"python": "/no/such/python"},
    "python is a folder": {"python": "/tmp"},
    "python is a number": {"python": 5},
    "workdir is not there": {"workdir": "/no/such/folder"},
    "workdir is a file": {"workdir": "/etc/passwd"},
    "workdir is a list": {"workdir": ["/tmp"]},
    "workdir with a zero": {"workdir": "/tmp\0"},
    "env is a list": {"env": ["A=B"]},
    "env is a text": {"env": "A=B"},
    "env is a number": {"env": 5},
    "env holds a number": {"env": {"A": 5}},
    "env names a value": {"env": {"A=B": "C"}},
    "env holds half a letter": {"env": {"A": "\ud800"}},
}


@pytest.mark.parametrize("request_", BAD.values(), ids=BAD.keys())
def test_a_request_that_cannot_be_met_fails_and_nothing_else(
    shared: Agent, session: Session, request_: dict[str, Any]
) -> None:
    session.say("start", **{"key": "k", "python": sys.executable, **request_})
    failed = session.wait_for("failed", "ended", "ready")
    assert failed["type"] == "failed" and failed["detail"]
    assert session.is_served()
    assert not list(shared.folder.glob("[0-9]*")), "nothing is left of it"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"type": None},
        {"type": ["start"]},
        {"type": "unknown"},
        {"type": "interrupt"},
        {"type": "end"},
    ],
    ids=str,
)
def test_messages_that_mean_nothing_are_passed_over(
    session: Session, content: dict[str, Any]
) -> None:
    session.link.message(content)
    session.flush()
    assert session.is_served()


def test_what_is_of_a_wrong_type_is_refused_and_the_session_goes_on(shared: Agent) -> None:
    with Session(shared) as session:
        for name, value in {
            "key": ["not", "a", "text"],
            "lease": "a while",
            "peer_timeout": True,
            "reattach": {},
            "owner": 5,
            "debugger": "",
            "env": {"A": None},
        }.items():
            session.say("start", **{name: value})
            assert name in session.wait_for("failed")["detail"]
        session.say("stop", kernel=5)
        assert "kernel" in session.wait_for("note")["text"]
        pid = session.start(env=None, unknown="passed over")["pid"]
        session.say("stop")
        session.wait_for("note")
        assert alive(pid)
        session.say("end")
        session.wait_for("ended")


def test_the_same_key_replaces_the_kernel(agent: Agent) -> None:
    with Session(agent) as first, Session(agent) as second, Session(agent) as third:
        old = first.start(key="same")["pid"]
        other = third.start(key="another")["pid"]
        new = second.start(key="same")["pid"]
        assert not alive(old) and alive(new) and alive(other)
        first.until(lambda: first.closed, "the agent hangs up")
        assert first.resume() == REPLACED


def test_a_session_has_one_kernel(agent: Agent) -> None:
    """Also while its kernel waits for a former one to go."""
    mark = f"XDG_RUNTIME_DIR={agent.runtime}"
    with Session(agent) as former:
        former.start()
        with Session(agent) as session:
            for _ in range(3):
                session.say("start", key="k", python=sys.executable, workdir="/tmp")
            session.wait_for("ready")
            assert len(agents.marked(mark, "board_agent.kernel\0")) == 1
            session.say("end")
    wait_until(lambda: not agents.marked(mark, "board_agent.kernel\0"), "it ends", LIMIT)


def test_a_launcher_without_a_lease_that_goes_takes_its_kernel_with_it(agent: Agent) -> None:
    with Session(agent) as stays:
        kept = stays.start(key="kept")["pid"]
        with Session(agent) as goes:
            gone = goes.start(key="gone", lease=0)["pid"]
        wait_until(lambda: not alive(gone), "the kernel ends", LIMIT)
        assert alive(kept)
        assert stays.is_served()


def test_a_kernel_that_writes_without_end_does_not_fill_the_memory(agent: Agent) -> None:
    """While its launcher does not read, the kernel has to wait; nothing is lost."""
    count = 40 << 20
    code = f"left = {count}\nwhile left: left -= os.write(1, b'x' * min(left, 1 << 16))"
    with Session(agent) as session:
        session.start()
        with Cells(agent) as cells:
            cells.run("import os")
            before = _resident(agent.pid)
            cells.begin(code)
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:  # it must not grow, however long this goes on
                assert _resident(agent.pid) < before + (8 << 20)
                time.sleep(0.05)
            came = 0
            while came < count:
                came += session.wait_for("output")["text"].count("x")
        assert came == count
        assert session.is_served()


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_cell_that_meddles_with_the_lifeline_harms_its_kernel_at_most(agent: Agent) -> None:
    meddle = """
import os
for number in os.listdir("/proc/self/fd"):
    try:
        if os.readlink("/proc/self/fd/" + number).startswith("socket:"):
            os.write(int(number), b"not JSON\\n[]\\n")
    except OSError:
        pass
"""
    with Session(agent) as other, Session(agent) as session:
        session.start()
        with Cells(agent) as cells:
            cells.begin(meddle + "open('/dev/stderr', 'w').write('meddled')")
            session.wait_for("output")
        session.say("end")
        session.wait_for("ended")
        assert other.is_served()


def test_a_folder_that_vanished_is_told(agent: Agent) -> None:
    """Such as /run/user/1000, which goes when its user logs out."""
    with Session(agent) as session:
        subprocess.run(["rm", "-r", str(agent.folder.parent)], check=True, timeout=LIMIT)
        session.say("start", python=sys.executable, workdir="/tmp")
        assert session.wait_for("failed", "ready")["type"] == "failed"
        assert session.is_served()
        agent.signal(signal.SIGTERM)
        wait_until(lambda: not alive(agent.pid), "the agent ends", LIMIT)


# --- its end -------------------------------------------------------------------------------------


def test_an_agent_with_nothing_to_do_ends_and_leaves_nothing(python: str) -> None:
    with running(python=python, idle=0.2) as agent:
        with Session(agent) as session:
            for _ in range(3):
                time.sleep(0.5)  # longer than it may idle
                assert session.is_served()
        wait_until(lambda: not alive(agent.pid), "the agent ends", LIMIT)
        assert not (agent.runtime / "rkernel").exists()
        assert agent.log == ""


def test_sigterm_ends_kernels_and_agent(agent: Agent) -> None:
    with Session(agent) as one, Session(agent) as other:
        pids = [one.start(key="1")["pid"], other.start(key="2")["pid"]]
        agent.signal(signal.SIGTERM)
        for session in (one, other):
            assert session.wait_for("ended")["status"] == 0
            session.until(lambda s=session: s.closed, "the link ends")
        wait_until(lambda: not alive(agent.pid), "the agent ends", LIMIT)
        assert not any(map(alive, pids))
        assert not (agent.runtime / "rkernel").exists()


def test_a_kernel_that_will_not_end_is_ended(python: str) -> None:
    with running(python=python) as agent, Session(agent) as session:
        pid = session.start()["pid"]
        with Cells(agent) as cells:
            cells.run("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
        session.say("end")
        assert session.wait_for("ended")["status"] == -signal.SIGKILL
        assert not alive(pid)


def test_sigterm_starts_no_kernel_that_was_waiting(agent: Agent) -> None:
    with Session(agent) as one, Session(agent) as other:
        one.start()
        other.say("start", key="k", python=sys.executable, workdir="/tmp")
        assert other.is_served()  # it has the message
        agent.signal(signal.SIGTERM)
        wait_until(lambda: not alive(agent.pid), "the agent ends", LIMIT / 3)


def test_sighup_is_nothing_to_it(agent: Agent) -> None:
    with Session(agent) as session:
        agent.signal(signal.SIGHUP)
        assert session.is_served()


def test_kernels_do_not_outlive_an_agent_that_was_killed(agent: Agent) -> None:
    with Session(agent) as session:
        pid = session.start()["pid"]
        with Cells(agent) as cells:
            cells.run("import subprocess; p = subprocess.Popen(['sleep', '1000'])")
        assert _sleepers(agent)
        agent.signal(signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the kernel ends", ENDS_WITHIN)
        wait_until(lambda: not _sleepers(agent), "its children end", ENDS_WITHIN)
    assert launch(agent.runtime) == b"", "the next one takes the lock"
    successor = agents.find(agent.runtime)
    assert successor.pid != agent.pid
    assert not list(agent.folder.glob("[0-9]*")), "and clears up"
    with Session(successor) as session:
        assert session.is_served()


def test_a_busy_kernel_does_not_outlive_an_agent_that_was_killed(
    agent: Agent, tmp_path: Path
) -> None:
    with Session(agent) as session:
        pid = session.start(workdir=str(tmp_path))["pid"]
        with Cells(agent) as cells:
            cells.begin("open('began', 'w')\nwhile True: pass")
            wait_until((tmp_path / "began").exists, "the cell runs", LIMIT)
            agent.signal(signal.SIGKILL)
            wait_until(lambda: not alive(pid), "the kernel ends", ENDS_WITHIN)
