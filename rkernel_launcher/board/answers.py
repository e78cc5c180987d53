"""What our code on a board answers to each call: parsed and checked before anything acts on it.

The board may be hostile. The values that come out of this module have the declared types, and their
text is safe in a sentence or on a terminal. Fields that we do not know are ignored.
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
KernelId = Annotated[str, "[0-9a-f]{1,32}"]  # people read it and type it; names contain it


class Done(NamedTuple):
    """The call has worked; the answer has no content."""


class Complaint(NamedTuple):
    """The call has failed.

    Attributes:
        error: Why: the name of an errno, its number, or a word of our own code.
        detail: More about it, for people, such as a traceback; may be empty.
        path: The path that the error is about; may be empty.
        installers: The package managers that the board has, if they matter.
    """

    error: str | int
    detail: str = ""
    path: str = ""
    installers: list[str] = []  # noqa: RUF012 # nobody changes it

    @property
    def last_line(self) -> str:
        """The last line of the detail, which says what is wrong if that is a traceback."""
        return self.detail.strip().rpartition("\n")[2] or "it said nothing"


class Installed(NamedTuple):
    """Whether our code of a version is on the board."""

    installed: bool


class Facts(NamedTuple):
    """What a board and its Python are, as `board_agent.bootstrap.facts` finds out.

    Attributes:
        model: What the board calls itself, for people; may be empty.
        machine: Its architecture, such as "armv7l".
        system: Its kernel, such as "Linux".
        os: Its distribution, for people.
        hostname: Its name.
        python: The version of its Python, such as "3.11.2".
        executable: The path of its Python.
        packages: The version of each package of interest; None for one that is missing.
        missing: The modules that a kernel imports and that are missing or do not work.
        requires: Each requirement of ipykernel that the board has, with the board's version.
        encoder: What encodes pictures, for people; None if nothing does.
        memory_total: In bytes; None if the board does not say.
        memory_available: In bytes; None if the board does not say.
        installers: The package managers that the board has, such as "apt-get".
        pip: Whether its Python has pip.
    """

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


class Place(NamedTuple):
    """How much room a folder of the board has, or the folder that it would be made in.

    Attributes:
        path: The folder.
        trouble: Why nothing can be written there: the name of an errno; empty if it can.
        detail: The same in the board's words.
        free: The bytes that are free on its disk.
        files: How many more files its disk takes; None if it does not count them.
    """

    path: str
    trouble: str
    detail: str
    free: int
    files: int | None


class Camera(NamedTuple):
    """A camera of the board, and whether our account may use it."""

    path: str
    usable: bool


class Condition(NamedTuple):
    """The condition of a board, as `board_agent.bootstrap.condition` finds it.

    Attributes:
        now: What its clock says, in seconds since 1970.
        shell: The shell of the account.
        cache: The folder that keeps our code.
        temporary: The folder /tmp.
        code: The hash of our code as it is there; None if it is not there.
        cameras: Its cameras.
    """

    now: float
    shell: str
    cache: Place
    temporary: Place
    code: str | None
    cameras: list[Camera]


class LoginPython(NamedTuple):
    """The Python that a person gets at a terminal of the board, if it is another one.

    Attributes:
        executable: Its path; empty if it is the same, or if nobody knows.
        version: Such as "3.11.2".
    """

    executable: str = ""
    version: str = ""


class PythonVersion(NamedTuple):
    """The version of the board's Python, such as 3.8."""

    version: str


class Agent(NamedTuple):
    """How to reach an agent.

    Attributes:
        port: The TCP port where it listens; None if it listens at none.
        socket: The path of its Unix socket.
        machine: The board's own name.
        token: Its token, in hexadecimal digits.
    """

    port: Port | None
    socket: str
    machine: str
    token: Token


class Agents(NamedTuple):
    """The agents that run on the board.

    Attributes:
        machine: The board's own name.
        agents: The agents.
    """

    machine: str
    agents: list[Agent]


class Kernel(NamedTuple):
    """A kernel as its agent describes it.

    `KernelStatus` has the same fields. Here a lease of None means that the kernel waits for ever.
    """

    kernel: KernelId
    pid: int
    owner: str
    state: str
    age: float
    memory: int | None
    away: float | None
    lease: float | None


class AgentWithKernels(NamedTuple):
    """An agent and its kernels.

    Attributes:
        port: The TCP port where it listens; None if it listens at none.
        socket: The path of its Unix socket.
        machine: The board's own name.
        token: Its token, in hexadecimal digits.
        kernels: None if the agent does not answer.
        lacks: The groups that a login has now, and the agent and its kernels have not.
    """

    port: Port | None
    socket: str
    machine: str
    token: Token
    kernels: list[Kernel] | None
    lacks: list[str] = []  # noqa: RUF012 # nobody changes it


