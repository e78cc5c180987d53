"""A stand-in for `typing`: that takes 250 kB, and the agent never looks at its annotations."""

import sys
from collections import namedtuple
from types import ModuleType


class AnyType:
    """Every type, of whatever."""

    def __class_getitem__(cls, item: object) -> type:
        return cls


class _Typing(ModuleType):
    TYPE_CHECKING = False

    @staticmethod
    def NamedTuple(name: str, fields: "list[tuple[str, object]]") -> type:  # noqa: N802
        return namedtuple(name, [field for field, _ in fields])

    def __getattr__(self, name: str) -> type:
        if name.startswith("_"):
            raise AttributeError(name)
        return AnyType


def install() -> None:
    """Have what is imported from now on get the stand-in, unless something has the real one."""
    sys.modules.setdefault("typing", _Typing("typing"))
