"""Options: the kinds of values that they have, and the machinery that reads and writes them.

An option is declared once, as a field of a dataclass (see `target.Target`). From there come the
option of `rkernel add`, the argument of the launcher, and what a kernelspec's argv says. On the way
from a person to the launcher a value is text; `read` makes it a value, in both places alike.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from .errors import BadOption

_T = TypeVar("_T")
_D = TypeVar("_D")
_OPTION = "option"  # the key of a field's metadata
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FILLED_IN = re.compile(r"\{[A-Za-z0-9_]+\}")  # by jupyter_client, in each word of an argv


class Duration(NamedTuple):
    """A time as a person gave it, and its seconds, which are infinite for "forever"."""

    seconds: float
    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def read(cls, text: str) -> Duration:
        """Return the time that a text such as 90s, 1.5h, 0 or forever gives. Raises ValueError."""
        if text == "forever":
            return cls(math.inf, text)
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
        if match is None:
            raise ValueError("it is not a time such as 90s, 10m, 1h, 0 or forever")
        return cls(float(match[1]) * _UNITS[match[2]], text)


# --- kinds of values --------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind(Generic[_T]):
    """How a value is read from text, which may raise ValueError with a reason, and written again.

    Attributes: metavar, what a value is called in help; choices, all values there are, if few.
    """

    read: Callable[[str], _T]
    metavar: str
    write: Callable[[_T], str] = str
    choices: tuple[str, ...] = ()


def text(metavar: str) -> Kind[str | None]:
    """Any text; an empty one is as good as none."""
    return Kind(lambda said: said or None, metavar, str)


def matching(pattern: str, reason: str, metavar: str) -> Kind[str | None]:
    """Text that a regular expression matches."""

    def read(said: str) -> str:
        if not re.fullmatch(pattern, said, re.ASCII | re.DOTALL):
            raise ValueError(reason)
        return said

    return Kind(read, metavar, str)


def choice(*choices: str) -> Kind[str]:
    """One of a few words."""

    def read(said: str) -> str:
        if said not in choices:
            raise ValueError(f"it is one of {', '.join(choices)}")
        return said

    return Kind(read, f"[{'|'.join(choices)}]", choices=choices)


def integer(least: int, most: int, reason: str, metavar: str) -> Kind[int]:
    """A whole number between two limits."""

    def read(said: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", said) or not least <= int(said) <= most:
            raise ValueError(reason)
        return int(said)

    return Kind(read, metavar)


def duration(least: float = 0, most: float = math.inf) -> Kind[Duration]:
    """A time; one without an upper limit may be for ever."""

    def read(said: str) -> Duration:
        if most == math.inf:
            return Duration.read(said)
        try:
            found = Duration.read(said)
        except ValueError:
            found = Duration(math.nan, said)
        if not least <= found.seconds <= most:
            raise ValueError(f"it is {least:g} to {most:g} seconds")
        return found

    return Kind(read, "TIME")


def _read_local_path(said: str) -> str | None:
    try:
        return str(Path(said).expanduser().absolute()) if said else None
    except RuntimeError as error:
        raise ValueError("there is no such home folder") from error


def _read_variable(said: str) -> tuple[str, str]:
    if not re.match(r"[A-Za-z_]\w*=", said):
        raise ValueError("it is not NAME=VALUE")
    name, _, value = said.partition("=")
    return name, value


PORT = integer(1, 65535, "ports are 1 to 65535", "PORT")
LOCAL_PATH = Kind(_read_local_path, "FILE", str)
"""A file of this PC; absolute, since a frontend starts the launcher in another folder."""
VARIABLE = Kind(_read_variable, "NAME=VALUE", "=".join)
FLAG: Kind[bool] = Kind(bool, "")
"""An option that has no value: it is there or not."""


# --- declaring --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """An option as it was declared.

    Attributes: name, of the field; kind; default; help; many, whether it can be repeated, which
    makes its value a tuple; in_argv, whether it is written to a kernelspec's argv; add_default,
    what `rkernel add` takes for it when it is not given; variable, that of the environment which
    then gives it to `rkernel add`, and to nobody else.
    """

    name: str
    kind: Kind[Any]
    default: Any
    help: str
    many: bool
    in_argv: bool
    add_default: Any
    variable: str | None

    @property
    def flag(self) -> str:
        """Return how it is written: --link-port."""
        return "--" + self.name.replace("_", "-")

    def read(self, said: Any) -> Any:
        """Return the value of what a parser found: a text, texts, or whether a flag is there.

        Raises BadOption.
        """
        if self.kind is FLAG:
            return said
        return tuple(map(self._read, said)) if self.many else self._read(said)

    def _read(self, said: Any) -> Any:
        if said in ("--", []):  # argparse makes a list of it, up to Python 3.12
            raise BadOption(option=self.flag, value="--", detail="it is no value")
        try:
            value = self.kind.read(said)
            if value is not None and (found := _FILLED_IN.search(self.kind.write(value))):
                raise ValueError(f"Jupyter puts something else in place of {found[0]}")
        except ValueError as error:
            raise BadOption(option=self.flag, value=said, detail=str(error)) from error
        return value

    def words(self, value: Any) -> list[str]:
        """Return what an argv says of a value: one word each, so that no value is taken for
        an option, and none begins with a ~ that jupyter_client would replace.
        """
        if self.kind is FLAG:
            return [self.flag] if value else []
        values = value if self.many else [value]
        return [f"{self.flag}={self.kind.write(one)}" for one in values]


def option(
    kind: Kind[_T],
    default: _D,
    help: str,
    *,
    in_argv: bool = True,
    add_default: object = None,
    variable: str | None = None,
) -> _T | _D:
    """Declare an option as a field of a dataclass; see `Option`."""
    said = {"kind": kind, "help": help, "many": False, "in_argv": in_argv}
    more = {"add_default": add_default, "variable": variable}
    return field(default=default, metadata={_OPTION: {**said, **more}})


def repeated(kind: Kind[_T], help: str) -> tuple[_T, ...]:
    """Declare an option that can be given again and again."""
    said = {"kind": kind, "help": help, "many": True, "in_argv": True}
    more = {"add_default": None, "variable": None}
    return field(default=(), metadata={_OPTION: {**said, **more}})


def declared(owner: type[Any]) -> tuple[Option, ...]:
    """Return the options that are fields of a dataclass."""
    return tuple(Option(f.name, default=f.default, **f.metadata[_OPTION]) for f in fields(owner))


# --- the launcher's arguments -----------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Declare the arguments that `to_argv` writes. What is not given is not in the namespace."""
    for one in options:
        if not one.in_argv:
            continue
        more: dict[str, Any] = {"action": "append" if one.many else "store"}
        more["metavar"] = one.kind.metavar
        if one.kind is FLAG:
            more = {"action": "store_true"}
        parser.add_argument(one.flag, help=one.help, default=argparse.SUPPRESS, **more)


def read(options: Iterable[Option], said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of what a parser found, by the options' names. Raises BadOption."""
    found = {one: said.get(one.name) for one in options}
    return {one.name: one.read(text) for one, text in found.items() if text is not None}


def to_argv(options: Iterable[Option], values: Mapping[str, Any]) -> list[str]:
    """Return the arguments that say what is not a default."""
    written = [o for o in options if o.in_argv and values[o.name] != o.default]
    return [word for one in written for word in one.words(values[one.name])]
