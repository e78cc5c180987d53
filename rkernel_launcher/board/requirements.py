"""What a kernel needs of a board: whether the board has it, and what it is sent if not."""

from __future__ import annotations

import logging

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ..errors import BadOption, NoIpykernel, NoMemory, OldPackages, UnfitPackages, UnknownBoard
from ..target import Target
from .answers import Facts
from .board import Board
from .bundle import upload, wheels

log = logging.getLogger(__name__)

_MEMORY = {  # of the board's packages, of those sent along: the least that is available when a
    False: (24 << 20, 40),  # session over ssh asks, for a kernel to start in bearable time; and MB
    True: (10 << 20, 20),  # that it takes
}
_SESSION = 10 << 20  # bytes of such a session, which ends; a board's rpyc service stays
_SYSTEMS = {"local": ("Linux", "Darwin")}
_INSTALLS = {  # by package manager; opkg has no package of ipykernel
    "apt-get": "apt-get install python3-ipykernel",
    "dnf": "dnf install python3-ipykernel",
    "apk": "apk add py3-ipykernel",
}
_SYSTEM_PYTHON = ("/usr/bin/", "/bin/")


def choose_ipykernel(found: Facts, target: Target) -> str:
    """Return whose packages a kernel uses: "board" if the board's own will do, or "bundled".

    Parameters: found, what `Board.facts` returned. Raises BadOption, UnknownBoard, NoBundle,
    NoIpykernel or OldPackages, which leave nothing to use.
    """
    _system(found, target)
    if target.ipykernel == "bundled" and target.debugger:
        detail = "the debugger needs the board's own ipykernel and debugpy"
        raise BadOption(option="--ipykernel", value="bundled", detail=detail)
    version = ".".join(found.python.split(".")[:2])
    if target.ipykernel == "bundled":
        wheels.pins(version)
        return "bundled"
    try:
        _packages(found, target)
    except UnfitPackages:
        sendable = found.system == "Linux" and version in wheels.versions()
        if target.ipykernel == "board" or target.debugger or not sendable:
            raise
        return "bundled"
    return "board"


def supply(board: Board) -> str | None:
    """Have a board supplied with what a kernel needs; return the bundle's name.

    It is None for a kernel of the board's own packages. Raises the errors of `choose_ipykernel` and
    of `upload.ensure`.
    """
    wanted = board.target.ipykernel
    if wanted == "auto":
        wanted = choose_ipykernel(board.facts(), board.target)
    return upload.ensure(board, _log) if wanted == "bundled" else None


def _log(what: str, done: int, size: int) -> None:
    if done in (0, size):
        log.info("%s: %d of %d", what, done, size)


def check(found: Facts, target: Target) -> None:
    """Make sure that a kernel can run on a board.

    Parameters: found, what `Board.facts` returned; target, `ipykernel` decided. Raises
    UnknownBoard, NoIpykernel, OldPackages, NoMemory.
    """
    _system(found, target)
    if target.ipykernel != "bundled":
        _packages(found, target)
    least, needed = _MEMORY[target.ipykernel == "bundled"]
    if target.via == "rpyc":
        least += _SESSION
    available = found.memory_available
    if available is not None and available < least:
        raise NoMemory(host=target.name, available=available >> 20, needed=needed)


def _system(found: Facts, target: Target) -> None:
    """Make sure that a board is of a kind that kernels run on. Raises UnknownBoard."""
    if found.system not in _SYSTEMS.get(target.via, ("Linux",)):
        raise UnknownBoard(host=target.name, system=found.system, machine=found.machine)


def _packages(found: Facts, target: Target) -> None:
    """Make sure that a board's own packages will do. Raises NoIpykernel or OldPackages."""
    host = target.name
    if found.missing:
        package = found.missing[0]
        raise NoIpykernel(host=host, package=package, hint=_how_to_install("ipykernel", found))
    if target.debugger and not found.packages.get("debugpy"):
        raise NoIpykernel(host=host, package="debugpy", hint=_how_to_install("debugpy", found))
    for line, version in found.requires:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # whether nonsense is fulfilled, a trial tells
        least = next((s.version for s in wanted.specifier if s.operator == ">="), None)
        if least and not _is_at_least(version, least):
            raise OldPackages(
                ipykernel=found.packages.get("ipykernel"),
                needs=f"{wanted.name} {least} or newer",
                has=version,
                hint=f'Run there: {found.executable} -m pip install "{wanted.name}>={least}"',
            )


def _is_at_least(version: str, least: str) -> bool:
    """Compare, with a release candidate counting as the release, and nonsense as nothing."""
    try:
        return Version(Version(version).base_version) >= Version(least)
    except InvalidVersion:
        return False


def _how_to_install(package: str, found: Facts) -> str:
    """Say how to get a package for that Python on that board."""
    executable = found.executable
    managers = [name for name in found.installers if name in _INSTALLS]
    if package == "ipykernel" and managers and executable.startswith(_SYSTEM_PYTHON):
        return f"Run there, as root: {_INSTALLS[managers[0]]}"
    if found.pip:
        return f"Run there: {executable} -m pip install {package}"
    if "opkg" in found.installers:
        return f"Run there: opkg install python3-pip && {executable} -m pip install {package}"
    return (
        f"It has no pip to install it with; run there: {executable} -m ensurepip "
        f"&& {executable} -m pip install {package}"
    )
