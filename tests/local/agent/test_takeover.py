"""Kernels that are taken over by another launcher, with what they said in between."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from jupyter_client.connect import write_connection_file
from jupyter_client.session import Session as Wire

from board_agent.link.handshake import RESUMED, TAKEN
from rkernel_launcher.launcher import connection_file
from rkernel_launcher.launcher.jupyter_messages import Resigner
from tests.local.agent.test_sessions import SMALL_SPOOL
from tests.support.agents import LIMIT, Agent, Frontend, Session, alive, running
from tests.support.boards import wait_until

MEGABYTE = 1 << 20
# ZMTP 3.0's, see https://rfc.zeromq.org/spec/23/#grammar: signature, version, mechanism, filler
GREETING = b"\xff" + bytes(7) + b"\x01\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


@pytest.fixture
def agent() -> Iterator[Agent]:
    """Give an agent of the test's own."""
    with running() as made:
        yield made
        assert "Traceback" not in made.log


def kernels(session: Session) -> list[dict[str, object]]:
    """Return what the agent says of its kernels."""
    session.say("list")
    found = session.wait_for("kernels")["kernels"]
    assert isinstance(found, list)
    return found


def away(session: Session) -> int:
    """Return how many kernels have lost their launchers."""
    return sum(kernel["away"] is not None for kernel in kernels(session))


def leave(launcher: Session, observer: Session) -> None:
    """Lose a launcher's connection, and wait until the agent has noticed."""
    known = away(observer)
    launcher.break_off()
    wait_until(lambda: away(observer) == known + 1, "the agent has noticed", LIMIT)


def attach(session: Session, kernel: object, key: str = "new") -> dict[str, object]:
    """Ask for a kernel, and return the answer."""
    session.say("attach", kernel=kernel, key=key, signature_scheme="hmac-sha256")
    return session.wait_for("ready", "failed")


