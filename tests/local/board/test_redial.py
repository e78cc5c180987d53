"""Dialling an agent again: by a program on the board that hands its stream over to the agent."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from board_agent.link.handshake import NEW
from rkernel_launcher import errors
from rkernel_launcher.board import bootstrap
from rkernel_launcher.board.agent_endpoint import AgentEndpoint, new_session, shake_hands
from rkernel_launcher.transports import process
from rkernel_launcher.transports.stream import Stream
from tests.support.agents import running

LIMIT = 30.0


def endpoint(path: Path, token: bytes = b"") -> AgentEndpoint:
    return AgentEndpoint(None, str(path), "the board", token)


def dialled(agent: AgentEndpoint, python: str = sys.executable) -> Stream:
    return bootstrap.redial(process.start, python, agent, "the board", LIMIT)


def test_an_agent_that_runs_gets_the_stream() -> None:
    with running() as agent:
        found = endpoint(agent.folder / "link", agent.token)
        stream = dialled(found)
        try:
            assert shake_hands(stream, found, new_session(), 0, "the board").status == NEW
        finally:
            stream.close()


def test_where_no_agent_is_that_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.AgentGone):
        dialled(endpoint(tmp_path / "link"))
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(tmp_path / "link"))
    with pytest.raises(errors.AgentGone):
        dialled(endpoint(tmp_path / "link"))


def test_an_agent_that_accepts_nobody_is_another_thing(tmp_path: Path) -> None:
    path = str(tmp_path / "link")
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
        deaf.bind(path)
        deaf.listen(0)
        stack.enter_context(socket.socket(socket.AF_UNIX)).connect(path)  # so it is full
        with pytest.raises(errors.NoHandover, match=r"EAGAIN|ETIMEDOUT"):
            dialled(endpoint(tmp_path / "link"))


def test_a_python_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.NoProgram):
        dialled(endpoint(tmp_path / "link"), "no-such-python")
