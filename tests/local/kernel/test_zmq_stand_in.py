"""The real ipykernel, unmodified, on the stand-ins for pyzmq and psutil; clients have libzmq."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.test_kernel_suite import suite
from tests.local.kernel.test_kernel import COMM
from tests.support.boards import ROOT, Board, local, write_spec
from tests.support.kernels import Frontend, Message, attached_at_once, started

STAND_INS = ROOT / "board_agent" / "stand_ins"
PYTHONS = ["oldest", "newest"]  # ipykernel 6.29.5 on Python 3.8, and the newest on ours


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    with local() as made:
        yield made


@pytest.fixture(scope="module", params=PYTHONS)
def python(board_python: str, request: pytest.FixtureRequest) -> str:
    return board_python if request.param == "oldest" else sys.executable


@pytest.fixture(scope="module")
def spec(board: Board, python: str) -> Path:
    """A kernelspec of a kernel on the stand-ins; beside it is one, `real`, of a kernel without."""
    return write_specs(board, python)


def write_specs(board: Board, python: str) -> Path:
    kernels = board.specs
    shutil.rmtree(kernels, ignore_errors=True)
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    env = {"PYTHONPATH": os.pathsep.join(map(str, (STAND_INS, ROOT)))}
    write_spec(kernels, "stand-in", argv, env=env)
    write_spec(kernels, "real", argv)
    return kernels / "stand-in"


@pytest.fixture(scope="module")
def kernel(board: Board, spec: Path) -> Iterator[Frontend]:
    with started(board, spec=spec, transport="ipc") as frontend:
        yield frontend


def threads(kernel: Frontend) -> int:
    return int(kernel.value("len(__import__('os').listdir('/proc/self/task'))"))


def test_it_is_the_stand_ins_that_it_runs_on(kernel: Frontend) -> None:
    for name in ("zmq", "psutil"):
        assert str(STAND_INS / name) in kernel.value(f"__import__('{name}').__file__")
    assert kernel.value("'zmq.backend' in __import__('sys').modules") == "False"


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
    "code",
    [
        "while True: pass",
        # Not one long sleep: Python misses a signal that comes just before it goes to sleep.
        "import time\nwhile True: time.sleep(1)",
        "while True: print('x' * 100)",
    ],
)
def test_a_cell_is_interrupted(kernel: Frontend, code: str) -> None:
    number = kernel.send(f"print('begun', flush=True)\n{code}", stop_on_error=False)
    kernel.until_printed("begun")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(number).reply["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.value("1 + 1") == "2"


def test_an_interrupt_may_come_at_any_time(kernel: Frontend) -> None:
    """While the cell, in the main thread, uses sockets as often as it can."""
    code = "while True:\n print('x', flush=True)\n display('y')"
    for pause in range(20):
        # Else ipykernel may abort what comes just after this one's error.
        number = kernel.send("print('begun', flush=True)\n" + code, stop_on_error=False)
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
    assert kernel.run(COMM).reply["content"]["status"] == "ok"
    session, socket = kernel.client.session, kernel.client.shell_channel.socket
    opening = {"comm_id": "c", "target_name": "echo", "data": {}}
    session.send(socket, session.msg("comm_open", opening))
    buffers = [os.urandom(1 << 20), b"", b"small"]
    session.send(socket, session.msg("comm_msg", {"comm_id": "c", "data": {}}), buffers=buffers)
    *_, answer = kernel.until(lambda m: m["content"].get("data", {}).get("sizes"), "the echo")
    assert answer["content"]["data"] == {"sizes": [1 << 20, 0, 5]}
    assert [bytes(part) for part in answer["buffers"]] == [part[::-1] for part in buffers]


def test_what_threads_and_children_print_is_shown(kernel: Frontend) -> None:
    code = """
import multiprocessing, threading
fork = multiprocessing.get_context("fork")
for kind in (threading.Thread, fork.Process):
    texts = [f"<{kind.__name__} {i}>" for i in range(5)]
    workers = [kind(target=print, args=(text,), kwargs={"flush": True}) for text in texts]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
"""
    kernel.send(code)
    wanted = {f"<{kind} {i}>" for kind in ("Thread", "ForkProcess") for i in range(5)}
    found: list[str] = []

    def all_shown(message: Message) -> bool:
        found.append(message["content"].get("text", ""))
        return all(text in "".join(found) for text in wanted)

    kernel.until(all_shown, "all ten are shown")


def test_usage_is_told_as_by_the_real_ones(board: Board, spec: Path, kernel: Frontend) -> None:
    with started(board, spec=spec.with_name("real"), transport="ipc") as other:
        usages = []
        for frontend in (kernel, other):
            frontend.control("usage_request")
            usages.append(frontend.control("usage_request")["content"])
    mine, theirs = usages
    assert mine.keys() - {"host_cpu_percent"} == theirs.keys() - {"host_cpu_percent"}
    assert mine["host_virtual_memory"].keys() == theirs["host_virtual_memory"].keys()
    for name in mine.keys() & theirs.keys():
        assert type(mine[name]) is type(theirs[name]), name
    assert theirs["kernel_memory"] / 5 < mine["kernel_memory"] < theirs["kernel_memory"] * 5


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
    with started(board, spec=spec.with_name("real"), transport="ipc") as other:
        assert threads(kernel) < threads(other)


def test_jupyters_own_suite_goes_as_well(python: str) -> None:
    results = []
    for name in ("stand-in", "real"):
        with local() as home:  # each with a history of its own
            write_specs(home, python)
            results.append(suite(home, name))
    mine, theirs = results
    assert len(theirs["passed"]) >= 12
    assert mine == theirs
