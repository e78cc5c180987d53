"""The real ipykernel, unmodified, on the stand-ins for pyzmq and psutil; its clients have libzmq."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from boards import ROOT, Board, local, write_spec
from kernels import Frontend, Message, attached_at_once, started
from test_kernel_suite import suite

STAND_INS = ROOT / "board_agent" / "stand_ins"
PYTHONS = ["oldest", "newest"]  # ipykernel 6.29.5 on Python 3.8, and the newest on ours


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    with local() as made:
        yield made


@pytest.fixture(scope="module", params=PYTHONS)
def spec(board: Board, board_python: str, request: pytest.FixtureRequest) -> Path:
    """A kernelspec of a kernel on the stand-ins, in a folder where jupyter_client looks."""
    python = board_python if request.param == "oldest" else sys.executable
    kernels = Path(board.environment["JUPYTER_DATA_DIR"], "kernels")
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    env = {"PYTHONPATH": os.pathsep.join(map(str, (STAND_INS, ROOT)))}
    write_spec(kernels, f"stand-in-{request.param}", argv, env=env)
    write_spec(kernels, f"real-{request.param}", argv)
    return kernels / f"stand-in-{request.param}"


@pytest.fixture(scope="module")
def kernel(board: Board, spec: Path) -> Iterator[Frontend]:
    with started(board, spec=spec, transport="ipc") as frontend:
        yield frontend


def threads(kernel: Frontend) -> int:
    return int(kernel.value("len(__import__('os').listdir('/proc/self/task'))"))


def test_it_is_the_stand_ins_that_it_runs_on(kernel: Frontend) -> None:
    for name in ("zmq", "psutil"):
        assert str(STAND_INS / name) in kernel.value(f"__import__('{name}').__file__")
    assert kernel.value("[m for m in __import__('sys').modules if 'cython' in m]") == "[]"


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_kernel_starts_answers_and_ends(board: Board, spec: Path, transport: str) -> None:
    with started(board, spec=spec, transport=transport) as frontend:
        assert frontend.run("print('hello'); 6 * 7").text() == "hello\n"
        assert frontend.control("kernel_info_request")["content"]["status"] == "ok"
        frontend.client.shutdown()
        assert frontend.wait_for_end(frontend.limit) == 0
        assert "Traceback" not in frontend.said()


def test_streams_keep_their_order(kernel: Frontend) -> None:
    code = """
import sys
for i in range(1000):
    print("out", i)
    print("err", i, file=sys.stderr)
"""
    result = kernel.run(code)
    assert result.text("stdout") == "".join(f"out {i}\n" for i in range(1000))
    assert result.text("stderr") == "".join(f"err {i}\n" for i in range(1000))


def test_a_user_is_asked(kernel: Frontend) -> None:
    for number in range(3):
        result = kernel.run("print('you said', input('? '))", lambda _, n=number: f"answer {n}")
        assert result.text() == f"you said answer {number}\n"


@pytest.mark.parametrize(
    "code", ["while True: pass", "import time\ntime.sleep(1000)", "while True: print('x' * 100)"]
)
def test_a_cell_is_interrupted(kernel: Frontend, code: str) -> None:
    number = kernel.send(f"print('begun', flush=True)\n{code}")
    kernel.until_printed("begun")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(number).reply["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.value("1 + 1") == "2"


def test_an_interrupt_may_come_at_any_time(kernel: Frontend) -> None:
    """While the cell, in the main thread, uses sockets as often as it can."""
    code = "while True:\n print('x', flush=True)\n display('y')"
    for pause in range(20):
        number = kernel.send("print('begun', flush=True)\n" + code)
        kernel.until_printed("begun")
        time.sleep(pause / 1000)  # that is the point: another moment each time
        kernel.manager.interrupt_kernel()
        assert kernel.finish(number).reply["content"]["status"] == "error"
    assert kernel.run("print('well')").text() == "well\n"


def test_control_is_heard_while_a_cell_runs(kernel: Frontend) -> None:
    number = kernel.send("print('begun', flush=True)\nwhile True: pass")
    kernel.until_printed("begun")
    assert kernel.control("kernel_info_request")["content"]["status"] == "ok"
    assert kernel.client.hb_channel.is_beating()
    with attached_at_once(kernel) as other:  # its sockets are welcome, though shell is busy
        assert other.control("kernel_info_request")["content"]["status"] == "ok"
    kernel.manager.interrupt_kernel()
    kernel.finish(number)


def test_completion_and_inspection(kernel: Frontend) -> None:
    assert "zip" in kernel.reply(kernel.client.complete("zi"))["content"]["matches"]
    assert kernel.reply(kernel.client.inspect("zip"))["content"]["found"]


def test_ten_megabytes_are_displayed(kernel: Frontend) -> None:
    code = "display({'text/plain': 'x' * 10_000_000}, raw=True); 'y' * 1000"
    result = kernel.run(code)
    (shown,) = result.of("display_data")
    assert shown["data"]["text/plain"] == "x" * 10_000_000
    assert len(result.of("execute_result")) == 1


def test_binary_buffers_each_way(kernel: Frontend) -> None:
    code = """
