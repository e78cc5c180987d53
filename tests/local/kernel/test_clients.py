"""Several clients, several kernels, strange visitors: none disturbs the others."""

from __future__ import annotations

import ast
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq
from jupyter_client import BlockingKernelClient

from tests.support.boards import Board, wait_until
from tests.support.environments import environment
from tests.support.kernels import Frontend, attached, attached_at_once, is_idle, launched, started
from tests.support.pythons import interpreter

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


@pytest.fixture(scope="module")
def kernel(board: Board) -> Iterator[Frontend]:
    with started(board) as frontend:
        yield frontend


# --- one kernel ---------------------------------------------------------------------------------


def test_clients_share_a_kernel_and_its_output(kernel: Frontend) -> None:
    with attached(kernel) as other:
        number = kernel.send("shared = 'ü'\nprint(shared)")
        assert kernel.finish(number).text() == "ü\n"
        heard = other.until(is_idle(number), "the other client hears of it")
        assert "ü\n" in [message["content"].get("text") for message in heard]
        assert other.value("shared") == "'ü'"
    assert kernel.value("shared") == "'ü'"


def test_a_new_client_is_welcomed(kernel: Frontend) -> None:
    """So that it knows when it will hear all (JEP 65)."""
    if ast.literal_eval(kernel.value("__import__('ipykernel').version_info[:2]")) < (7, 2):
        pytest.skip("the board's ipykernel does not do so")
    for _ in range(2):
        with attached_at_once(kernel) as other:
            (welcome,) = other.until(lambda message: True, "a welcome")
            assert welcome["msg_type"] == "iopub_welcome"


def test_each_client_is_asked_for_its_own_input(kernel: Frontend) -> None:
    with attached(kernel) as other:
        for client, word in ((kernel, "one"), (other, "two")):
            client.run("answer = input('?')", answer=lambda question, word=word: word)
            assert kernel.value("answer") == repr(word)


def test_clients_come_and_go(board: Board, kernel: Frontend) -> None:
    before = open_files(kernel.launcher)
    for _ in range(10):
        with attached(kernel) as other:
            assert other.run("print('ü')").text() == "ü\n"
    wait_until(lambda: open_files(kernel.launcher) <= before, "connections close", board.limit)


def test_a_client_with_another_key_gets_no_answer(kernel: Frontend) -> None:
    client = BlockingKernelClient()
    client.load_connection_info({**kernel.manager.get_connection_info(), "key": b"another"})
    client.start_channels()
    try:
        client.execute("intruded = True")
        kernel.run("pass")
        assert not client.shell_channel.msg_ready()
        assert kernel.run("intruded").reply["content"]["ename"] == "NameError"
    finally:
        client.stop_channels()


def test_heartbeats_are_answered_while_a_cell_keeps_the_kernel_busy(
    board: Board, kernel: Frontend
) -> None:
    (pid,) = board.kernels()
    with zmq.Context() as context, context.socket(zmq.REQ) as beat:
        beat.linger = 0
        beat.connect(f"tcp://127.0.0.1:{kernel.manager.get_connection_info()['hb_port']}")
        board.signal(pid, signal.SIGSTOP)
        try:
            for number in range(20):
                beat.send(b"ping %d" % number)
                assert beat.poll(1000 * board.slowness), "no heartbeat"
                assert beat.recv() == b"ping %d" % number
        finally:
            board.signal(pid, signal.SIGCONT)


def test_a_kernel_has_its_ports_to_itself(kernel: Frontend) -> None:
    for name in PORTS:
        with socket.socket() as rival, pytest.raises(OSError):
            rival.bind(("127.0.0.1", kernel.manager.get_connection_info()[name]))


