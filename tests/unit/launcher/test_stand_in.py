"""What answers a frontend while there is no kernel."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_client.session import Session

from rkernel_launcher.errors import KernelDied, PortRefused
from rkernel_launcher.launcher.connection_file import Connection
from rkernel_launcher.launcher.stand_in import StandIn

KEY = "a key"
CONNECTION = Connection("tcp", "127.0.0.1", {}, KEY, "hmac-sha256")
REFUSED = PortRefused(host="board\x1b]0;", port=22, service="sshd")
DIED = KernelDied(how="ended with exit status 3", hint="Start it again.", status=3)
RUN = {"code": "1", "silent": False, "store_history": True}


class Frontend:
    """A client, as jupyter_client reads and signs its messages."""

    def __init__(self, key: str = KEY) -> None:
        self.session = Session(key=key.encode())
        self.stand_in = StandIn(CONNECTION, "board")
        self.sent: dict[str, Any] = {}

    def message(self, kind: str, content: dict[str, Any]) -> tuple[str, list[bytes]]:
        message = self.session.msg(kind, content)
        self.sent[message["header"]["msg_id"]] = message
        return message["header"]["msg_id"], self.session.serialize(message)

    def ask(self, kind: str, content: dict[str, Any], client: str = "one") -> str:
        number, frames = self.message(kind, content)
        self.stand_in.receive_message(client, frames)
        return number

    def heard(self) -> list[tuple[str | None, str, str, dict[str, Any]]]:
        """Return what came: who got it, its type, the request that it belongs to, its content."""
        found = []
        for client, frames in self.stand_in.data_to_send():
            _, parts = self.session.feed_identities(frames)
            message = self.session.deserialize(parts)  # which checks the signature
            parent = message["parent_header"]["msg_id"]
            found.append((client, message["msg_type"], parent, message["content"]))
        return found

    def kinds(self) -> list[str]:
        return [content.get("execution_state", kind) for _, kind, _, content in self.heard()]


@pytest.fixture
def frontend() -> Frontend:
    return Frontend()


def test_kernel_info_says_what_goes_on(frontend: Frontend) -> None:
    frontend.stand_in.explain("It comes soon.")
    frontend.ask("kernel_info_request", {})
    busy, (client, kind, _, content), idle = frontend.heard()
    assert (client, kind, content["banner"]) == ("one", "kernel_info_reply", "It comes soon.")
    assert content["status"] == "ok" and content["language_info"]["name"] == "python"
    assert (busy[0], busy[3], idle[3]["execution_state"]) == (
        None,
        {"execution_state": "busy"},
        "idle",
    )


def test_a_cell_after_the_failure_gets_the_sentence(frontend: Frontend) -> None:
    frontend.stand_in.fail(REFUSED)
    number = frontend.ask("execute_request", RUN)
    busy, error, reply, idle = frontend.heard()
    assert {each[2] for each in (busy, error, reply, idle)} == {number}
    assert error[:2] == (None, "error") and reply[:2] == ("one", "execute_reply")
    for content in (error[3], reply[3]):
        assert content["ename"] == "PortRefused"
        assert content["evalue"].startswith(r"board\x1b]0; refused the connection to port 22. ")
        assert content["evalue"] in content["traceback"][0]
    assert reply[3]["status"] == "error"
    assert frontend.stand_in.told == 1


@pytest.mark.parametrize("content", [{"silent": True}, {"silent": False, "store_history": False}])
def test_what_a_frontend_runs_by_itself_is_not_the_user(
    frontend: Frontend, content: dict[str, Any]
) -> None:
    frontend.stand_in.fail(REFUSED)
    frontend.ask("execute_request", {"code": "1", **content})
    published = [] if content["silent"] else ["error"]
    assert frontend.kinds() == ["busy", *published, "execute_reply", "idle"]
    assert frontend.stand_in.told == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("comm_info_request", {"status": "ok", "comms": {}}),
        ("history_request", {"status": "ok", "history": []}),
        ("is_complete_request", {"status": "complete"}),
        ("interrupt_request", {"status": "ok"}),
    ],
)
def test_other_requests_get_a_harmless_answer(
    frontend: Frontend, kind: str, expected: dict[str, Any]
) -> None:
    frontend.stand_in.fail(REFUSED)
    frontend.ask(kind, {})
    [(_, name, _, content)] = [each for each in frontend.heard() if each[0]]
    assert (name, content) == (kind.replace("request", "reply"), expected)


def test_an_unknown_request_gets_the_error(frontend: Frontend) -> None:
    frontend.stand_in.fail(REFUSED)
    frontend.ask("debug_request", {})
    [(_, name, _, content)] = [each for each in frontend.heard() if each[0]]
    assert (name, content["status"], content["ename"]) == ("debug_reply", "error", "PortRefused")


def test_messages_that_nobody_answers(frontend: Frontend) -> None:
    frontend.stand_in.fail(REFUSED)
    frontend.ask("comm_msg", {"comm_id": "1", "data": {}})
    frontend.stand_in.receive_message("one", [b"garbage"])
    _, frames = Frontend("another key").message("execute_request", RUN)
    frontend.stand_in.receive_message("one", frames)
    _, frames = frontend.message("execute_request", RUN)
    frontend.stand_in.receive_message("one", frames[:3])
    assert frontend.heard() == [] and frontend.stand_in.told == 0


@pytest.mark.parametrize("restart", [True, False])
def test_a_request_to_end(frontend: Frontend, restart: bool) -> None:
    frontend.ask("shutdown_request", {"restart": restart})
    [(_, _, _, content)] = [each for each in frontend.heard() if each[0]]
    assert content == {"status": "ok", "restart": restart}
    assert frontend.stand_in.asked_to_end


def test_cells_wait_for_the_kernel(frontend: Frontend) -> None:
    requests = [frontend.message("execute_request", RUN) for _ in range(2)]
    for client, (_, frames) in zip(("one", "two"), requests, strict=True):
        frontend.stand_in.receive_message(client, frames)
    assert frontend.stand_in.has_cell
    assert [each[2] for each in frontend.heard()] == [requests[0][0]]  # only the first is busy
    passed_on = frontend.stand_in.give_way()
    assert passed_on == [("one", requests[0][1]), ("two", requests[1][1])]
    frontend.ask("kernel_info_request", {})
    assert frontend.heard() == []  # it is the kernel's to answer


def test_cells_that_wait_get_the_sentence(frontend: Frontend) -> None:
    first, second = (frontend.ask("execute_request", RUN) for _ in range(2))
    frontend.heard()
    frontend.stand_in.fail(REFUSED)
    replies = {each[2]: each[3]["status"] for each in frontend.heard() if each[0]}
    assert replies == {first: "error", second: "aborted"}
    assert frontend.stand_in.told == 1


def test_an_interrupt_ends_cells_that_wait(frontend: Frontend) -> None:
    number = frontend.ask("execute_request", RUN)
    frontend.heard()
    frontend.ask("interrupt_request", {})
    replies = {each[2]: each[3] for each in frontend.heard() if each[0]}
    assert replies[number]["ename"] == "KeyboardInterrupt"
    assert not frontend.stand_in.has_cell and frontend.stand_in.give_way() == []


def test_what_the_kernel_has_not_answered_when_it_dies(frontend: Frontend) -> None:
    frontend.stand_in.give_way()
    done, died, later = (frontend.ask("execute_request", RUN) for _ in range(3))
    asked = frontend.ask("complete_request", {}, client="two")
    kernel = Session(key=KEY.encode())
    reply = kernel.msg("execute_reply", {"status": "ok"}, parent=frontend.sent[done])
    question = kernel.msg("input_request", {}, parent=frontend.sent[died])
    for message in (reply, question):
        frontend.stand_in.receive_reply("one", kernel.serialize(message))
    assert frontend.heard() == []
    frontend.stand_in.fail(DIED)
    replies = {each[2]: (each[0], each[3]["status"]) for each in frontend.heard() if each[0]}
    assert replies == {
        died: ("one", "error"),
        later: ("one", "aborted"),
        asked: ("two", "ok"),
    }


def test_a_client_that_has_gone_gets_nothing(frontend: Frontend) -> None:
    frontend.ask("execute_request", RUN)
    frontend.stand_in.remove_client("one")
    frontend.heard()
    frontend.stand_in.fail(REFUSED)
    assert frontend.heard() == [] and frontend.stand_in.told == 0
