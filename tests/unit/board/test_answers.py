"""What a board answers is of the types that it should be, or it misbehaves: nothing in between."""

from __future__ import annotations

import inspect
import json
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_agent.bootstrap import condition, facts
from rkernel_launcher.board import answers
from rkernel_launcher.board.answers import (
    Agent,
    AgentsWithKernels,
    BundleState,
    Complaint,
    Done,
    Facts,
    Kernel,
)
from rkernel_launcher.errors import BoardMisbehaved, KernelsStay, RkernelError

KINDS = [
    kind
    for _, kind in inspect.getmembers(answers, inspect.isclass)
    if hasattr(kind, "_fields") and kind is not Complaint
]
KERNEL = {
    "kernel": "c0ffee",
    "pid": 7,
    "owner": "ann@pc",
    "state": "idle",
    "age": 1.5,
    "memory": 1 << 20,
    "away": None,
    "lease": 3600.0,
}
AGENT = {
    "pid": 6,
    "port": 40000,
    "socket": "/run/user/1/link",
    "machine": "board",
    "token": "00ff" * 16,
}
CONDITION = json.loads(condition.look_at_board("0123456789ab"))  # this machine's, in the same way
WHOLE: dict[type[Any], Any] = {
    Done: {},
    answers.Installed: {"installed": True},
    Facts: json.loads(json.dumps(facts.collect())),  # this machine's, from the board's own code
    answers.Condition: CONDITION,
    answers.Place: CONDITION["cache"],
    answers.Camera: {"path": "/dev/video0", "usable": False},
    answers.LoginPython: {"executable": "/home/pi/venv/bin/python3", "version": "3.12.1"},
    answers.PythonVersion: {"version": "3.11"},
    Agent: AGENT,
    answers.Agents: {"machine": "board", "agents": [AGENT, AGENT]},
    Kernel: KERNEL,
    answers.AgentWithKernels: {**AGENT, "kernels": [KERNEL]},
    AgentsWithKernels: {"agents": [{**AGENT, "kernels": [KERNEL]}, {**AGENT, "kernels": None}]},
    BundleState: {"installed": False, "have": 5, "free": -5},
    answers.BundleSize: {"have": 5},
    answers.BundleProgress: {"done": 1, "all": 2},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)

_T = TypeVar("_T")


def read(kind: type[_T], said: object) -> _T:
    return answers.read("do_it", kind, said, lambda said: KernelsStay(host="pi", detail=said.error))


def test_every_kind_of_answer_is_tried() -> None:
    assert set(KINDS) == set(WHOLE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_answer_is_read(kind: type[NamedTuple]) -> None:
    answer = read(kind, WHOLE[kind])
    assert type(answer) is kind
    assert json.loads(json.dumps(answer)) is not None  # no object of ours but tuples


def test_what_an_answer_says_is_kept() -> None:
    found = read(AgentsWithKernels, WHOLE[AgentsWithKernels])
    (first,) = found.agents[0].kernels or []
    assert (found.agents[0].port, first, found.agents[1].kernels) == (40000, Kernel(**KERNEL), None)
    assert read(BundleState, {"installed": True}) == BundleState(True, 0, 0)
    machine = WHOLE[Facts]
    assert read(Facts, machine).packages == machine["packages"]
    assert read(Facts, machine).requires == [tuple(pair) for pair in machine["requires"]]


def test_what_is_not_known_is_passed_over() -> None:
    assert read(Kernel, {**KERNEL, "mood": ["good"]}) == Kernel(**KERNEL)


def test_text_cannot_steer_a_terminal() -> None:
    said = {**KERNEL, "owner": "\x1b]0;owned\x07\u202e"}
    assert read(Kernel, said).owner == r"\x1b]0;owned\x07\u202e"
    named = {**WHOLE[Facts], "packages": {"\x1b": "\x1b"}}
    assert read(Facts, named).packages == {r"\x1b": r"\x1b"}


@pytest.mark.parametrize("kind", KINDS)
@given(said=JSON)
def test_anything_else_is_misbehaviour(kind: type[NamedTuple], said: object) -> None:
    try:
        assert type(read(kind, said)) is kind
    except RkernelError as error:
        assert isinstance(error, BoardMisbehaved | KernelsStay)
        assert str(error).isprintable()


@given(st.sampled_from(sorted(KERNEL)), JSON)
def test_a_field_of_another_kind_is_misbehaviour(name: str, value: object) -> None:
    try:
        found = getattr(read(Kernel, {**KERNEL, name: value}), name)
    except BoardMisbehaved as error:
        assert f"it.{name}" in str(error)
    else:
        assert found == value or isinstance(value, str)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel": "/../../victim/settings"}, "it.kernel is '/../../victim/settings'"),
        ({"kernel": "zz"}, "it.kernel is 'zz'"),
        ({"kernel": ""}, "it.kernel is ''"),
        ({"kernel": "a" * 33}, "it.kernel is 'aaa"),
        ({"kernel": 1}, "it.kernel is 1"),
        ({"kernel": None}, "it.kernel is None"),
        ({"pid": True}, "it.pid is True"),
        ({"pid": 1.0}, "it.pid is 1.0"),
        ({"pid": 1 << 60}, "it.pid is 1152921504606846976"),
        ({"age": float("inf")}, "it.age is inf"),
        ({"age": float("nan")}, "it.age is nan"),
        ({"away": []}, "it.away is a list"),
        ({"owner": {}}, "it.owner is a dict"),
    ],
)
def test_kernels_that_make_no_sense(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BoardMisbehaved) as caught:
        read(Kernel, {**KERNEL, **change})
    said = "The program that answers is not rkernel's code on the board: "
    said += "it sent an answer to do_it that makes no sense"
    assert str(caught.value).startswith(f"{said} ({words}")


@pytest.mark.parametrize(
    "change",
    [{"port": 0}, {"port": 65536}, {"port": "1"}, {"token": "x"}, {"token": "abc"}, {"token": ""}],
)
def test_agents_that_make_no_sense(change: dict[str, Any]) -> None:
    with pytest.raises(BoardMisbehaved):
        read(Agent, {**AGENT, **change})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(BoardMisbehaved, match="it lacks port"):
        read(Agent, {"token": "00"})


def test_a_complaint_is_what_the_call_makes_of_it() -> None:
    with pytest.raises(KernelsStay, match="they do not end"):
        read(Done, {"error": "they do not end"})
    with pytest.raises(BoardMisbehaved, match=r"it\.error is a list"):
        read(Done, {"error": []})
    with pytest.raises(BoardMisbehaved, match="an error where it has none \\(EIO: broken\\)"):
        answers.read("load", Done, {"error": "EIO", "detail": "broken"}, answers.never)
