"""Dialling an agent again: no failure ends all attempts, and what is let go of does not stay."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

import pytest

from board_agent.link.handshake import NEW
from rkernel_launcher import errors
from rkernel_launcher.board.agent_endpoint import AgentEndpoint, ResumeReply, new_session
from rkernel_launcher.board.board import Board
from rkernel_launcher.launcher.reconnection import Reconnection
from rkernel_launcher.target import Target
from rkernel_launcher.transports.stream import Stream
from tests.support.agents import LIMIT, running

REFUSED = errors.AgentRefused(host="the board", port=1)


class Script:
    """What plays the board, since a real one cannot be made to fail in a given order.

    `dials` and `looks` say what each attempt and each look for the agent does; the agent that is
    reached in the end is a real one.
    """

    target = Target(host="the board")

    def __init__(
        self,
        dials: list[Callable[[], Stream]],
        looks: list[Callable[[], bool]],
    ) -> None:
        self._dials, self._looks = dials, looks

    def redial(self, agent: AgentEndpoint) -> Stream:
        return self._dials.pop(0)()

    def still_runs(self, agent: AgentEndpoint) -> bool:
        return self._looks.pop(0)()

    @property
    def is_through(self) -> bool:
        return not (self._dials or self._looks)


def fail(error: Exception) -> Callable[[], Any]:
    def attempt() -> Any:
        raise error

    return attempt


def dial(agent: AgentEndpoint) -> Callable[[], Stream]:
    assert agent.port is not None
    where = ("127.0.0.1", agent.port)
    return lambda: Stream(socket.create_connection(where, LIMIT))


@pytest.fixture
def agent() -> Iterator[AgentEndpoint]:
    with running() as made:
        yield AgentEndpoint(made.port, str(made.folder / "link"), "the board", made.token)


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

    def on_back(stream: Stream, answer: ResumeReply) -> None:
        stream.close()
        end("back" if answer.status == NEW else f"a status of {answer.status}")

    board = cast(Board, script)
    attempts = Reconnection(
        board,
        agent,
        new_session(),
        claim,
        on_back,
        lambda error: None,
        lambda error: end(str(error or "gone")),
    )
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
    script = Script([fail(REFUSED), fail(failure), dial(agent)], [fail(failure)])
    with ending(script, agent) as how:
        assert how == "back"


def test_an_agent_that_refuses_and_still_runs_is_tried_again(agent: AgentEndpoint) -> None:
    with ending(Script([fail(REFUSED), dial(agent)], [lambda: True]), agent) as how:
        assert how == "back"


def test_an_agent_that_refuses_and_is_not_there_is_gone(agent: AgentEndpoint) -> None:
    with ending(Script([fail(REFUSED)], [lambda: False]), agent) as how:
        assert how == "gone"


def test_another_machine_in_its_place_is_told(agent: AgentEndpoint) -> None:
    other = errors.OtherMachine(host="job 7", now="node2", before="node1")
    with ending(Script([fail(errors.AgentGone(host="job 7"))], [fail(other)]), agent) as how:
        assert how.startswith("job 7 now leads to the machine node2, but the kernel runs on node1.")


def test_a_handshake_that_breaks_off_says_nothing_of_the_agent(agent: AgentEndpoint) -> None:
    """As on a network that flaps: no look at the board is needed to try again."""

    def hang_up() -> Stream:
        ours, theirs = socket.socketpair()
        theirs.close()
        return Stream(ours)

    with ending(Script([hang_up, dial(agent)], []), agent) as how:
        assert how == "back"
