"""What a kernel needs on a board: whether the board has it, and what we send if not."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ..errors import BadOption, NoIpykernel, NoMemory, OldPackages, UnfitPackages, UnknownBoard
from ..target import Target
from .answers import Facts
from .board import Board
from .bundle import upload, wheels
from .package_managers import how_to_install

# By whether we send the packages: the bytes that must be available while a session over ssh asks,
# so that a kernel starts in bearable time; and the MB that a kernel takes.
_MEMORY = {
    False: (24 << 20, 40),
    True: (10 << 20, 20),
}
_SESSION = 10 << 20  # bytes of such a session, which ends; a board's rpyc service stays
_SYSTEMS = {"local": ("Linux", "Darwin")}


def choose_ipykernel(found: Facts, target: Target) -> str:
    """Decide which packages a kernel uses.

    Args:
        found: What `Board.facts` returned.
        target: Its `ipykernel` says what the user wants.

    Returns:
        "board" for the board's own packages, or "bundled" for those that we send.

    Raises:
        BadOption: The user wants both our packages and the debugger.
        UnknownBoard: Kernels do not run on a board of this kind.
        NoBundle: The user wants our packages, and we have none for the board's Python.
        NoIpykernel: The board lacks a package, and we cannot send it or must not.
        OldPackages: A package of the board is too old, and we cannot send another or must not.
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


def supply(board: Board, progress: upload.Progress) -> str | None:
    """Send a board the bundle if its kernel needs one.

    Args:
        board: The board, with our code there.
        progress: Called whenever there is progress.

    Returns:
        The bundle's name; None for a kernel that uses the board's own packages.

    Raises:
        RkernelError: As `choose_ipykernel`, `Board.facts` and `upload.ensure`.
    """
    wanted = board.target.ipykernel
    if wanted == "auto":
        wanted = choose_ipykernel(board.facts(), board.target)
    return upload.ensure(board, progress) if wanted == "bundled" else None


def check(found: Facts, target: Target) -> None:
    """Make sure that a kernel can run on a board.

    Args:
        found: What `Board.facts` returned.
        target: Its `ipykernel` is what `choose_ipykernel` returned.

    Raises:
        UnknownBoard: Kernels do not run on a board of this kind.
        NoIpykernel: The board lacks a package.
        OldPackages: A package of the board is too old.
        NoMemory: The board has too little memory.
    """
    _system(found, target)
    if target.ipykernel != "bundled":
        _packages(found, target)
    check_memory(found, target)


def check_memory(found: Facts, target: Target) -> None:
    """Make sure that a board has memory for a kernel.

    Args:
        found: What `Board.facts` returned.
        target: Its `ipykernel` is what `choose_ipykernel` returned.

    Raises:
        NoMemory: It has too little.
    """
    least, needed = _MEMORY[target.ipykernel == "bundled"]
    if target.via == "rpyc":
        least += _SESSION
    available = found.memory_available
    if available is not None and available < least:
        raise NoMemory(host=target.name, available=available >> 20, needed=needed)


def _system(found: Facts, target: Target) -> None:
    """Make sure that kernels run on a board of this kind, or raise UnknownBoard."""
    if found.system not in _SYSTEMS.get(target.via, ("Linux",)):
        raise UnknownBoard(host=target.name, system=found.system, machine=found.machine)


def _packages(found: Facts, target: Target) -> None:
    """Make sure that a board's own packages suffice, or raise NoIpykernel or OldPackages."""
    host = target.name
    if found.missing:
        package = found.missing[0]
        raise NoIpykernel(host=host, package=package, hint=how_to_install("ipykernel", found))
    if target.debugger and not found.packages.get("debugpy"):
        raise NoIpykernel(host=host, package="debugpy", hint=how_to_install("debugpy", found))
    for line, version in found.requires:
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            continue  # it makes no sense: a trial shows whether the board fulfils it
        least = next((s.version for s in wanted.specifier if s.operator == ">="), None)
        if least and not _is_at_least(version, least):
            raise OldPackages(
                ipykernel=found.packages.get("ipykernel"),
                needs=f"{wanted.name} {least} or newer",
                has=version,
                hint=f'Run there: {found.executable} -m pip install "{wanted.name}>={least}"',
            )


def _is_at_least(version: str, least: str) -> bool:
    """Compare versions; a release candidate counts as the release, a senseless one as too old."""
    try:
        return Version(Version(version).base_version) >= Version(least)
    except InvalidVersion:
        return False
