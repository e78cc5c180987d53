"""`rkernel ps`, stop and attach, and --reattach: the kernels that run, whoever started them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient

from rkernel_launcher import errors
from rkernel_launcher.board import reach
from rkernel_launcher.target import Target
from tests.support import agents
from tests.support.boards import Board, wait_until
from tests.support.commands import argv, assert_refused, rkernel
from tests.support.handovers import HandedOver
from tests.support.kernels import Frontend, is_idle, launched, started

READY = 60.0  # seconds


@pytest.fixture(autouse=True)
def added(home: Board) -> None:
    """Add this machine as a board, with a kernel that is called `pi`."""
    run = rkernel("add", "--via", "local", "--name", "pi", "--no-check", "--reattach")
    assert run.returncode == 0, run.stderr


def ps() -> list[dict[str, Any]]:
    run = rkernel("ps", "pi", "--json")
    assert (run.returncode, run.stderr) == (0, "")
    return list(json.loads(run.stdout))


def spec(home: Board) -> Path:
    return home.specs / "pi"


@contextmanager
def orphaned(home: Board, code: str) -> Iterator[Frontend]:
    """Start a kernel, run code in it, and kill its launcher; what the kernel has stays."""
    with started(home, spec=spec(home)) as kernel:
        kernel.run("kept = 'here'")
        kernel.send(f"print('begun', flush=True)\n{code}")
        kernel.until_printed("begun")
        kernel.signal(signal.SIGKILL)
        kernel.wait_for_end(5)
        yield kernel


@contextmanager
def attached(*arguments: str) -> Iterator[tuple[BlockingKernelClient, subprocess.Popen[str]]]:
    """Run `rkernel attach`, and give a client of what it prints."""
    command = argv("attach", "pi", *arguments)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        client = None
        try:
            path = process.stdout.readline().strip()
            assert path, process.stderr.read()
            assert Path(path).stat().st_mode & 0o777 == 0o600
            client = BlockingKernelClient(connection_file=path)
            client.load_connection_file()
            client.start_channels()
            yield client, process
        finally:
            if client is not None:
                client.stop_channels()
            process.send_signal(signal.SIGINT)
            process.wait(READY)
        assert not Path(path).exists()


def printed(client: BlockingKernelClient, last: str) -> str:
    """Return what is printed up to some text."""
    text = ""
    while last not in text:
        message = client.get_iopub_msg(timeout=READY)
        if message["msg_type"] == "stream":
            text += message["content"]["text"]
    return text


def numbers(text: str) -> list[int]:
    """Return the numbers that TICKING printed; what the old launcher had may be among it."""
    return [int(word) for word in text.split() if word.isdigit()]


def value(client: BlockingKernelClient, expression: str) -> str:
    number = client.execute("", user_expressions={"it": expression}, store_history=False)
    while (reply := client.get_shell_msg(timeout=READY))["parent_header"]["msg_id"] != number:
        pass
    return str(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])


# --- ps -----------------------------------------------------------------------------------------


def test_ps_where_nothing_runs(home: Board) -> None:
    assert ps() == []
    assert rkernel("ps", "pi").stdout == "No kernel runs on that board.\n"
    assert not home.agents()  # asking starts none
    assert_refused(rkernel("ps", "no-such"), errors.NoSuchKernel, "no-such")


def test_ps_tells_of_each_kernel_what_one_wants_to_know(home: Board) -> None:
    with started(home, spec=spec(home)) as kernel:
        pid = int(kernel.value("__import__('os').getpid()"))
        (told,) = ps()
        assert told["pid"] == pid and told["state"] == "idle"
        assert told["away"] is None and told["lease"] == 3600
        assert "@" in told["owner"] and 0 < told["age"] < 600 and told["memory"] > 10 << 20
        assert "token" not in json.dumps(told) and "key" not in told
        number = kernel.send("print('begun', flush=True); input()", allow_stdin=True)
        kernel.until_printed("begun")
        assert ps()[0]["state"] == "busy"
        table = rkernel("ps", "pi").stdout
        assert told["id"] in table and "connected" in table
        kernel.manager.interrupt_kernel()
        kernel.until(is_idle(number), "it is interrupted")
        with started(home, spec=spec(home)):
            assert len(ps()) == 2
    assert ps() == []


def test_an_orphan_is_told_as_one(home: Board) -> None:
    with orphaned(home, "pass"):
        (told,) = ps()
        assert 0 <= told["away"] < 60 and 3500 < told["left"] <= 3600
        assert "waits 1 h more" in rkernel("ps", "pi").stdout.replace("60 min", "1 h")
        assert rkernel("stop", "pi", "--orphans").returncode == 0


# --- stop ---------------------------------------------------------------------------------------


def test_stop_one_the_orphans_or_all(home: Board) -> None:
    with started(home, spec=spec(home)) as kernel, orphaned(home, "pass"):
        pid = int(kernel.value("__import__('os').getpid()"))
        assert rkernel("stop", "pi").returncode == 2
        assert_refused(rkernel("stop", "pi", "zzz"), errors.NoKernel, "zzz")
        (orphan,) = [k for k in ps() if k["away"] is not None]
        run = rkernel("stop", "pi", "--orphans")
        assert (run.returncode, run.stdout) == (0, f"Ended {orphan['id']}.\n")
        assert home.kernels() == {pid}
        (mine,) = ps()
        assert rkernel("stop", "pi", mine["id"][:4]).returncode == 0
        assert not home.kernels()
        assert "somebody ended it on the board" in kernel.reason(10)
        assert kernel.wait_for_end(5) == 1
        assert "somebody ended it on the board" in kernel.said()
    with started(home, spec=spec(home)), started(home, spec=spec(home)):
        assert rkernel("stop", "pi", "--all").returncode == 0
        assert not home.kernels()


def test_an_agent_that_does_not_answer_is_told_of(home: Board) -> None:
    with (
        started(home, spec=spec(home)) as kernel,
        closing(reach.reach(Target(via="local"))) as board,
    ):
        board.prepare()
        (told,) = ps()
        (agent,) = home.agents()
        home.signal(agent, signal.SIGSTOP)
        try:
            run = rkernel("ps", "pi")
            assert run.returncode == 0 and "does not answer" in run.stderr
            with pytest.raises(errors.KernelsStay):
                board.stop([told["id"]])
        finally:
            home.signal(agent, signal.SIGCONT)
        assert kernel.run("print('unharmed')").text() == "unharmed\n"


def test_what_a_board_says_cannot_steer_the_terminal(home: Board) -> None:
    """A board may send anything as a kernel's owner, and here does."""
    with started(home, spec=spec(home)):
        (state,) = Path(home.runtime).glob("rkernel/*/agent.json")
        facts = json.loads(state.read_text())
        agent = agents.Agent(
            Path(home.runtime),
            state.parent,
            facts["pid"],
            facts["port"],
            bytes.fromhex(facts["token"]),
        )
        with HandedOver(agent) as other:
            other.start(key="other", owner="\x1b]0;owned\x07\x9b2J\u202e", lease=0)
            for arguments in (["ps", "pi"], ["ps", "pi", "--json"]):
                run = rkernel(*arguments)
                assert run.returncode == 0 and "owned" in run.stdout
                assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", run.stdout)
            other.say("end")
            other.wait_for("ended")


