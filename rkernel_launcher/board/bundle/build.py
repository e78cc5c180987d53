"""What a kernel needs beside Python, made for boards that have nothing but Python.

A bundle is one archive. It contains unmodified wheels, without what no kernel on a board imports:

    precompiled   the modules that the board compiles, one a line, as paths
    sources.zip   the sources of all modules: for the others, for tracebacks, for ??
    …             files that are not modules, where their packages expect them

Its name depends only on the pins and the rules in trim.ini, so that we know it without making it.
"""

from __future__ import annotations

import configparser
import fnmatch
import functools
import hashlib
import io
import zipfile
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

from ..agent_archive import EPOCH
from . import wheels

_UNTIL_3_10 = ("3.8", "3.9", "3.10")
_CODE_UNTIL_3_10 = 0.38  # bytes of compiled and compressed code for one of its source, at most
_CODE = 0.6  # the same for newer ones
_LAYOUT = 2  # the version of the layout above; another layout gets another name

_STUBS = "jedi/third_party/typeshed/"


@dataclass(frozen=True)
class Archive:
    """A bundle.

    Attributes:
        name: Its name, as `name` gives it.
        content: The zip archive.
        unpacked: How many bytes it takes on the board's flash at most.
    """

    name: str
    content: bytes
    unpacked: int


def name(version: str) -> str:
    """Return the name of the bundle for a version of Python.

    Args:
        version: Such as "3.11".

    Raises:
        NoBundle: There are no pins for that version.
    """
    digest = hashlib.sha256(repr((wheels.pins(version), _LAYOUT, _rules(version))).encode())
    return f"bundle-{version}-{digest.hexdigest()[:12]}"


@functools.cache
def build(version: str) -> Archive:
    """Make the bundle for a version of Python.

    Args:
        version: Such as "3.11".

    Raises:
        NoBundle: There are no pins for that version.
        NoWheels: pip could not fetch a wheel.
        PcCacheUnusable: We cannot read or write the cache of wheels.
    """
    rules = _rules(version)
    modules: dict[str, bytes] = {}
    others: dict[str, bytes] = {}
    for wheel in wheels.get(version):
        with zipfile.ZipFile(io.BytesIO(wheel)) as files:
            for path in files.namelist():
                if not path.endswith("/") and not _is_excluded(path, rules):
                    kind = modules if path.endswith(".py") else others
                    kind[path] = files.read(path)
    precompiled = [path for path in sorted(modules) if _is_precompiled(path, rules)]
    content = _zipped(
        {
            **others,
            "precompiled": "\n".join(precompiled).encode(),
            "sources.zip": (sources := _zipped(modules)),
        }
    )
    share = _CODE_UNTIL_3_10 if version in _UNTIL_3_10 else _CODE
    compiled = int(share * sum(len(modules[path]) for path in precompiled))
    unpacked = len(sources) + sum(map(len, others.values())) + compiled
    return Archive(name(version), content, unpacked)


class _Rules(NamedTuple):
    """Patterns of paths in wheels; `lexers` are the names of Pygments' modules to keep."""

    excluded: list[str]
    lexers: list[str]
    precompiled: list[str]
    from_source: list[str]


@functools.cache
def _rules(version: str) -> _Rules:
    parser = configparser.ConfigParser()
    parser.read_string(resources.files(__package__).joinpath("trim.ini").read_text("utf-8"))
    paths = {name: parser[name]["paths"].split() for name in parser.sections()}
    precompiled, from_source = paths["precompiled"], paths["from_source"]
    if version in _UNTIL_3_10:
        precompiled += paths["precompiled_until_3.10"]
    else:
        from_source += paths["from_source_since_3.11"]
    return _Rules(paths["excluded"], paths["lexers"], precompiled, from_source)


def _is_excluded(path: str, rules: _Rules) -> bool:
    if path.startswith("pygments/lexers/"):
        return path.removeprefix("pygments/lexers/").removesuffix(".py") not in rules.lexers
    if path.endswith(".pyi") and not path.startswith(_STUBS):
        return True
    return _matches(path, rules.excluded)


def _is_precompiled(path: str, rules: _Rules) -> bool:
    if "/" not in path:
        return True  # the board's finder looks for sources in packages only
    return _matches(path, rules.precompiled) or not _matches(path, rules.from_source)


def _matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for path in sorted(files):
            target.writestr(zipfile.ZipInfo(path, EPOCH), files[path], _kind(path))
    return buffer.getvalue()


def _kind(path: str) -> int:
    return zipfile.ZIP_STORED if path.endswith(".zip") else zipfile.ZIP_DEFLATED
