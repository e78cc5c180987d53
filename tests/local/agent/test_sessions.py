"""Sessions that outlive their connection: what is lost (nothing), and how long they wait."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from board_agent.agent.spool import MAX_MEMORY
from board_agent.bootstrap import remote_calls
from board_agent.common.agent_lock import AgentLock
from board_agent.link.handshake import EXPIRED, FAULT, NEW, NO_MEMORY, REPLACED, RESUMED, STOPPED
from tests.support import agents
from tests.support.agents import LIMIT, Agent, Frontend, Session, alive, running
from tests.support.boards import wait_until

MEGABYTE = 1 << 20
LINE = "%06d" + "." * 93  # a hundred bytes, as printed
SMALL_SPOOL = (
    "from board_agent.agent import spool; spool.Spool.__init__.__defaults__ = (1 << 20, None)"
)


@pytest.fixture
def agent() -> Iterator[Agent]:
    """Give an agent of the test's own."""
    with running() as made:
        yield made
        assert "Traceback" not in made.log


@pytest.fixture
def small_spool() -> Iterator[Agent]:
    """Give an agent that spools a megabyte at most."""
    with running(patch=SMALL_SPOOL) as made:
        yield made
        assert "Traceback" not in made.log


@pytest.fixture
def session(agent: Agent) -> Iterator[Session]:
    with Session(agent) as made:
        yield made


def printing(count: int, done: Path) -> str:
    """Return a cell that prints so many lines, and then makes a file."""
    return f"for i in range({count}): print({LINE!r} % i)\nopen({str(done)!r}, 'w').close()"


def lines(count: int) -> str:
    return "".join(f"{LINE % i}\n" for i in range(count))


