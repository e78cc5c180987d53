"""The control messages: what one end sends the other one reads, and nothing else."""

from __future__ import annotations

import json
import re
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_agent.link import messages
from board_agent.link.messages import REPLIES, REQUESTS, BadMessage, KernelInfo, from_json, to_json
from tests.support.boards import ROOT

MESSAGES = [*REQUESTS.values(), *REPLIES.values()]
NUMBERS = st.integers(-(1 << 53), 1 << 53)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "str": st.text(),
    "bool": st.booleans(),
    "int": NUMBERS,
    "float": NUMBERS | st.floats(-(2.0**53), 2.0**53),
    "Tuple[str, ...]": st.lists(st.text()).map(tuple),
    "Dict[str, str]": st.dictionaries(st.text(), st.text()),
}
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def annotations(kind: Any) -> dict[str, str]:
    """Return the annotation of each field as it is written."""
    return {name: getattr(a, "__forward_arg__", a) for name, a in kind.__annotations__.items()}


def values(annotation: str) -> st.SearchStrategy[Any]:
    if annotation.startswith("Optional["):
        return st.none() | values(annotation[9:-1])
    if annotation == "List[KernelInfo]":
        return st.lists(instances(KernelInfo), max_size=3)
    return VALUES[annotation]


def instances(kind: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{n: values(a) for n, a in annotations(kind).items()})


def ignored(text: str) -> None:
    pytest.fail(text)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_what_is_sent_is_read(kind: Any, data: st.DataObject) -> None:
    message = data.draw(instances(kind))
    kinds = REQUESTS if kind in REQUESTS.values() else REPLIES
    assert from_json(json.loads(json.dumps(to_json(message))), kinds, ignored) == message


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_whatever_is_read_has_the_types_that_it_says(kind: Any, data: st.DataObject) -> None:
    content = to_json(data.draw(instances(kind)))
    for name in data.draw(st.sets(st.sampled_from([*kind._fields, "type", "another"]))):
        content[name] = data.draw(JSON)
    kinds = REQUESTS if kind in REQUESTS.values() else REPLIES
    try:
        message = from_json(json.loads(json.dumps(content)), kinds, lambda text: None)
    except BadMessage as error:
        assert error.type == content["type"] and str(error).startswith(f"{content['type']}: ")
        return
    if message is not None:
        assert fits(type(message), message)


def fits(kind: Any, value: Any) -> bool:
    hints = typing.get_type_hints(kind, vars(messages))
    return all(_fits(hint, getattr(value, name)) for name, hint in hints.items())


def _fits(hint: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union:
        return any(_fits(one, value) for one in arguments)
    if origin in (list, tuple):
        return isinstance(value, origin) and all(_fits(arguments[0], item) for item in value)
    if origin is dict:
        pairs = value.items() if isinstance(value, dict) else [(None, None)]
        return all(isinstance(text, str) for pair in pairs for text in pair)
    if hint is KernelInfo:
        return isinstance(value, KernelInfo) and fits(KernelInfo, value)
    if hint is float:
        return type(value) in (int, float) and abs(value) <= 1 << 53
    return type(value) is hint


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"type": "start", "key": 5}, "start: key is 5 and not str"),
        ({"type": "start", "debugger": 1}, "start: debugger is 1 and not bool"),
        ({"type": "start", "lease": True}, "start: lease is True and not Optional[float]"),
        ({"type": "start", "lease": float("nan")}, "start: lease is nan and not Optional[float]"),
        ({"type": "start", "lease": 10**400}, "and not Optional[float]"),
        ({"type": "start", "env": {"A": 5}}, "start: env is {'A': 5} and not"),
        ({"type": "attach"}, "attach: kernel is missing"),
        ({"type": "stop", "kernel": None}, "stop: kernel is None and not str"),
    ],
)
def test_what_is_wrong_is_said(content: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadMessage, match=re.escape(complaint)):
        from_json(content, REQUESTS, ignored)


@pytest.mark.parametrize(
    ("content", "logged"),
    [
        ({"type": "of tomorrow"}, "'of tomorrow'"),
        ({"type": ["start"]}, "['start']"),
        ({}, "None"),
        ({"type": "ready"}, "'ready'"),  # which the other end says
    ],
)
def test_what_is_not_known_is_passed_over_and_logged(content: dict[str, Any], logged: str) -> None:
    said: list[str] = []
    assert from_json(content, REQUESTS, said.append) is None
    assert len(said) == 1 and logged in said[0]


def test_a_field_that_is_not_known_is_passed_over_and_logged() -> None:
    said: list[str] = []
    content = {"type": "stop", "kernel": "a", "softly": True}
    assert from_json(content, REQUESTS, said.append) == messages.Stop("a")
    assert said == ["fields of stop that are not known were passed over: softly"]


# --- docs/protocol.md ----------------------------------------------------------------------------

WORDS = {
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "Tuple[str, ...]": "list of texts",
    "Dict[str, str]": "object of texts",
    "List[KernelInfo]": "list of kernels",
}
DEFAULTS = {"": "empty", (): "empty", None: "null", False: "false", 3600.0: "3600"}


def in_words(annotation: str) -> str:
    if annotation.startswith("Optional["):
        return f"{WORDS[annotation[9:-1]]} or null"
    return WORDS[annotation]


def test_the_page_names_each_field_of_each_message() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    rows = re.findall(
        r"^\| (`\w+`|a kernel)? ?\| (?:`(\w+)`)? ?\| ([^|]*?) ?\| ([^|]*?) ?\| [^|]*\|$", text, re.M
    )
    told, name = set(), ""
    for kind, field, words, default in rows:
        name = kind.strip("`") or name
        told.add((name, field, words, default.strip("`")) if field else (name,))
    kinds = {**REQUESTS, **REPLIES, "a kernel": KernelInfo}
    expected: set[tuple[str, ...]] = {(name,) for name in kinds if name != "a kernel"}
    for name, kind in kinds.items():
        for field, annotation in annotations(kind).items():
            default = kind._field_defaults.get(field, ...)
            said = "" if default is ... else DEFAULTS.get(default, str(default))
            expected.add((name, field, in_words(annotation), said))
    assert told == expected
