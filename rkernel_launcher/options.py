"""Options: the kinds of values that they have, and the machinery that reads and writes them.

An option is declared once, as a field of a dataclass (see `target.Target`). From that field come
the option of `rkernel add`, the argument of the launcher, and the words of a kernelspec's argv. A
value is text until `read` turns it into a value, in `rkernel add` and in the launcher alike.
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
    """A time as a person gave it.

    Attributes:
        seconds: Infinite for "forever".
        text: What the person gave.
    """

    seconds: float
    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def read(cls, text: str) -> Duration:
        """Return the time that a text such as 90s, 1.5h, 0 or forever gives.

        Raises:
            ValueError: The text has another form.
        """
        if text == "forever":
            return cls(math.inf, text)
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
        if match is None:
            raise ValueError("it is not a time such as 90s, 10m, 1h, 0 or forever")
        return cls(float(match[1]) * _UNITS[match[2]], text)


# --- kinds of values --------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind(Generic[_T]):
    """How to read a value from text, and how to write it again.

    Attributes:
        read: Returns the value of a text, or raises a ValueError with the reason against it.
        metavar: The word for a value in the help.
        write: Returns the text of a value.
        choices: All values, if there are few.
    """

    read: Callable[[str], _T]
    metavar: str
    write: Callable[[_T], str] = str
    choices: tuple[str, ...] = ()


def text(metavar: str) -> Kind[str | None]:
    """Accept any text, and an empty one as none.

    Args:
        metavar: The word for it in the help.
    """
    return Kind(lambda raw: raw or None, metavar, str)


def matching(pattern: str, reason: str, metavar: str) -> Kind[str | None]:
    """Accept text that a regular expression matches as a whole.

    Args:
        pattern: The regular expression. Its character classes are ASCII's, and its dot also
            matches a line feed.
        reason: What to say to other text.
        metavar: The word for it in the help.
    """

    def read(raw: str) -> str:
        if not re.fullmatch(pattern, raw, re.ASCII | re.DOTALL):
            raise ValueError(reason)
        return raw

    return Kind(read, metavar, str)


def choice(*choices: str) -> Kind[str]:
    """Accept one of a few words."""

    def read(raw: str) -> str:
        if raw not in choices:
            raise ValueError(f"use one of {', '.join(choices)}")
        return raw

    return Kind(read, f"[{'|'.join(choices)}]", choices=choices)


def integer(least: int, most: int, reason: str, metavar: str) -> Kind[int]:
    """Accept a whole number between two limits.

    Args:
        least: The smallest number.
        most: The largest.
        reason: What to say to anything else.
        metavar: The word for it in the help.
    """

    def read(raw: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", raw) or not least <= int(raw) <= most:
            raise ValueError(reason)
        return int(raw)

    return Kind(read, metavar)


def duration(least: float = 0, most: float = math.inf) -> Kind[Duration]:
    """Accept a time.

    Args:
        least: The shortest, in seconds; it counts only if there is a longest.
        most: The longest, in seconds; without one, "forever" is accepted.
    """

    def read(raw: str) -> Duration:
        if most == math.inf:
            return Duration.read(raw)
        try:
            found = Duration.read(raw)
        except ValueError:
            found = Duration(math.nan, raw)
        if not least <= found.seconds <= most:
            raise ValueError(f"use {least:g} to {most:g} seconds")
        return found

    return Kind(read, "TIME")


def _read_local_path(raw: str) -> str | None:
    try:
        return str(Path(raw).expanduser().absolute()) if raw else None
    except RuntimeError as error:
        raise ValueError("this PC has no such home folder") from error


def _read_board_path(raw: str) -> str | None:
    return re.sub(r"^\$(HOME|\{HOME\})(?=/|$)", "~", raw) or None


def _read_variable(raw: str) -> tuple[str, str]:
    if not re.match(r"[A-Za-z_]\w*=", raw):
        raise ValueError("it is not NAME=VALUE")
    name, _, value = raw.partition("=")
    return name, value


PORT = integer(1, 65535, "ports are 1 to 65535", "PORT")
LOCAL_PATH = Kind(_read_local_path, "FILE", str)
"""A file of this PC; absolute, since a frontend starts the launcher in another folder."""
BOARD_PATH = Kind(_read_board_path, "PATH", str)
"""A path on the board. A ~ at its beginning is the home there, and so is $HOME."""
VARIABLE = Kind(_read_variable, "NAME=VALUE", "=".join)
FLAG: Kind[bool] = Kind(bool, "")
"""An option without a value: it is given or not."""


# --- declaring --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """An option as a field declares it.

    Attributes:
        name: The field's.
        kind: How to read and write its value.
        default: Its value when it is not given.
        help: What `--help` says about it.
        many: Whether it can be repeated, which makes its value a tuple.
        in_argv: Whether a kernelspec's argv may contain it.
        add_default: Its value in `rkernel add` when it is not given; None for `default`.
        variable: The variable of the environment that gives `rkernel add` its value, when the
            command line does not.
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
        """Its name on a command line, such as --link-port."""
        return "--" + self.name.replace("_", "-")

    def read(self, raw: Any) -> Any:
        """Return the value of what a parser found.

        Args:
            raw: A text, several texts if `many`, or a flag's bool.

        Raises:
            BadOption: A text is not a value of this option, or Jupyter would replace a part of it.
        """
        if self.kind is FLAG:
            return raw
        return tuple(map(self._read, raw)) if self.many else self._read(raw)

    def _read(self, raw: Any) -> Any:
        if raw in ("--", []):  # argparse makes a list of it, up to Python 3.12
            raise BadOption(option=self.flag, value="--", detail="it is not a value")
        try:
            value = self.kind.read(raw)
            if value is not None and (found := _FILLED_IN.search(self.kind.write(value))):
                raise ValueError(f"Jupyter replaces {found[0]} with something else")
        except ValueError as error:
            raise BadOption(option=self.flag, value=raw, detail=str(error)) from error
        return value

    def words(self, value: Any) -> list[str]:
        """Return the words of an argv that give the option a value.

        Option and value are one word, so that no parser takes the value for an option, and no word
        begins with a ~, which jupyter_client would replace.
        """
        if self.kind is FLAG:
            return [self.flag] if value else []
        values = value if self.many else [value]
        return [f"{self.flag}={self.kind.write(each)}" for each in values]