def spool_files(agent: Agent) -> list[str]:
    """Return the spool's files that the agent has open."""
    found = []
    for descriptor in Path(f"/proc/{agent.pid}/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:
            pass  # closed meanwhile
    return [name for name in found if "spool-" in name]


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kernels(session: Session) -> list[dict[str, object]]:
    """Return what the agent says of its kernels."""
    session.say("list")
    found = session.wait_for("kernels")["kernels"]
    assert isinstance(found, list)
    return found


def wait_until_away(agent: Agent, observer: Session) -> None:
    """Wait until the agent has noticed that a launcher is gone."""
    wait_until(
        lambda: any(kernel["away"] is not None for kernel in kernels(observer)), "it is away", LIMIT
    )


# --- output --------------------------------------------------------------------------------------


def test_output_comes_once_and_in_order_however_often_the_connection_breaks(
    agent: Agent, session: Session, tmp_path: Path
) -> None:
    count = 40_000
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        asked = frontend.begin(printing(count, tmp_path / "done"))
        for part in range(1, 8):
            frontend.until(lambda p=part: len(frontend.text) > p * 500_000, "some has come")
            session.break_off()
            assert session.resume() == RESUMED
        frontend.finish(asked)
        assert frontend.text == lines(count)
        assert frontend.run("print(i)") == f"{count - 1}\n"


def test_a_launcher_that_sent_something_just_before_the_break_is_heard_once(
    agent: Agent, session: Session
) -> None:
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        frontend.run("n = 0")
        for _ in range(5):
            asked = frontend.ask("n += 1")
            session.break_off()
            assert session.resume() == RESUMED
            frontend.finish(asked)
        assert frontend.run("print(n)") == "5\n"


def test_what_is_printed_meanwhile_waits_on_disk_and_not_in_memory(
    agent: Agent, session: Session, tmp_path: Path
) -> None:
    count = 200_000  # 20 MB
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        frontend.run("print('x' * 2_000_000)")  # so that what is needed once is there
        assert not spool_files(agent)
        before = resident(agent.pid)
        start = len(frontend.text)
        asked = frontend.begin(printing(count, tmp_path / "done"))
        session.break_off()
        wait_until((tmp_path / "done").exists, "the kernel has printed all of it", LIMIT)
        [name] = spool_files(agent)
        assert name.endswith(" (deleted)"), "no other process can find it"
        assert resident(agent.pid) < before + 2 * MEGABYTE
        assert session.resume() == RESUMED
        frontend.finish(asked)
        assert frontend.text[start:] == lines(count)
        assert not spool_files(agent)
        assert resident(agent.pid) < before + 2 * MEGABYTE
        assert frontend.run("print('and on')") == "and on\n"


def test_a_little_output_needs_no_file(agent: Agent, session: Session, tmp_path: Path) -> None:
    count = MAX_MEMORY // 200
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        asked = frontend.begin(printing(count, tmp_path / "done"))
        session.break_off()
        wait_until((tmp_path / "done").exists, "the kernel has printed all of it", LIMIT)
        assert not spool_files(agent)
        session.resume()
        frontend.finish(asked)
        assert frontend.text == lines(count)


def test_a_full_spool_makes_the_kernel_wait(small_spool: Agent, tmp_path: Path) -> None:
    count = 100_000  # 10 MB
    with Session(small_spool) as session:
        session.start()
        with Frontend(session) as frontend:
            frontend.listen()
            asked = frontend.begin(printing(count, tmp_path / "done"))
            session.break_off()
            assert _until_still(lambda: _written(small_spool)) <= 1 << 20
            assert not (tmp_path / "done").exists(), "it waits"
            for _ in range(3):  # a spool that has been emptied takes more
                session.resume()
                begun = len(frontend.text)
                frontend.until(lambda b=begun: len(frontend.text) > b, "some has come")
                session.break_off()
                _until_still(lambda: _written(small_spool))
                assert not (tmp_path / "done").exists()
            session.resume()
            frontend.finish(asked)
            assert frontend.text == lines(count)
            assert not spool_files(small_spool)


def _written(agent: Agent) -> int:
    """Return the size of the spool's file."""
    for descriptor in Path(f"/proc/{agent.pid}/fd").iterdir():
        try:
            if "spool-" in str(descriptor.readlink()):
                return descriptor.stat().st_size
        except FileNotFoundError:
            pass  # closed meanwhile
    return 0


def _until_still(measure: object) -> int:
    """Wait until a number is above 0 and has not changed for half a second; return it."""
    seen: list[tuple[float, int]] = []

    def still() -> bool:
        now, number = time.monotonic(), measure()  # type: ignore[operator]
        if not seen or seen[0][1] != number:
            seen[:] = [(now, number)]
        return number > 0 and now - seen[0][0] > 0.5

    wait_until(still, "nothing moves", LIMIT)
    return seen[0][1]


def test_raw_output_waits_too(agent: Agent, session: Session) -> None:
    """What a cell writes past Python."""
    count = MEGABYTE
    code = f"import os\nleft = {count}\nwhile left: left -= os.write(1, b'x' * min(left, 1 << 14))"
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        asked = frontend.begin(code)
        text = str(session.wait_for("output")["text"])
        session.break_off()
        session.resume()
        frontend.finish(asked)
        session.say("end")
        while (message := session.wait_for("output", "ended"))["type"] == "output":
            text += message["text"]
        assert message["status"] == 0
    assert text == "x" * count


def test_a_kernel_that_dies_meanwhile_leaves_its_last_words(
    agent: Agent, session: Session, tmp_path: Path
) -> None:
    count = 30_000  # 3 MB
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        code = printing(count, tmp_path / "done")
        frontend.begin(f"{code}\nimport sys; sys.stdout.flush(); input_ = None")
        session.break_off()
        wait_until((tmp_path / "done").exists, "the kernel has printed all of it", LIMIT)
        wait_until(lambda: _settled(agent), "the agent has all of it", LIMIT)
        with Session(agent) as observer:
            [kernel] = kernels(observer)
            pid = int(str(kernel["pid"]))
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not alive(pid), "the kernel is dead", LIMIT)
            wait_until(lambda: not kernels(observer), "the agent knows", LIMIT)
        assert session.resume() == RESUMED
        assert session.wait_for("ended")["status"] == -signal.SIGKILL
        frontend.until(lambda: len(frontend.text) >= count * 100, "all has come")
        assert frontend.text == lines(count)
        session.until(lambda: session.over >= set(session.carried), "the streams end")