INVENT = (
    "from board_agent.agent import sessions; from board_agent.link.messages import KernelInfo; "
    "sessions.Sessions.describe"
)


def test_a_board_that_invents_a_kernels_id_harms_no_file(home: Board) -> None:
    folder = Path(home.environment["JUPYTER_RUNTIME_DIR"])
    (folder / "kernel-rkernel-").mkdir(parents=True)
    victim = folder.parent / "victim" / "settings.json"
    victim.parent.mkdir()
    victim.write_text("{}")
    told = {"kernel": "/../../victim/settings", "pid": 1, "owner": "", "state": "idle", "age": 1}
    told |= {"memory": 1, "away": 1, "lease": 1}
    runtime = Path(home.runtime)
    agents.launch(runtime, patch=f"{INVENT} = lambda self: [KernelInfo(**{told!r})]")
    agent = agents.find(runtime)
    try:
        for arguments in (["ps", "pi"], ["attach", "pi"], ["attach", "pi", "/"]):
            assert_refused(rkernel(*arguments), errors.BoardMisbehaved, "kernels")
        assert victim.read_text() == "{}"
    finally:
        agent.signal(signal.SIGTERM)
        wait_until(lambda: not agents.alive(agent.pid), "the agent ends", READY)
        (runtime / "log").unlink()