def test_a_kernel_is_taken_over_with_its_variables_and_what_it_said_meanwhile(
    agent: Agent, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        ready = former.start(key="former", owner="ann@pc")
        with Frontend(former, "former") as frontend:
            frontend.listen()
            frontend.run("mine = 'still here'")
            lines = "for i in range(30_000): print(f'<{i:06}' + '.' * 92 + '>')"
            frontend.begin(f"{lines}\nopen({str(done)!r}, 'w').close()")
            frontend.until(lambda: frontend.text, "some has come")
            leave(former, observer)
        wait_until(done.exists, "the kernel has printed all of it", LIMIT)
        wait_until(lambda: kernels(observer)[0]["state"] == "idle", "it is idle", LIMIT)

        answer = attach(new, ready["kernel"])
        assert answer["former_keys"] == ["former"]
        assert {name: answer[name] for name in ("type", "pid", "kernel", "ipykernel")} == {
            name: ready[name] for name in ("type", "pid", "kernel", "ipykernel")
        }
        with Frontend(new, "new", "former") as frontend:
            frontend.until(lambda: "<029999" in frontend.text, "what was said meanwhile comes")
            found = [int(number) for number in re.findall(r"<(\d{6})\.{92}>", frontend.text)]
            assert found == list(range(found[0], 30_000)), "none is missing in between"
            assert frontend.run("print(mine)") == "still here\n"
            assert frontend.keys == sorted(frontend.keys), "the former key first"
            assert (frontend.keys[0], frontend.keys[-1]) == ("former", "new")
        assert former.resume() == TAKEN
        assert [kernel["away"] for kernel in kernels(observer)] == [None]
        new.say("end")
        assert new.wait_for("ended")["status"] == 0
        assert not alive(int(str(ready["pid"])))


@pytest.mark.parametrize("seed", range(5))
def test_a_break_anywhere_in_the_stream_leaves_whole_messages(
    agent: Agent, seed: int, tmp_path: Path
) -> None:
    """Those with binary buffers too."""
    chance = random.Random(seed)
    code = f"""
import os, time
kernel = get_ipython().kernel
for i in range(200):
    buffers = [b'<IDS|MSG>' * 10, os.urandom({chance.randrange(1, 20_000)})]
    kernel.session.send(kernel.iopub_socket, "comm_msg", {{"data": i}}, buffers=buffers)
    print(i, flush=True)
    while i == 150 and not os.path.exists({str(tmp_path / "go")!r}):
        time.sleep(0.01)
"""
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        ready = former.start(key="former")
        with Frontend(former, "former") as frontend:
            frontend.listen()
            frontend.begin(code)
            stop = chance.randrange(100)
            frontend.until(lambda: frontend.text.count("\n") > stop, "some has come")
            leave(former, observer)
        (tmp_path / "go").touch()
        wait_until(lambda: kernels(observer)[0]["state"] == "idle", "it is idle", LIMIT)
        assert attach(new, ready["kernel"])["type"] == "ready"
        with Frontend(new, "new", "former") as frontend:
            frontend.until(lambda: "199\n" in frontend.text, "what was said meanwhile comes")
            found = [int(line) for line in frontend.text.split()]
            assert found == list(range(found[0], 200))
            assert frontend.run("print('next')") == "next\n"
        new.say("end")
        new.wait_for("ended")


def test_the_rest_of_a_message_is_not_for_the_next_launcher() -> None:
    """Neither what the agent has of it, nor what is still in the kernel."""
    code = """
kernel = get_ipython().kernel
content = {"data": {"text/plain": "x" * 8_000_000}, "metadata": {}, "transient": {}}
kernel.session.send(kernel.iopub_socket, "display_data", content, ident=b"display_data")
print("and then")
"""
    with running(patch=SMALL_SPOOL) as agent, ExitStack() as stack:
        former, observer, new = (stack.enter_context(Session(agent)) for _ in "123")
        ready = former.start(key="former")
        with Frontend(former, "former") as frontend:
            frontend.listen()
            frontend.begin(code)
            seen = former.passed_on
            frontend.until(lambda: former.passed_on > seen + MEGABYTE, "a part has come")
            leave(former, observer)
        assert attach(new, ready["kernel"])["type"] == "ready"
        with Frontend(new, "new", "former") as frontend:
            frontend.until(lambda: "and then" in frontend.text, "the next message comes")
            assert frontend.run("print('on')") == "on\n"
        assert "Traceback" not in agent.log


def test_a_kernel_can_be_taken_over_again_and_again(agent: Agent) -> None:
    with Session(agent) as observer:
        former = Session(agent)
        ready = former.start(key="key 0")
        for number in range(1, 5):
            with Frontend(former, f"key {number - 1}", f"key {number - 2}") as frontend:
                frontend.listen()
                frontend.run(f"n = {number}")
                leave(former, observer)
            former.__exit__()
            former = Session(agent)
            assert attach(former, ready["kernel"], f"key {number}")["type"] == "ready"
            with Frontend(former, f"key {number}", f"key {number - 1}") as frontend:
                frontend.listen()
                assert frontend.run("print(n)") == f"{number}\n"
            if number % 2:  # one that did not ask for output, or did
                former.break_off()
                assert former.resume() == RESUMED
        former.say("end")
        former.wait_for("ended")
        former.__exit__()


def test_a_launcher_that_leaves_before_it_listens_loses_nothing(agent: Agent) -> None:
    with ExitStack() as stack:
        first, second, third, observer = (stack.enter_context(Session(agent)) for _ in "1234")
        ready = first.start(key="first")
        with Frontend(first, "first") as frontend:
            frontend.listen()
            frontend.begin("import time; time.sleep(0.3); print('for whom it may concern')")
            leave(first, observer)
        wait_until(lambda: kernels(observer)[0]["state"] == "idle", "it is idle", LIMIT)
        assert attach(second, ready["kernel"], "second")["type"] == "ready"
        leave(second, observer)
        assert attach(third, ready["kernel"], "third")["former_keys"] == ["first", "second"]
        with Frontend(third, "third", "first") as frontend:
            frontend.until(lambda: frontend.text, "it comes")
            assert frontend.text == "for whom it may concern\n"
            assert frontend.run("print(1)") == "1\n"


def test_a_former_launcher_that_never_listened_is_no_obstacle(agent: Agent) -> None:
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        ready = former.start(key="former")
        leave(former, observer)
        assert attach(new, ready["kernel"])["type"] == "ready"
        with Frontend(new, "new", "former") as frontend:
            frontend.listen()
            assert frontend.run("print(1)") == "1\n"


@pytest.mark.parametrize("said", [0, 10, 11, 64], ids=["nothing", "a part", "more", "a greeting"])
def test_a_former_launcher_that_left_during_the_opening_is_no_obstacle(
    agent: Agent, said: int
) -> None:
    """The opening of libzmq, that is: 64 bytes of a greeting and a handshake each way."""
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        ready = former.start(key="former")
        stream = former.link.open("iopub")
        if said:
            former.link.send(stream, GREETING[:said])
        former.flush()
        former.until(lambda: former.received.get(stream), "the kernel says its part")
        leave(former, observer)
        assert attach(new, ready["kernel"])["type"] == "ready"
        with Frontend(new, "new", "former") as frontend:
            frontend.listen()
            assert frontend.run("print(1)") == "1\n"


def test_a_kernel_with_a_launcher_or_none_at_all_cannot_be_had(agent: Agent) -> None:
    with Session(agent) as former, Session(agent) as new, Session(agent) as other:
        ready = former.start()
        failed = attach(new, ready["kernel"])
        assert (failed["type"], failed["reason"]) == ("failed", "busy")
        failed = attach(other, "no such kernel")
        assert (failed["type"], failed["reason"]) == ("failed", "gone")
        with Frontend(former) as frontend:
            frontend.listen()
            assert frontend.run("print('unharmed')") == "unharmed\n"


def test_a_kernel_that_has_just_died_cannot_be_had_and_harms_nobody(agent: Agent) -> None:
    """The agent reads the request before it knows."""
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        ready = former.start()
        leave(former, observer)
        agent.signal(signal.SIGSTOP)
        try:
            os.kill(int(str(ready["pid"])), signal.SIGKILL)
            wait_until(lambda: _is_over(ready["pid"]), "it has closed its files", LIMIT)
            new.say("attach", kernel=ready["kernel"], key="new")
        finally:
            agent.signal(signal.SIGCONT)
        failed = new.wait_for("failed", "ready")
        assert (failed["type"], failed["reason"]) == ("failed", "gone")
        assert observer.is_served()
        assert former.resume() == RESUMED
        assert former.wait_for("ended")["status"] == -signal.SIGKILL


def test_a_spec_that_reattaches_to_what_has_just_died_gets_a_new_kernel(agent: Agent) -> None:
    request = {"owner": "ann@pc", "workdir": "/tmp", "python": sys.executable}
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        old = former.start(key="former", **request)["pid"]
        leave(former, observer)
        agent.signal(signal.SIGSTOP)
        try:
            os.kill(old, signal.SIGKILL)
            wait_until(lambda: _is_over(old), "it has closed its files", LIMIT)
            new.say("start", key="new", reattach=True, **request)
        finally:
            agent.signal(signal.SIGCONT)
        ready = new.wait_for("ready", "failed")
        assert ready["type"] == "ready" and ready["pid"] != old
        assert ready["former_keys"] == []


def _is_over(pid: int) -> bool:
    """Say whether a process is over with all its threads, whoever has waited for it or not."""
    try:
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return threads == 1 and ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True  # its template has waited for it


def test_a_spec_that_reattaches_has_the_youngest_orphan_like_it(agent: Agent) -> None:
    request = {"owner": "ann@pc", "workdir": "/tmp", "python": sys.executable}
    with Session(agent) as observer:
        pids = {}
        wanted = ({}, {}, {"owner": "bob@pc"}, {"workdir": "/"})
        for number, other in enumerate(wanted):
            with Session(agent) as session:
                pids[number] = session.start(**{**request, **other, "key": f"key {number}"})["pid"]
                leave(session, observer)
        for number, expected in ((4, pids[1]), (5, pids[0])):
            with Session(agent) as session:
                ready = session.start(key=f"key {number}", reattach=True, **request)
                assert ready["pid"] == expected and ready["former_keys"]
                leave(session, observer)
                observer.say("stop", kernel=ready["kernel"])
                wait_until(lambda p=expected: not alive(p), "it ends", LIMIT)
        with Session(agent) as session:
            ready = session.start(key="key 6", reattach=True, **request)
            assert ready["pid"] not in pids.values() and ready["former_keys"] == []
        assert alive(pids[2]) and alive(pids[3])


def test_an_orphan_that_is_taken_over_is_not_ended_by_its_former_lease(agent: Agent) -> None:
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        ready = former.start(lease=3)
        leave(former, observer)
        assert attach(new, ready["kernel"])["type"] == "ready"
        assert kernels(observer)[0]["lease"] == 3600.0
        wait_until(lambda: float(str(kernels(observer)[0]["age"])) > 4, "its time is up", LIMIT)
        assert alive(int(str(ready["pid"])))


@pytest.mark.parametrize("how", ["closed", "silent"])
def test_a_launcher_that_fell_silent_may_just_be_asleep(agent: Agent, how: str) -> None:
    """So that a spec does not take a kernel from a notebook that is merely suspended."""
    request = {"owner": "ann@pc", "workdir": "/tmp", "python": sys.executable}
    with Session(agent) as former, Session(agent) as observer, Session(agent) as new:
        old = former.start(key="former", peer_timeout=1, **request)["pid"]
        if how == "closed":
            former.break_off()
        wait_until(lambda: away(observer) == 1, "the agent has noticed", LIMIT)
        ready = new.start(key="new", reattach=True, **request)
        assert (ready["pid"] == old) == (how == "closed")
        former.break_off()
        assert former.resume() == (TAKEN if how == "closed" else RESUMED)
        assert alive(old)


# --- signatures -----------------------------------------------------------------------------------


def test_what_was_signed_with_any_former_key_is_signed_anew(tmp_path: Path) -> None:
    path = tmp_path / "connection.json"
    write_connection_file(str(path), key=b"now")
    resigner = Resigner(connection_file.read(str(path)), ["first", "second", "third"])
    topic, now = b"a topic", Wire(key=b"now")

    def signed(key: str) -> list[bytes]:
        wire = Wire(key=key.encode())
        return [topic, *wire.serialize(wire.msg("status", {"execution_state": "idle"}))]

    for key in ("first", "second", "third"):
        parts = resigner.resign([*signed(key), b"a buffer"])
        assert (parts[0], parts[-1]) == (topic, b"a buffer")
        rest = now.feed_identities(parts[:-1])[1]
        assert rest[0] == now.sign(rest[1:]), f"{key} fits"
    for other in (signed("now"), signed("a stranger's"), [topic], [topic, b"<IDS|MSG>"]):
        assert resigner.resign(list(other)) == other