def _settled(agent: Agent) -> bool:
    """Say whether the kernel is idle, as it says after all that was printed."""
    with Session(agent) as observer:
        return [kernel["state"] for kernel in kernels(observer)] == ["idle"]


# --- who is connected ----------------------------------------------------------------------------


def test_a_second_connection_replaces_one_that_has_not_noticed(
    agent: Agent, session: Session
) -> None:
    session.start()
    with Frontend(session) as frontend, session.sock as first:
        frontend.listen()
        assert session.resume() == RESUMED
        assert first.recv(1) == b"", "the agent has closed the first"
        assert frontend.run("print('here')") == "here\n"


def test_a_session_in_which_nothing_was_asked_for_is_begun_anew(agent: Agent) -> None:
    with Session(agent) as session:
        for _ in range(3):
            assert session.status == NEW
            session.break_off()
            session.resume()
        assert session.start()["type"] == "ready"
        session.break_off()
        assert session.resume() == RESUMED


def test_an_interrupt_that_was_said_meanwhile_takes_effect(
    agent: Agent, session: Session, tmp_path: Path
) -> None:
    session.start(workdir=str(tmp_path))
    with Frontend(session) as frontend:
        frontend.listen()
        asked = frontend.begin("open('began', 'w').close()\nwhile True: pass")
        wait_until((tmp_path / "began").exists, "the cell runs", LIMIT)
        session.break_off()
        session.say("interrupt")
        after = frontend.ask("print('later')")
        session.resume()
        assert frontend.reply(asked)["ename"] == "KeyboardInterrupt"
        assert frontend.reply(after)["status"] in ("aborted", "ok")
        assert frontend.run("print('next')") == "next\n"


# --- leases --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lease", [0, 1])
def test_a_kernel_whose_lease_is_over_ends(agent: Agent, session: Session, lease: int) -> None:
    pid = session.start(lease=lease)["pid"]
    begun = time.monotonic()
    session.break_off()
    wait_until(lambda: not alive(pid), "the kernel ends", LIMIT)
    assert time.monotonic() - begun >= lease
    wait_until(lambda: session.resume() == EXPIRED, "the session is over", LIMIT)
    session.until(lambda: session.closed, "the agent hangs up")


def test_who_is_back_in_time_has_a_whole_lease_again(agent: Agent, session: Session) -> None:
    pid = session.start(lease=1)["pid"]
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        session.break_off()
        assert session.resume() == RESUMED
        assert session.is_served()
    assert alive(pid)


@pytest.mark.parametrize(
    ("said", "means"), [({}, 3600.0), ({"lease": None}, None), ({"lease": 7}, 7.0)]
)
def test_kernels_are_described(
    agent: Agent, session: Session, said: dict[str, object], means: float | None
) -> None:
    pid = session.start(owner="ann@pc", **said)["pid"]
    with Session(agent) as observer, Frontend(session) as frontend:
        frontend.listen()
        [kernel] = kernels(observer)
        age, memory = kernel.pop("age"), kernel.pop("memory")
        assert isinstance(age, float) and 0 < age < LIMIT
        assert isinstance(memory, int) and 10 * MEGABYTE < memory < 300 * MEGABYTE
        facts = {"pid": pid, "owner": "ann@pc", "lease": means, "away": None, "state": "idle"}
        assert kernel == {**facts, "kernel": kernel["kernel"]} and kernel["kernel"]
        asked = frontend.begin("print('runs', flush=True)\nimport time; time.sleep(1)")
        frontend.until(lambda: frontend.text, "the cell runs")
        assert kernels(observer)[0]["state"] == "busy"
        session.break_off()
        wait_until_away(agent, observer)
        [orphan] = kernels(observer)
        away = orphan["away"]
        assert isinstance(away, float) and 0 <= away < LIMIT
        assert orphan["lease"] == means and orphan["pid"] == pid
        assert alive(pid)
        session.resume()
        frontend.finish(asked)
        assert kernels(observer)[0]["away"] is None


# --- how a session ends --------------------------------------------------------------------------


