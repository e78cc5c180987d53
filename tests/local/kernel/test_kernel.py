"""What a notebook does with a kernel, one thing after the other on the same one."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.boards import Board
from tests.support.kernels import Frontend, Message, started

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\xff").decode()
WORDS = "Grüße, 世界 🙂 Привет \u202e\0 \U0010ffff"

COMM = """
from ipykernel.comm import Comm

def on_open(comm, opening):
    @comm.on_msg
    def echo(message):
        buffers = [bytes(part)[::-1] for part in message["buffers"]]
        comm.send({"sizes": [len(part) for part in buffers]}, buffers=buffers)
    comm.send(opening["content"]["data"])

get_ipython().kernel.comm_manager.register_target("echo", on_open)
"""


@pytest.fixture(scope="module")
def kernel(board: Board) -> Iterator[Frontend]:
    with started(board) as frontend:
        yield frontend


def test_kernel_runs_on_the_board(board: Board, kernel: Frontend) -> None:
    assert int(kernel.value("__import__('os').getpid()")) in board.kernels()
    uname = kernel.run("import platform; print(platform.uname())").text()
    assert board.shell("uname -r").strip() in uname
    assert board.shell("uname -m").strip() in uname


def test_output_keeps_its_order_and_its_streams(kernel: Frontend) -> None:
    code = """
import sys
for i in range(3):
    print("out", i)
    print("err", i, file=sys.stderr)
"""
    result = kernel.run(code)
    assert result.text("stdout") == "out 0\nout 1\nout 2\n"
    assert result.text("stderr") == "err 0\nerr 1\nerr 2\n"
    assert result.reply["content"]["status"] == "ok"
    assert result.published[0]["content"]["execution_state"] == "busy"
    assert result.of("execute_input")[0]["code"] == code


def test_output_of_programs_that_a_cell_starts_is_shown(kernel: Frontend) -> None:
    kernel.send("import subprocess\nsubprocess.run(['echo', 'from a child'])")
    kernel.until_printed("from a child\n")  # maybe after the cell: a thread watches for it
    assert kernel.run("!uname -s").text().replace("\r", "") == "Linux\n"


def test_output_comes_while_the_cell_runs(kernel: Frontend) -> None:
    number = kernel.send("print('first', flush=True)\nanswer = input()", allow_stdin=True)
    kernel.until_printed("first")
    kernel.client.get_stdin_msg(timeout=kernel.limit)
    kernel.client.input("go on")
    kernel.finish(number)
    assert kernel.value("answer") == "'go on'"


def test_traceback_names_the_error_and_shows_its_line(kernel: Frontend) -> None:
    result = kernel.run("def divide(n):\n    return 255 / n\n\ndivide(0)")
    content = result.reply["content"]
    assert content["status"] == "error"
    assert (content["ename"], content["evalue"]) == ("ZeroDivisionError", "division by zero")
    (shown,) = result.of("error")
    assert shown["traceback"] == content["traceback"]
    text = "\n".join(shown["traceback"])
    assert "ZeroDivisionError" in text and "divide" in text and "255" in text


def test_an_error_stops_the_cells_that_wait(kernel: Frontend) -> None:
    kernel.run("reached = False")
    cells = ("input()", "1 / 0", "reached = True")
    numbers = [kernel.send(code, allow_stdin=True) for code in cells]
    kernel.client.get_stdin_msg(timeout=kernel.limit)
    kernel.client.input("all of them have been sent")
    replies = [kernel.finish(number).reply["content"]["status"] for number in numbers]
    assert replies == ["ok", "error", "aborted"]
    assert kernel.value("reached") == "False"


def test_rich_results_have_all_their_forms(kernel: Frontend) -> None:
    code = f"""
import base64
class Both:
    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {{"text/plain": "plain", "text/html": "<b>b</b>", "application/json": {{"a": [1]}}}}
        return data, {{"application/json": {{"expanded": True}}}}
    def _repr_png_(self):
        return base64.b64decode("{PIXEL}")
display(Both())
Both()
"""
    result = kernel.run(code)
    (shown,) = result.of("display_data")
    (value,) = result.of("execute_result")
    for content in (shown, value):
        assert content["data"]["text/html"] == "<b>b</b>"
        assert content["data"]["application/json"] == {"a": [1]}
        assert content["metadata"]["application/json"] == {"expanded": True}
    assert value["execution_count"] == result.reply["content"]["execution_count"]


def test_images_come_as_they_were(kernel: Frontend) -> None:
    code = f"import base64\nfrom IPython.display import Image\nImage(base64.b64decode('{PIXEL}'))"
    (value,) = kernel.run(code).of("execute_result")
    assert base64.b64decode(value["data"]["image/png"]) == base64.b64decode(PIXEL)


def test_displays_are_updated_and_cleared(kernel: Frontend) -> None:
    code = """