# --- attach -------------------------------------------------------------------------------------

TICKING = """
import time
for i in range(60):
    print(i, flush=True)
    time.sleep(0.05)
print('done')
"""


def test_attach_finds_the_variables_and_what_was_printed_meanwhile(home: Board) -> None:
    with orphaned(home, TICKING):
        wait_until(lambda: ps()[0]["state"] == "idle", "the cell has ended", READY)
        with attached() as (client, process):
            text = printed(client, "done")
            lines = numbers(text)
            assert lines == list(range(lines[0], 60)) and lines[0] < 20
            assert value(client, "kept") == "'here'"
            assert ps()[0]["away"] is None
        assert process.returncode == 0
        wait_until(lambda: ps()[0]["away"] is not None, "it waits again", READY)
        with attached(ps()[0]["id"]) as (client, process):  # and can be had again
            assert value(client, "kept") == "'here'"
            client.shutdown()
            assert process.wait(READY) == 0
        assert not home.kernels()


def test_attach_in_the_middle_of_a_cell(home: Board) -> None:
    with orphaned(home, TICKING), attached() as (client, _):
        text = printed(client, "done")
        lines = numbers(text)
        assert lines == list(range(lines[0], 60))
        assert value(client, "i") == "59"


def test_attach_takes_nothing_away_from_anybody(home: Board) -> None:
    assert_refused(rkernel("attach", "pi"), errors.NoOrphan)
    assert_refused(rkernel("attach", "pi", "abc"), errors.NoKernel)
    with started(home, spec=spec(home)) as kernel:
        assert_refused(rkernel("attach", "pi"), errors.NoOrphan)
        assert_refused(rkernel("attach", "pi", ps()[0]["id"]), errors.KernelBusy)
        assert kernel.run("print('still here')").text() == "still here\n"


# --- --reattach ---------------------------------------------------------------------------------


def test_a_spec_with_reattach_takes_over_what_it_left(home: Board) -> None:
    with orphaned(home, "pass"):
        with started(home, spec=spec(home)) as kernel:
            assert kernel.value("kept") == "'here'"
            assert "taken over" in kernel.log()
            assert kernel.run("print('ü')").text() == "ü\n"
            assert len(home.kernels()) == 1
        assert not home.kernels()  # a proper end is an end


def test_the_same_connection_file_gets_a_new_kernel_all_the_same(home: Board) -> None:
    with started(home, spec=spec(home)) as kernel:
        kernel.run("kept = 1")
        kernel.restart(now=True)  # as a user does who wants a fresh one
        assert kernel.run("kept").reply["content"]["ename"] == "NameError"
        assert len(home.kernels()) == 1


def test_without_an_orphan_a_kernel_is_started(home: Board) -> None:
    with launched(home, spec=spec(home)) as kernel:
        kernel.client.wait_for_ready(timeout=READY)
        with started(home, spec=spec(home)) as other:
            assert other.run("print('new')").text() == "new\n"
            assert len(home.kernels()) == 2
