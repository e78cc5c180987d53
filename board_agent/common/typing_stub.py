"""A stand-in for `typing`: that takes 250 kB, and the agent never looks at its annotations.

Its named tuples take 2 kB each; those of the library take 6, on Python 3.13 even 16.
"""

import sys
from operator import itemgetter
from types import ModuleType


class AnyType:
    """Every type, of whatever."""

    def __class_getitem__(cls, item: object) -> type:
        return cls


class _NamedTupleMeta(type):
    """Make of a class body with annotations a tuple with names, as `typing.NamedTuple` does."""

    def __new__(mcs, name: str, bases: "tuple[type, ...]", body: "dict[str, object]") -> type:
        if not bases:
            return type.__new__(mcs, name, (tuple,), body)
        fields: tuple[str, ...] = tuple(body.get("__annotations__", ()))  # type: ignore[arg-type]
        defaults = {field: body.pop(field) for field in fields if field in body}
        getters = {field: property(itemgetter(at)) for at, field in enumerate(fields)}
        names = {"__slots__": (), "_fields": fields, "_field_defaults": defaults}
        return type.__new__(mcs, name, bases, {**body, **names, **getters})


class _NamedTuple(metaclass=_NamedTupleMeta):
    """What `typing.NamedTuple` is, as far as the agent uses it."""

    __slots__ = ()

    def __new__(cls, *values, **named):  # type: ignore[no-untyped-def]
        if len(values) != len(cls._fields):  # type: ignore[attr-defined]
            given = dict(cls._field_defaults, **named)  # type: ignore[attr-defined]
            values += tuple([given[field] for field in cls._fields[len(values) :]])  # type: ignore[attr-defined]
        return tuple.__new__(cls, values)  # type: ignore[type-var]


class _Typing(ModuleType):
    TYPE_CHECKING = False
    NamedTuple = _NamedTuple

    def __getattr__(self, name: str) -> type:
        if name.startswith("_"):
            raise AttributeError(name)
        return AnyType


def install() -> None:
    """Give the stand-in to what is imported from now on, unless something has the real one."""
    sys.modules.setdefault("typing", _Typing("typing"))