from IPython.display import clear_output
handle = display("one", display_id=True)
handle.update("two")
clear_output(wait=True)
"""
    result = kernel.run(code)
    (first,), (second,) = result.of("display_data"), result.of("update_display_data")
    assert first["transient"]["display_id"] == second["transient"]["display_id"]
    assert second["data"]["text/plain"] == "'two'"
    assert result.of("clear_output") == [{"wait": True}]


def test_completion(kernel: Frontend) -> None:
    kernel.run("some_long_name = {'größe': 1}")
    number = kernel.client.complete("print(some_lo", cursor_pos=13)
    content = kernel.reply(number)["content"]
    assert "some_long_name" in content["matches"]
    assert (content["cursor_start"], content["cursor_end"]) == (6, 13)


@pytest.mark.parametrize(
    ("code", "status"),
    [("a = 1", "complete"), ("for i in x:", "incomplete"), ("a = = 1", "invalid")],
)
def test_it_tells_whether_a_line_is_complete(kernel: Frontend, code: str, status: str) -> None:
    assert kernel.reply(kernel.client.is_complete(code))["content"]["status"] == status


def test_inspection(kernel: Frontend) -> None:
    kernel.run("def look(here, größe=7):\n    'Say whät this does.'")
    content = kernel.reply(kernel.client.inspect("look", 4))["content"]
    assert content["found"]
    assert "Say whät this does." in content["data"]["text/plain"]
    assert "größe=" in content["data"]["text/plain"]
    assert not kernel.reply(kernel.client.inspect("no_such_name", 4))["content"]["found"]


def test_user_expressions(kernel: Frontend) -> None:
    wanted = {"sum": "n + 1", "broken": "n + nothing", "text": "'ü' * n"}
    reply = kernel.run("n = 3", user_expressions=wanted).reply
    found = reply["content"]["user_expressions"]
    assert found["sum"]["data"]["text/plain"] == "4"
    assert found["text"]["data"]["text/plain"] == "'üüü'"
    assert (found["broken"]["status"], found["broken"]["ename"]) == ("error", "NameError")


def test_input_asks_and_gets_the_answer(kernel: Frontend) -> None:
    asked: list[Message] = []

    def answer(question: Message) -> str:
        asked.append(question["content"])
        return "世界 🙂"

    kernel.run("name = input('Wie heißt du? ')", answer=answer)
    kernel.run("import getpass; secret = getpass.getpass('Passwort: ')", answer=answer)
    assert asked == [
        {"prompt": "Wie heißt du? ", "password": False},
        {"prompt": "Passwort: ", "password": True},
    ]
    assert kernel.value("name, secret") == "('世界 🙂', '世界 🙂')"


def test_input_fails_when_the_frontend_cannot_ask(kernel: Frontend) -> None:
    assert kernel.run("input()").reply["content"]["ename"] == "StdinNotImplementedError"


def test_comms_carry_binary_buffers_both_ways(kernel: Frontend) -> None:
    assert kernel.run(COMM).reply["content"]["status"] == "ok"

    def send(kind: str, data: Any, buffers: list[bytes] | None = None) -> Message:
        more = {"target_name": "echo"} if kind == "comm_open" else {}
        message = kernel.client.session.msg(kind, {"comm_id": "c1", "data": data, **more})
        kernel.client.session.send(kernel.client.shell_channel.socket, message, buffers=buffers)
        number = message["header"]["msg_id"]
        found = kernel.until(
            lambda m: m["msg_type"] == "comm_msg" and m["parent_header"]["msg_id"] == number,
            f"an answer to {kind}",
        )
        return found[-1]

    opened = send("comm_open", {"hällo": WORDS})
    assert opened["content"] == {"comm_id": "c1", "data": {"hällo": WORDS}}
    parts = [b"", b"\0\xff", bytes(range(256)) * 8192]
    echoed = send("comm_msg", {}, parts)
    assert echoed["content"]["data"] == {"sizes": [0, 2, 2 << 20]}
    assert [bytes(part) for part in echoed["buffers"]] == [part[::-1] for part in parts]
    known = kernel.reply(kernel.client.comm_info("echo"))["content"]["comms"]
    assert known == {"c1": {"target_name": "echo"}}
    kernel.run("get_ipython().kernel.comm_manager.comms['c1'].close()")


def test_every_language_goes_everywhere(kernel: Frontend) -> None:
    result = kernel.run(f"größe = {WORDS!r}\nprint(größe)\ngröße")
    assert result.text() == f"{WORDS}\n"
    assert result.of("execute_result")[0]["data"]["text/plain"] == repr(WORDS)
    raised = kernel.run(f"class Ärger(Exception): pass\nraise Ärger({WORDS!r})").reply["content"]
    assert (raised["ename"], raised["evalue"]) == ("Ärger", WORDS)
    shown = kernel.run(f"display({{'text/plain': {WORDS!r}}}, raw=True, metadata={{'ü': 'ß'}})")
    assert shown.of("display_data")[0]["data"] == {"text/plain": WORDS}
    assert shown.of("display_data")[0]["metadata"] == {"ü": "ß"}


def test_half_a_character_does_not_end_the_kernel(kernel: Frontend) -> None:
    kernel.run("print('\\ud83d')")
    assert kernel.run("print('here')").text() == "here\n"


def test_history_is_answered(kernel: Frontend) -> None:
    kernel.run("remembered = 'ü'")
    number = kernel.client.history(hist_access_type="tail", n=1, raw=True, output=False)
    assert kernel.reply(number)["content"]["status"] == "ok"


def test_a_short_cell_is_quick(board: Board, kernel: Frontend) -> None:
    """A round trip has no timer in it: what is slow is the kernel."""
    kernel.run("pass")
    start = time.monotonic()
    for _ in range(20):
        kernel.run("pass")
    assert (time.monotonic() - start) / 20 < 0.1 * board.slowness


def test_the_kernel_starts_in_the_home_folder(board: Board, kernel: Frontend) -> None:
    assert (
        kernel.value("__import__('os').path.samefile('.', __import__('os').path.expanduser('~'))")
        == "True"
    )


def test_options_reach_the_kernel(board: Board) -> None:
    with started(board, "--workdir", "/tmp", "--env", "GRUSS=schön = ja") as kernel:
        assert kernel.value("__import__('os').getcwd()") == "'/tmp'"
        assert kernel.value("__import__('os').environ['GRUSS']") == "'schön = ja'"


def test_subshells_run_beside_a_busy_cell(kernel: Frontend) -> None:
    info = kernel.reply(kernel.client.kernel_info())["content"]
    if "kernel subshells" not in info.get("supported_features", []):
        pytest.skip("the board's ipykernel has no subshells")
    shell = kernel.control("create_subshell_request")["content"]["subshell_id"]
    busy = kernel.send(
        "import threading\ngate = threading.Event()\nprint('waiting')\nassert gate.wait(60)"
    )
    kernel.until_printed("waiting")  # there is a gate
    message = kernel.client.session.msg(
        "execute_request", {"code": "gate.set()\nprint('beside')", "silent": False}
    )
    message["header"]["subshell_id"] = shell
    kernel.client.shell_channel.send(message)
    kernel.until_printed("beside")
    assert kernel.reply(busy)["content"]["status"] == "ok"
    listed = kernel.control("list_subshell_request")["content"]["subshell_id"]
    assert listed == [shell]
    deleted = kernel.control("delete_subshell_request", {"subshell_id": shell})
    assert deleted["content"]["status"] == "ok"


def test_no_debugger_unless_asked_for(kernel: Frontend) -> None:
    info = kernel.reply(kernel.client.kernel_info())["content"]
    assert not info.get("debugger", False)
    assert "debugger" not in info.get("supported_features", [])
    assert kernel.value("'debugpy' in __import__('sys').modules") == "False"


def test_debugger_when_asked_for(board: Board) -> None:
    with started(board, "--debugger") as kernel:
        info = kernel.reply(kernel.client.kernel_info())["content"]
        assert info.get("debugger") or "debugger" in info.get("supported_features", [])

        def ask(number: int, command: str, arguments: dict[str, Any]) -> Message:
            content = {"type": "request", "seq": number, "command": command}
            answer = kernel.control("debug_request", {**content, "arguments": arguments})
            assert answer["content"]["success"], answer["content"]
            return dict(answer["content"].get("body") or {})

        can = ask(1, "initialize", {"clientID": "test", "adapterID": "", "pathFormat": "path"})
        assert can["supportsSetVariable"]
        ask(2, "attach", {})
        code = "stopped = 1\nstopped = 2\n"
        source = ask(3, "dumpCell", {"code": code})["sourcePath"]
        points = {"source": {"path": source}, "breakpoints": [{"line": 2}], "sourceModified": False}
        assert ask(4, "setBreakpoints", points)["breakpoints"][0]["verified"]
        ask(5, "configurationDone", {})
        number = kernel.send(code)
        event = kernel.until(
            lambda m: m["msg_type"] == "debug_event" and m["content"]["event"] == "stopped",
            "the debugger stops at the breakpoint",
        )[-1]
        ask(6, "continue", {"threadId": event["content"]["body"]["threadId"]})
        kernel.finish(number)
        assert kernel.value("stopped") == "2"
        ask(7, "disconnect", {"restart": False, "terminateDebuggee": False})
        assert board.shell(f"test -e {source} && echo there")
    assert not board.shell(f"ls -d {Path(source).parent} 2>/dev/null || true")