def test_probes_and_garbage_do_no_harm(board: Board, kernel: Frontend) -> None:
    info = kernel.manager.get_connection_info()
    (agent,) = board.agents()
    count = f"ls /proc/{agent}/fd | wc -l"
    kernel.run("kept = 1")
    before, before_agent = open_files(kernel.launcher), int(board.shell(count))
    with ExitStack() as held:
        for name in PORTS:
            address = ("127.0.0.1", info[name])
            for _ in range(40):
                socket.create_connection(address, 5).close()
            for _ in range(10):
                held.enter_context(socket.create_connection(address, 5))
            for garbage in (b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100_000, os.urandom(1000)):
                visitor = held.enter_context(socket.create_connection(address, 5))
                visitor.settimeout(5)
                try:
                    visitor.sendall(garbage)
                except OSError:
                    pass  # it was shown the door meanwhile
        assert kernel.value("kept") == "1"
    wait_until(lambda: open_files(kernel.launcher) <= before, "the launcher lets go", board.limit)
    wait_until(lambda: int(board.shell(count)) <= before_agent, "the agent lets go", board.limit)
    assert kernel.value("kept") == "1"


def test_a_connection_file_may_ask_for_unix_sockets(board: Board) -> None:
    with started(board, transport="ipc") as kernel:
        info = kernel.manager.get_connection_info()
        paths = [Path(f"{info['ip']}-{info[name]}") for name in PORTS]
        assert all(path.is_socket() for path in paths)
        assert kernel.run("print('ü')").text() == "ü\n"
        kernel.restart(now=True)
        assert kernel.run("print('ü')").text() == "ü\n"
        kernel.signal(signal.SIGTERM)
        kernel.wait_for_end(board.limit)
        assert not any(path.exists() for path in paths)


# --- several kernels ----------------------------------------------------------------------------


def test_kernels_share_an_agent_and_nothing_else(board: Board) -> None:
    others = board.kernels()
    with started(board) as one, started(board) as two:
        ours = board.kernels() - others
        assert len(ours) == 2
        (agent,) = board.agents()
        assert {board.agent_of(pid) for pid in ours} == {agent}
        one.run("name = 'one'")
        assert two.run("name").reply["content"]["ename"] == "NameError"

        endless = one.send("while True: pass")
        two.run("name = 'two'")
        two.control("interrupt_request")
        assert two.value("name") == "'two'"
        one.manager.interrupt_kernel()
        assert one.reply(endless)["content"]["ename"] == "KeyboardInterrupt"

        two.control("shutdown_request", {"restart": False})
        two.wait_for_end(board.limit)
        assert one.value("name") == "'one'"
        assert len(board.kernels() - others) == 1


def test_kernels_that_start_together_share_an_agent_too(board: Board) -> None:
    board.end_agents()
    with ExitStack() as stack:
        fronts = [stack.enter_context(launched(board)) for _ in range(3)]
        for front in fronts:
            front.client.wait_for_ready(timeout=front.limit)
        assert len(board.agents()) == 1
        assert len(board.kernels()) == 3


# --- an old ipykernel ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "packages"),
    [
        ("5.5.6", "ipython<8 jupyter_client<7 pyzmq<25 tornado<6.2"),
        ("6.1.0", "ipython<8 jupyter_client<7 pyzmq<25 tornado<6.2 ipython_genutils"),
    ],
)
def test_an_old_ipykernel_works_and_heeds_sigint(board: Board, version: str, packages: str) -> None:
    """From before interrupt_request; 5 has no thread for the control channel either."""
    interpreter("3.8")  # no other has an ipykernel that old
    python = environment(f"ipykernel-{version}", f"ipykernel=={version} {packages}")
    with started(board, "--python", python) as kernel:
        assert kernel.value("__import__('ipykernel').__version__") == repr(version)
        kernel.run("kept = 'ü'")
        endless = "print('begun', flush=True)\nwhile True: print('x' * 1000)"
        number = kernel.send(endless, stop_on_error=False)  # or the next one may be aborted
        kernel.until_printed("begun")
        kernel.signal(signal.SIGINT)
        assert kernel.finish(number).reply["content"]["ename"] == "KeyboardInterrupt"
        assert kernel.value("kept") == "'ü'"
        kernel.run("answer = input('?')", answer=lambda question: "ß")
        assert kernel.value("answer") == "'ß'"
        assert len(kernel.run("print('ü' * 3_000_000)").text()) == 3_000_001
        assert kernel.run("255 / 0").reply["content"]["ename"] == "ZeroDivisionError"
        kernel.restart()
        assert kernel.run("kept").reply["content"]["ename"] == "NameError"


def open_files(pid: int) -> int:
    """Return how many files a process of this machine has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
