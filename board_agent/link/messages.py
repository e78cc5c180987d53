"""The control messages of the link: what each is called, its fields, and their types.

On the wire a message is a JSON object whose `type` says which one it is. docs/protocol.md gives the
meaning and unit of each field. A field that is not known is passed over, one that is missing has
its default.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

DEFAULT_LEASE = 3600.0  # seconds that a kernel waits for its launcher, if that does not say


class BadMessage(ValueError):
    """A message lacks a field, or has one of a wrong type.

    Args:
        type: The type of the message.
        detail: What is wrong with it.
    """

    def __init__(self, type: str, detail: str) -> None:
        super().__init__("%s: %s" % (type, detail))
        self.type = type


# --- from the launcher ----------------------------------------------------------------------------


class Start(NamedTuple):
    """Start a kernel; a session has one, and a second `start` or `attach` is passed over."""

    key: str = ""
    signature_scheme: str = "hmac-sha256"
    python: Optional[str] = None
    bundle: Optional[str] = None
    warm_start: str = "auto"
    workdir: Optional[str] = None
    env: Optional[Dict[str, str]] = None
    debugger: bool = False
    reattach: bool = False
    owner: str = ""
    lease: Optional[float] = DEFAULT_LEASE  # seconds; None means for ever
    peer_timeout: Optional[float] = None  # seconds


class Attach(NamedTuple):
    """Take over a kernel whose launcher is away."""

    kernel: str
    key: str = ""
    signature_scheme: str = "hmac-sha256"
    owner: str = ""
    lease: Optional[float] = DEFAULT_LEASE  # as for Start
    peer_timeout: Optional[float] = None


class Interrupt(NamedTuple):
    """Interrupt what the kernel is doing."""


class End(NamedTuple):
    """End the kernel; the launcher will not come back."""


class ListKernels(NamedTuple):
    """Ask for the kernels of this agent."""


class Stop(NamedTuple):
    """End any kernel of this agent."""

    kernel: str


# --- from the agent -------------------------------------------------------------------------------


class Ready(NamedTuple):
    """The kernel serves its channels; one that was taken over had other keys before."""

    kernel: str
    pid: int
    ipykernel: str
    former_keys: Tuple[str, ...] = ()


class Missing(NamedTuple):
    """The kernel's interpreter lacks a module; `ended` follows."""

    module: str
    detail: str = ""


class Output(NamedTuple):
    """What the kernel's process wrote outside cells."""

    text: str


class Note(NamedTuple):
    """Something for the launcher's log."""

    text: str


class Failed(NamedTuple):
    """No kernel: it could not be started (detail), or not be taken over (reason)."""

    detail: str = ""
    reason: str = ""


class Exited(NamedTuple):
    """The kernel's process has ended; a negative status is the signal, as in subprocess.

    If that is SIGKILL, Linux's log says whether the board had no memory left. Not everybody may
    read it.
    """

    status: int
    output: str = ""
    out_of_memory: Optional[bool] = None


class KernelInfo(NamedTuple):
    """What a person wants to know of one kernel."""

    kernel: str
    pid: int
    owner: str
    age: float  # seconds
    state: str
    memory: Optional[int]  # bytes
    away: Optional[float]  # seconds
    lease: Optional[float]  # seconds; None means for ever


class Kernels(NamedTuple):
    """The kernels of this agent."""

    kernels: List[KernelInfo]


Request = Union[Start, Attach, Interrupt, End, ListKernels, Stop]
Reply = Union[Ready, Missing, Output, Note, Failed, Exited, Kernels]

REQUESTS: Dict[str, Any] = {
    "start": Start,
    "attach": Attach,
    "interrupt": Interrupt,
    "end": End,
    "list": ListKernels,
    "stop": Stop,
}
REPLIES: Dict[str, Any] = {
    "ready": Ready,
    "missing": Missing,
    "output": Output,
    "note": Note,
    "failed": Failed,
    "ended": Exited,
    "kernels": Kernels,
}
_TYPES = {kind: name for kinds in (REQUESTS, REPLIES) for name, kind in kinds.items()}

_PLAIN: Dict[str, Tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
}
_NESTED = {"KernelInfo": KernelInfo}
_MAX_NUMBER = 1 << 53  # what every JSON parser keeps exactly


def to_json(message: Any) -> Dict[str, Any]:
    """Return a message as a JSON object."""
    return {"type": _TYPES[message.__class__], **plain(message)}


def from_json(content: Dict[str, Any], kinds: Dict[str, Any], log: Callable[[str], None]) -> Any:
    """Return the message that a JSON object is; None if its type is not known.

    Args:
        content: The object.
        kinds: REQUESTS or REPLIES.
        log: Called with a sentence on what is passed over.

    Raises:
        BadMessage: A field is missing or wrong.
    """
    name = content.get("type")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        log("a message of a type that is not known was passed over: %.100r" % (name,))
        return None
    unknown = sorted(content.keys() - {"type", *kind._fields})
    if unknown:
        log("fields of %s that are not known were passed over: %.100s" % (name, ", ".join(unknown)))
    return _read_fields(kind, str(name), content)


def plain(value: Any) -> Any:
    """Return a message, or a part of one, as JSON has it: objects for named tuples."""
    if hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _read_fields(kind: Any, message: str, content: Any) -> Any:
    if not isinstance(content, dict):
        raise BadMessage(message, "%.100r is no object" % (content,))
    values = {}
    for name in kind._fields:
        annotation = kind.__annotations__[name]
        if name in content:
            expected = getattr(annotation, "__forward_arg__", annotation)
            try:
                values[name] = _read(expected, message, content[name])
            except TypeError:
                text = "%s is %.100r and not %s" % (name, content[name], expected)
                raise BadMessage(message, text) from None
        elif name not in kind._field_defaults:
            raise BadMessage(message, "%s is missing" % name)
    return kind(**values)


def _read(expected: str, message: str, value: Any) -> Any:
    """Return a value, checked against an annotation.

    Raises:
        TypeError: It does not fit.
        BadMessage: Something nested does not fit.
    """
    if expected.startswith("Optional["):
        return None if value is None else _read(expected[9:-1], message, value)
    if expected.startswith("List["):
        return [_read(expected[5:-1], message, item) for item in _of(list, value)]
    if expected == "Tuple[str, ...]":
        return tuple([_read("str", message, item) for item in _of(list, value)])
    if expected == "Dict[str, str]":
        return {name: _read("str", message, item) for name, item in _of(dict, value).items()}
    if expected in _NESTED:
        return _read_fields(_NESTED[expected], message, value)
    if type(value) not in _PLAIN[expected]:
        raise TypeError
    if expected in ("int", "float"):
        _check_size(value)
    return value


def _check_size(value: float) -> None:
    if not -_MAX_NUMBER <= value <= _MAX_NUMBER:  # nor is what is no number
        raise TypeError


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value