class AgentsWithKernels(NamedTuple):
    """The agents that run on the board, each with its kernels."""

    agents: list[AgentWithKernels]


class BundleState(NamedTuple):
    """Whether a bundle is installed, and if not, how far it is.

    Attributes:
        installed: Whether it is.
        have: How many bytes of the archive have come.
        free: How many bytes are free on the disk there.
    """

    installed: bool
    have: int = 0
    free: int = 0


class BundleSize(NamedTuple):
    """How many bytes of a bundle's archive have come: `have`."""

    have: int


class BundleProgress(NamedTuple):
    """How far the board is with a bundle.

    Attributes:
        over: Whether it has finished.
        done: How many files it has compiled.
        all: Of how many; 0 if it does not know yet.
    """

    over: bool = False
    done: int = 0
    all: int = 0


def read(
    call: str, kind: type[_T], reply: object, refusal: Callable[[Complaint], RkernelError]
) -> _T:
    """Parse what a board answered to a call.

    Args:
        call: The call's name, for people.
        kind: What the answer should be: one of the classes above.
        reply: The answer, decoded from JSON.
        refusal: Makes an error of a complaint.

    Raises:
        RkernelError: The board complains; `refusal` made this error.
        BoardMisbehaved: The answer is neither of that kind nor a complaint.
    """
    complains = isinstance(reply, dict) and "error" in reply
    try:
        answer = _read(Complaint if complains else kind, reply, "it")
    except _Unfit as error:
        raise _misbehaved(f"an answer to {call} that makes no sense ({error})") from None
    if isinstance(answer, Complaint):
        raise refusal(answer)
    return cast(_T, answer)


def never(complaint: Complaint) -> RkernelError:
    """Return the error for a complaint about a call that cannot fail: a `refusal` for `read`."""
    return _misbehaved(f"an error where it has none ({complaint.error}: {complaint.detail})")


def _misbehaved(detail: str) -> BoardMisbehaved:
    return BoardMisbehaved(what="rkernel's code on the board", detail=escape_controls(detail))


class _Unfit(Exception):
    """A value is not what it should be."""


def _read(kind: Any, value: Any, where: str) -> Any:
    """Return a value if it is of a type, or raise _Unfit."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_one_of(parts, value, where)
    if origin is Annotated:
        return _limited(parts[1], _read(parts[0], value, where), where)
    if origin is list:
        items = enumerate(_of(list, value, where))
        return [_read(parts[0], item, f"{where}[{i}]") for i, item in items]
    if origin is tuple:
        if len(_of(list, value, where)) != len(parts):
            raise _Unfit(f"{where} has {len(value)} items")
        numbered = enumerate(zip(parts, value, strict=True))
        return tuple(_read(part, item, f"{where}[{i}]") for i, (part, item) in numbered)
    if origin is dict:
        pairs = _of(dict, value, where).items()
        return {escape_controls(n): _read(parts[1], item, f"{where}.{n}") for n, item in pairs}
    if hasattr(kind, "_fields"):
        return _read_fields(kind, _of(dict, value, where), where)
    return _plain(kind, value, where)


def _read_fields(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    for name in kind._fields:
        if name not in value and name not in kind._field_defaults:
            raise _Unfit(f"{where} lacks {name}")
    return kind(
        **{n: _read(hints[n], value[n], f"{where}.{n}") for n in kind._fields if n in value}
    )


def _read_one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    *others, last = [kind for kind in kinds if kind is not NoneType]
    for kind in others:
        try:
            return _read(kind, value, where)
        except _Unfit:
            continue
    return _read(last, value, where)


def _limited(limit: range | str, value: Any, where: str) -> Any:
    fits = value in limit if isinstance(limit, range) else re.fullmatch(limit, value)
    if not fits:
        raise _Unfit(f"{where} is {_shown(value)}")
    return value


def _plain(kind: Any, value: Any, where: str) -> Any:
    _of(int if kind is float and type(value) is int else kind, value, where)
    if kind in (int, float) and not abs(value) <= _MAX_NUMBER:  # nor is NaN
        raise _Unfit(f"{where} is {_shown(value)}")
    return escape_controls(value) if kind is str else kind(value)


def _of(kind: type[_T], value: Any, where: str) -> _T:
    if type(value) is not kind:
        raise _Unfit(f"{where} is {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return f"a {type(value).__name__}" if isinstance(value, (list, dict)) else f"{value!r:.60}"