def option(
    kind: Kind[_T],
    default: _D,
    help: str,
    *,
    in_argv: bool = True,
    add_default: object = None,
    variable: str | None = None,
) -> _T | _D:
    """Declare an option as a field of a dataclass; `Option` explains the arguments."""
    facts = {"kind": kind, "help": help, "in_argv": in_argv, "add_default": add_default}
    return field(
        default=default, metadata={_OPTION: {**facts, "many": False, "variable": variable}}
    )


def repeated(kind: Kind[_T], help: str) -> tuple[_T, ...]:
    """Declare an option that a user can repeat; `Option` explains the arguments."""
    facts = {"kind": kind, "help": help, "in_argv": True, "add_default": None}
    return field(default=(), metadata={_OPTION: {**facts, "many": True, "variable": None}})


def declared(owner: type[Any]) -> tuple[Option, ...]:
    """Return the options that are fields of a dataclass."""
    return tuple(Option(f.name, default=f.default, **f.metadata[_OPTION]) for f in fields(owner))


# --- the launcher's arguments -----------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Tell a parser which arguments `to_argv` writes.

    The parser's namespace contains only the arguments that are given.
    """
    for each in options:
        if not each.in_argv:
            continue
        more: dict[str, Any] = {"action": "append" if each.many else "store"}
        more["metavar"] = each.kind.metavar
        if each.kind is FLAG:
            more = {"action": "store_true"}
        parser.add_argument(each.flag, help=each.help, default=argparse.SUPPRESS, **more)


def read(options: Iterable[Option], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of what a parser found.

    Args:
        options: Those that may be given.
        raw: For each option that is given, by its name, what `Option.read` takes.

    Returns:
        The values of the given options, by their names.

    Raises:
        BadOption: A text is not a value of its option.
    """
    found = {each: raw.get(each.name) for each in options}
    return {each.name: each.read(text) for each, text in found.items() if text is not None}


def to_argv(options: Iterable[Option], values: Mapping[str, Any]) -> list[str]:
    """Return the arguments that give options their values, without those that have the default.

    Args:
        options: Those to write, unless they have no place in an argv.
        values: The value of each, by its name.
    """
    written = [o for o in options if o.in_argv and values[o.name] != o.default]
    return [word for each in written for word in each.words(values[each.name])]