from ipykernel.comm import Comm
def opened(comm, message):
    @comm.on_msg
    def echo(message):
        comm.send({}, buffers=[bytes(part)[::-1] for part in message["buffers"]])
get_ipython().kernel.comm_manager.register_target("echo", opened)
"""
    kernel.run(code)
    session, shell = kernel.client.session, kernel.client.shell_channel
    shell.send(session.msg("comm_open", {"comm_id": "c", "target_name": "echo", "data": {}}))
    message = session.msg("comm_msg", {"comm_id": "c", "data": {}})
    buffers = [os.urandom(1 << 20), b"", b"small"]
    session.send(shell.socket, message, buffers=buffers)
    *_, answer = kernel.until(lambda m: m["msg_type"] == "comm_msg", "the echo")
    assert [bytes(part) for part in answer["buffers"]] == [part[::-1] for part in buffers]


def test_what_threads_and_children_print_is_shown(kernel: Frontend) -> None:
    code = """
import multiprocessing, threading
fork = multiprocessing.get_context("fork")
for kind in (threading.Thread, fork.Process):
    workers = [kind(target=print, args=(kind.__name__, i), kwargs={"flush": True}) for i in range(5)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
"""
    kernel.send(code)
    wanted = {f"{kind} {i}" for kind in ("Thread", "ForkProcess") for i in range(5)}
    found: list[str] = []

    def all_shown(message: Message) -> bool:
        found.append(message["content"].get("text", ""))
        return all(text in "".join(found) for text in wanted)

    kernel.until(all_shown, "all ten are shown")


def test_usage_is_told_as_by_the_real_ones(board: Board, spec: Path, kernel: Frontend) -> None:
    real = spec.parent / spec.name.replace("stand-in", "real")
    with started(board, spec=real, transport="ipc") as other:
        usages = []
        for frontend in (kernel, other):
            frontend.control("usage_request")
            usages.append(frontend.control("usage_request")["content"])
    mine, theirs = usages
    assert mine.keys() - {"host_cpu_percent"} == theirs.keys() - {"host_cpu_percent"}
    assert mine["host_virtual_memory"].keys() == theirs["host_virtual_memory"].keys()
    for name in mine.keys() & theirs.keys():
        assert type(mine[name]) is type(theirs[name]), name
    assert 5e6 < mine["kernel_memory"] < theirs["kernel_memory"] * 1.5


def test_subshells(kernel: Frontend) -> None:
    features = kernel.control("kernel_info_request")["content"].get("supported_features", [])
    if "kernel subshells" not in features:
        pytest.skip("this ipykernel has none")
    subshell = kernel.control("create_subshell_request")["content"]["subshell_id"]
    number = kernel.send("print('begun', flush=True)\nwhile True: pass")
    kernel.until_printed("begun")
    message = kernel.client.session.msg("execute_request", {"code": "print('beside')"})
    message["header"]["subshell_id"] = subshell
    kernel.client.shell_channel.send(message)
    kernel.until_printed("beside")
    assert kernel.control("list_subshell_request")["content"]["subshell_id"] == [subshell]
    assert (
        kernel.control("delete_subshell_request", {"subshell_id": subshell})["content"]["status"]
        == "ok"
    )
    kernel.manager.interrupt_kernel()
    kernel.finish(number)


def test_no_more_threads_than_with_libzmq(board: Board, spec: Path, kernel: Frontend) -> None:
    real = spec.parent / spec.name.replace("stand-in", "real")
    with started(board, spec=real, transport="ipc") as other:
        assert threads(kernel) < threads(other)


def test_jupyters_own_suite_goes_as_well(board: Board, spec: Path) -> None:
    mine = suite(board, spec.name)
    theirs = suite(board, spec.name.replace("stand-in", "real"))
    assert len(theirs["passed"]) >= 12
    assert mine == theirs