def test_a_launcher_that_ends_its_kernel_leaves_no_session() -> None:
    with running(idle=1) as agent, Session(agent) as session:
        pid = session.start()["pid"]
        session.say("end")
        assert session.wait_for("ended")["status"] == 0
        assert not alive(pid)
        session.break_off()
        wait_until(lambda: not alive(agent.pid), "the agent ends", LIMIT)
        assert agent.log == ""


def test_a_launcher_that_knows_all_of_a_dead_kernel_leaves_no_session() -> None:
    """Also if it vanishes without a word, as one that is killed does."""
    with running(idle=1) as agent, Session(agent) as session:
        pid = session.start()["pid"]
        with Frontend(session) as frontend:
            frontend.listen()
            os.kill(pid, signal.SIGKILL)
            assert session.wait_for("ended")["status"] == -signal.SIGKILL
            session.until(lambda: session.over >= set(session.carried), "the streams end")
            session.link.acknowledge()
            assert session.is_served()
            session.break_off()
            wait_until(lambda: not alive(agent.pid), "the agent ends", LIMIT)
        assert agent.log == ""


def test_a_launcher_that_says_end_before_its_kernel_is_there(agent: Agent) -> None:
    with Session(agent) as observer, Session(agent) as session:
        session.say("start", key="k", python=sys.executable, workdir="/tmp")
        session.say("end")
        session.break_off()
        wait_until(lambda: not kernels(observer), "the kernel ends", LIMIT)
        wait_until(lambda: session.resume() == STOPPED, "the session is over", LIMIT)


def test_a_kernel_that_somebody_stops_is_told_as_such(agent: Agent, session: Session) -> None:
    ready = session.start()
    with Session(agent) as another:
        another.say("stop", kernel="no such kernel")
        assert another.is_served() and alive(ready["pid"])
        another.say("stop", kernel=ready["kernel"])
        wait_until(lambda: not alive(ready["pid"]), "the kernel ends", LIMIT)
        session.until(lambda: session.closed, "the agent hangs up")
        assert session.resume() == STOPPED
        assert not kernels(another)


