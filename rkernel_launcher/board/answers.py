"""What our code on a board answers to each call: parsed and checked before anything acts on it.

The board may be hostile. What comes from here has the types that it says, and its text is fit for
a sentence or a terminal. Fields that are not known are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from ..errors import BoardMisbehaved, RkernelError
from ..sanitize import escape_controls

_T = TypeVar("_T")
_MAX_NUMBER = 1 << 53  # what every JSON parser keeps exactly

Port = Annotated[int, range(1, 65536)]
Token = Annotated[str, "([0-9a-f]{2})+"]
KernelId = Annotated[str, "[0-9a-f]{1,32}"]  # shown, compared with what users type, part of names


class Done(NamedTuple):
    """There is nothing to say."""


class Complaint(NamedTuple):
    """What was asked for could not be done.

    `error` says why: the name of an errno, its number, or a word of ours; perhaps with a detail,
    and the path that it is about.
    """

    error: str | int
    detail: str = ""
    path: str = ""

    @property
    def last_line(self) -> str:
        """The line of a traceback, or of whatever was said, that says what is wrong."""
        return self.detail.strip().rpartition("\n")[2] or "it said nothing"


class Installed(NamedTuple):
    """Whether our code of a version is there."""

    installed: bool


class Facts(NamedTuple):
    """What a board and its Python are; see `board_agent.bootstrap.facts`. Memory is in bytes."""

    model: str
    machine: str
    system: str
    os: str
    hostname: str
    python: str
    executable: str
    packages: dict[str, str | None]
    missing: list[str]
    requires: list[tuple[str, str]]
    encoder: str | None
    memory_total: int | None
    memory_available: int | None
    installers: list[str]
    pip: bool


class PythonVersion(NamedTuple):
    """The version of the board's Python, such as 3.8."""

    version: str


class Agent(NamedTuple):
    """How to reach an agent; the token is in hexadecimal digits."""

    port: Port | None
    socket: str
    token: Token


class Agents(NamedTuple):
    """The agents that run on the board."""

    agents: list[Agent]


class Kernel(NamedTuple):
    """A kernel as its agent describes it; see `KernelStatus`. A lease of None is for ever."""

    kernel: KernelId
    pid: int
    owner: str
    state: str
    age: float
    memory: int | None
    away: float | None
    lease: float | None


class AgentWithKernels(NamedTuple):
    """An agent, and its kernels, or None if it does not answer."""

    port: Port | None
    socket: str
    token: Token
    kernels: list[Kernel] | None


class AgentsWithKernels(NamedTuple):
    """The agents that run on the board, each with its kernels."""

    agents: list[AgentWithKernels]


class BundleState(NamedTuple):
    """Whether a bundle is installed; if not, the bytes that have come, and those that are free."""

    installed: bool
    have: int = 0
    free: int = 0


class BundleSize(NamedTuple):
    """How many bytes of a bundle have come."""

    have: int


class BundleProgress(NamedTuple):
    """How many files of a bundle are done, of how many; whether it is over."""

    over: bool = False
    done: int = 0
    all: int = 0


def read(
    call: str, kind: type[_T], said: object, refusal: Callable[[Complaint], RkernelError]
) -> _T:
    """Return what a board answered to a call.

    Parameters: call, its name; kind, one of the classes above; said, decoded JSON; refusal, what
    makes an error of a complaint. Raises that error, or BoardMisbehaved.
    """
    complains = isinstance(said, dict) and "error" in said
    try:
        answer = _read(Complaint if complains else kind, said, "it")
    except _Unfit as error:
        raise _misbehaved(f"an answer to {call} that makes no sense ({error})") from None
    if isinstance(answer, Complaint):
        raise refusal(answer)
    return cast(_T, answer)


def never(complaint: Complaint) -> RkernelError:
    """Return the error for a complaint where our code on the board makes none."""
    return _misbehaved(f"an error where it has none ({complaint.error}: {complaint.detail})")


def _misbehaved(detail: str) -> BoardMisbehaved:
    return BoardMisbehaved(what="our code on the board", detail=escape_controls(detail))


class _Unfit(Exception):
    """A value that is not what it should be."""


def _read(kind: Any, said: Any, where: str) -> Any:
    """Return a value, if it is of a type. Raises _Unfit."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_one_of(parts, said, where)
    if origin is Annotated:
        return _limited(parts[1], _read(parts[0], said, where), where)
    if origin is list:
        items = enumerate(_of(list, said, where))
        return [_read(parts[0], item, f"{where}[{i}]") for i, item in items]
    if origin is tuple:
        if len(_of(list, said, where)) != len(parts):
            raise _Unfit(f"{where} has {len(said)} items")
        numbered = enumerate(zip(parts, said, strict=True))
        return tuple(_read(part, item, f"{where}[{i}]") for i, (part, item) in numbered)
    if origin is dict:
        pairs = _of(dict, said, where).items()
        return {escape_controls(n): _read(parts[1], item, f"{where}.{n}") for n, item in pairs}
    if hasattr(kind, "_fields"):
        return _read_fields(kind, _of(dict, said, where), where)
    return _plain(kind, said, where)


def _read_fields(kind: Any, said: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    for name in kind._fields:
        if name not in said and name not in kind._field_defaults:
            raise _Unfit(f"{where} lacks {name}")
    return kind(**{n: _read(hints[n], said[n], f"{where}.{n}") for n in kind._fields if n in said})


def _read_one_of(kinds: tuple[Any, ...], said: Any, where: str) -> Any:
    if said is None and NoneType in kinds:
        return None
    *others, last = [kind for kind in kinds if kind is not NoneType]
    for kind in others:
        try:
            return _read(kind, said, where)
        except _Unfit:
            continue
    return _read(last, said, where)


def _limited(limit: range | str, value: Any, where: str) -> Any:
    fits = value in limit if isinstance(limit, range) else re.fullmatch(limit, value)
    if not fits:
        raise _Unfit(f"{where} is {_shown(value)}")
    return value


def _plain(kind: Any, said: Any, where: str) -> Any:
    _of(int if kind is float and type(said) is int else kind, said, where)
    if kind in (int, float) and not abs(said) <= _MAX_NUMBER:  # nor is it what is no number
        raise _Unfit(f"{where} is {_shown(said)}")
    return escape_controls(said) if kind is str else kind(said)


def _of(kind: type[_T], said: Any, where: str) -> _T:
    if type(said) is not kind:
        raise _Unfit(f"{where} is {_shown(said)}")
    return said


def _shown(value: object) -> str:
    return f"a {type(value).__name__}" if isinstance(value, (list, dict)) else f"{value!r:.60}"
