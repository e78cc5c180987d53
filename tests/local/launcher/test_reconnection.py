"""Dialling an agent again: no failure ends all attempts, and what is let go of does not stay."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from typing import cast

import pytest

from board_agent.link.handshake import NEW
from rkernel_launcher import errors
from rkernel_launcher.board import reach
from rkernel_launcher.board.agent_endpoint import AgentEndpoint, ResumeReply, new_session
from rkernel_launcher.board.board import Board
from rkernel_launcher.launcher.reconnection import Reconnection
from rkernel_launcher.target import Target
from tests.support.agents import LIMIT, running
from tests.support.boards import wait_until
from tests.support.remote import remote

REFUSED = errors.AgentRefused(host="the board", port=1)


class Script:
    """What plays the way to a board, since a real one cannot be made to fail in a given order.

    `dials` and `looks` say what each attempt and each look at the board's agents does; the agent
    that is reached in the end is a real one.
    """

    target = Target(host="the board")

    def __init__(
        self,
        dials: list[Callable[[], socket.socket]],
        looks: list[Callable[[], list[AgentEndpoint]]],
    ) -> None:
        self._dials, self._looks = dials, looks

    def redial(self, port: int) -> socket.socket:
        return self._dials.pop(0)()

    def find_agents(self) -> list[AgentEndpoint]:
        return self._looks.pop(0)()

    @property
    def is_through(self) -> bool:
        return not (self._dials or self._looks)


def fail(error: Exception) -> Callable[[], socket.socket]:
    def attempt() -> socket.socket:
        raise error

    return attempt


def dial(agent: AgentEndpoint) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection(("127.0.0.1", agent.port), LIMIT)


@pytest.fixture
def agent() -> Iterator[AgentEndpoint]:
    with running() as made:
        yield AgentEndpoint(made.port, made.token)


@contextmanager
def ending(script: Script, agent: AgentEndpoint) -> Iterator[str]:
    """Reconnect as a script says, and give how that ends: "back" or "gone"."""
    said: list[str] = []
    ended = threading.Event()

    def claim() -> Future[int | None]:
        future: Future[int | None] = Future()
        future.set_result(0)
        return future

    def end(how: str) -> None:
        said.append(how)
        ended.set()

    def on_back(sock: socket.socket, answer: ResumeReply) -> None:
        sock.close()
        end("back" if answer.status == NEW else f"a status of {answer.status}")

    board = cast(Board, script)
    attempts = Reconnection(board, agent, new_session(), claim, on_back, lambda: end("gone"))
    try:
        assert ended.wait(LIMIT), "the attempts have ended without a word"
        yield said[0]
        assert len(said) == 1 and script.is_through
    finally:
        attempts.stop()


@pytest.mark.parametrize("failure", [EOFError(), KeyError("x"), errors.BoardLost(detail="it is")])
def test_a_look_at_the_board_that_fails_is_not_the_last_attempt(
    agent: AgentEndpoint, failure: Exception
) -> None:
    def look() -> list[AgentEndpoint]:
        raise failure

    script = Script([fail(REFUSED), fail(failure), dial(agent)], [look])
    with ending(script, agent) as how:
        assert how == "back"


def test_an_agent_that_refuses_and_still_runs_is_tried_again(agent: AgentEndpoint) -> None:
    with ending(Script([fail(REFUSED), dial(agent)], [lambda: [agent]]), agent) as how:
        assert how == "back"


def test_an_agent_that_refuses_and_is_not_there_is_gone(agent: AgentEndpoint) -> None:
    other = AgentEndpoint(agent.port, b"another token")
    with ending(Script([fail(REFUSED)], [lambda: [other]]), agent) as how:
        assert how == "gone"


def test_a_handshake_that_breaks_off_says_nothing_of_the_agent(agent: AgentEndpoint) -> None:
    """As on a network that flaps: no look at the board is needed to try again."""

    def hang_up() -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours

    with ending(Script([hang_up, dial(agent)], []), agent) as how:
        assert how == "back"


def test_a_connection_that_nobody_reads_can_be_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written last waits inside SSH then, and would for ever."""
    with remote() as board, socket.create_server(("127.0.0.1", 0)) as deaf:
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        before = set(threading.enumerate())
        with closing(reach.reach(Target(via="ssh", host="pi"))) as reached:
            reached.end_session()
            sock = reached.connect(deaf.getsockname()[1])
            sock.settimeout(0.5)
            with closing(sock), pytest.raises(TimeoutError):
                while True:
                    sock.sendall(bytes(1 << 18))
            wait_until(lambda: set(threading.enumerate()) <= before, "no thread is left", 5.0)