def test_stopping_goes_on_past_an_agent_that_does_not_answer(
    agent: Agent, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, folder in (("XDG_RUNTIME_DIR", agent.runtime), ("HOME", agent.runtime)):
        monkeypatch.setenv(name, str(folder))
    ready = session.start()
    lock = AgentLock("0-unresponsive", "127.0.0.1:0")
    assert lock.acquire() and Path(lock.folder) < agent.folder, "it is asked first"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        lock.write_state({"port": nobody.getsockname()[1], "token": "00"})
        try:
            assert remote_calls.stop([ready["kernel"]]) == {}
            wait_until(lambda: not alive(ready["pid"]), "the kernel ends", LIMIT)
            assert remote_calls.stop(["no such kernel"])["error"], "the other may have it"
        finally:
            lock.clear()


def test_a_launcher_that_is_started_again_replaces_its_kernel(
    agent: Agent, session: Session
) -> None:
    old = session.start(key="same")["pid"]
    session.break_off()
    with Session(agent) as again:
        new = again.start(key="same")["pid"]
        assert not alive(old) and alive(new)
        assert session.resume() == REPLACED


def test_of_two_that_start_with_one_key_the_first_gets_no_kernel_later(
    agent: Agent, session: Session
) -> None:
    """As when a frontend kills a launcher that still waits for the former kernel to end."""
    old = session.start(key="same")["pid"]
    with Session(agent) as killed, Session(agent) as again:
        os.kill(old, signal.SIGSTOP)  # it takes a while to end, since it has to be killed
        killed.say("start", key="same", python=sys.executable, workdir="/tmp")
        assert killed.is_served() and alive(old)
        killed.break_off()
        new = again.start(key="same")["pid"]
        assert not alive(old)
        wait_until(lambda: len(kernels(again)) == 1, "one kernel is left", LIMIT)
        assert [kernel["pid"] for kernel in kernels(again)] == [new]
        assert killed.resume() == REPLACED


@pytest.mark.parametrize("orphans", [1, 2])
def test_orphans_give_way_when_memory_is_short(orphans: int) -> None:
    patch = "from board_agent.agent import sessions; sessions.KERNEL_MEMORY = 1 << 60"
    with running(patch=patch) as agent, Session(agent) as stays, Session(agent) as new:
        kept = stays.start(key="stays", owner="stays")["pid"]
        left = [Session(agent) for _ in range(orphans)]
        pids = []
        for number, session in enumerate(left):
            pids.append(session.start(key=f"left {number}", owner=f"left {number}")["pid"])
        for number, session in enumerate(left):
            session.break_off()
            wait_until(lambda n=number: _away(new) == n + 1, "the agent has noticed", LIMIT)
        new.say("start", key="new", python=sys.executable, workdir="/tmp")
        notes = []
        while len(notes) < orphans:
            text = new.wait_for("note", "ready", "failed")["text"]
            notes += [] if "waits for the memory" in text else [text]
        for number, text in enumerate(notes):
            assert f"left {number}" in text and "ended the kernel" in text
        assert new.wait_for("ready", "failed")["type"] == "ready"
        assert not any(map(alive, pids)) and alive(kept)
        for session in left:
            with session:
                assert session.resume() == NO_MEMORY


def _away(observer: Session) -> int:
    return sum(kernel["away"] is not None for kernel in kernels(observer))


def test_many_connections_of_one_session_leave_nothing(agent: Agent, session: Session) -> None:
    session.start()
    with Frontend(session) as frontend:
        frontend.listen()
        before = len(list(Path(f"/proc/{agent.pid}/fd").iterdir()))
        for number in range(100):
            session.break_off()
            session.resume()
            if number % 20 == 0:
                assert frontend.run(f"print({number})") == f"{number}\n"
        assert session.is_served()
        assert len(list(Path(f"/proc/{agent.pid}/fd").iterdir())) <= before


# --- faults of ours ------------------------------------------------------------------------------


def running_kernels(agent: Agent) -> list[int]:
    return agents.marked(f"XDG_RUNTIME_DIR={agent.runtime}", "board_agent.kernel\0")


def faulty(method: str, ready: bool) -> str:
    """Return the patch that makes a method of one kernel raise what nobody expects, once.

    Parameters: ready, whether the kernel has to be so.
    """
    source = f"""
from board_agent.agent import kernels
real = kernels.Kernel.{method}
def raising(self, *arguments):
    if self.key == "faulty" and self.ready == {ready} and not raised:
        raised.append(True)
        raise ZeroDivisionError("injected")
    return real(self, *arguments)
raised = []
kernels.Kernel.{method} = raising
"""
    return f"exec({source!r})"


def interrupt(session: Session, pid: int) -> None:
    session.say("interrupt")


def open_a_stream(session: Session, pid: int) -> None:
    session.link.open("shell")
    session.flush()


def write_outside_cells(session: Session, pid: int) -> None:
    Path(f"/proc/{pid}/fd/1").write_text("said outside cells")


def kill(session: Session, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("method", "provoke"),
    [
        ("interrupt", interrupt),
        ("connect", open_a_stream),
        ("_read_output", write_outside_cells),
        ("poll", kill),
        ("_handle_message", None),  # the first, by which it says that it is ready
    ],
)
def test_a_fault_in_one_session_is_no_others(
    method: str, provoke: Callable[[Session, int], None] | None
) -> None:
    with running(patch=faulty(method, provoke is not None)) as agent, ExitStack() as stack:
        other, victim = (stack.enter_context(Session(agent)) for _ in "12")
        kept = other.start(key="other")["pid"]
        if provoke is None:
            victim.say("start", key="faulty", python=sys.executable, workdir="/tmp")
        else:
            provoke(victim, victim.start(key="faulty")["pid"])
        victim.until(lambda: victim.closed, "the agent hangs up")
        assert victim.resume() == FAULT
        wait_until(lambda: len(running_kernels(agent)) == 1, "its kernel ends", LIMIT)
        assert "ZeroDivisionError: injected" in agent.log
        with Frontend(other, "other") as frontend:
            frontend.listen()
            assert frontend.run("print('unharmed')") == "unharmed\n"
        assert alive(kept) and alive(agent.pid)
        with Session(agent) as new:
            assert new.start(key="new")["type"] == "ready"
