"""Whether a kernel can run on a board: by what the board has, and then by starting one."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from .. import target as targets
from ..board.bundle import wheels
from ..errors import (
    BadOption,
    CheckFailed,
    KernelSilent,
    NoIpykernel,
    NoMemory,
    OldPackages,
    UnknownBoard,
)
from ..sanitize import printable
from ..target import Target

READY_SECONDS = 120.0  # the first import of ipykernel takes 50 s where no .pyc files are
CELL_SECONDS = 30.0
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


def runtime(found: dict[str, Any], target: Target) -> str:
    """Return whose packages a kernel uses: "board" if the board's own will do, or "bundled".

    Parameters: found, what `Board.facts` returned. Raises BadOption, UnknownBoard, NoRuntime,
    NoIpykernel or OldPackages, which leave nothing to use.
    """
    _system(found, target)
    if target.runtime == "bundled" and target.debugger:
        detail = "the debugger needs the board's own ipykernel and debugpy"
        raise BadOption(option="--runtime", value="bundled", detail=detail)
    version = ".".join(str(found["python"]).split(".")[:2])
    if target.runtime == "bundled":
        wheels.pins(version)
        return "bundled"
    try:
        _packages(found, target)
    except (NoIpykernel, OldPackages):
        sendable = found["system"] == "Linux" and version in wheels.versions()
        if target.runtime == "board" or target.debugger or not sendable:
            raise
        return "bundled"
    return "board"


def facts(found: dict[str, Any], target: Target) -> None:
    """Make sure that a kernel can run on a board.

    Parameters: found, what `Board.facts` returned; target, its runtime decided. Raises
    UnknownBoard, NoIpykernel, OldPackages, NoMemory.
    """
    _system(found, target)
    if target.runtime != "bundled":
        _packages(found, target)
    least, needed = _MEMORY[target.runtime == "bundled"]
    if target.via == "rpyc":
        least += _SESSION
    available = found["memory_available"]
    if available is not None and available < least:
        raise NoMemory(host=target.name, available=available >> 20, needed=needed)


def _system(found: dict[str, Any], target: Target) -> None:
    """Make sure that a board is of a kind that kernels run on. Raises UnknownBoard."""
    if found["system"] not in _SYSTEMS.get(target.via, ("Linux",)):
        raise UnknownBoard(host=target.name, system=found["system"], machine=found["machine"])


def _packages(found: dict[str, Any], target: Target) -> None:
    """Make sure that a board's own packages will do. Raises NoIpykernel or OldPackages."""
    host = target.name
    if found["missing"]:
        package = found["missing"][0]
        raise NoIpykernel(host=host, package=package, hint=_how_to_install("ipykernel", found))
    if target.debugger and not found["packages"]["debugpy"]:
        raise NoIpykernel(host=host, package="debugpy", hint=_how_to_install("debugpy", found))
    for package, demand, version in found["requires"]:
        least = re.search(r">=\s*([\d.]+)", demand)
        if least and _number(version) < _number(least[1]):
            raise OldPackages(
                ipykernel=found["packages"]["ipykernel"],
                needs=f"{package} {least[1]} or newer",
                has=version,
                hint=f'Run there: {found["executable"]} -m pip install "{package}>={least[1]}"',
            )


def _number(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with, in a form that compares."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()  # 25 is 25.0.0
    return tuple(numbers)


def _how_to_install(package: str, found: dict[str, Any]) -> str:
    """Say how to get a package for that Python on that board."""
    executable = found["executable"]
    managers = [name for name in found["installers"] if name in _INSTALLS]
    if package == "ipykernel" and managers and executable.startswith(_SYSTEM_PYTHON):
        return f"Run there, as root: {_INSTALLS[managers[0]]}"
    if found["pip"]:
        return f"Run there: {executable} -m pip install {package}"
    if "opkg" in found["installers"]:
        return f"Run there: opkg install python3-pip && {executable} -m pip install {package}"
    return (
        f"It has no pip to install it with; run there: {executable} -m ensurepip "
        f"&& {executable} -m pip install {package}"
    )


@contextmanager
def running(
    target: Target, environment: dict[str, str] | None = None, seconds: float = READY_SECONDS
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Run a kernel as a frontend does; give its manager and a client, once it is ready.

    Parameters: environment of the launcher, ours by default; seconds that it may take to start.
    Raises KernelSilent, or CheckFailed with what the launcher said.
    """
    host = target.name
    argv = [sys.executable, "-m", "rkernel_launcher", *targets.to_argv(target)]
    with tempfile.TemporaryDirectory(prefix="rkernel-") as folder:
        manager = _Manager(connection_file=str(Path(folder, "rkernel-check.json")))
        manager.spec = KernelSpec(argv=[*argv, "-f", "{connection_file}"], language="python")
        said = Path(folder, "stderr")
        client: BlockingKernelClient | None = None
        try:
            with said.open("wb") as stderr:
                more = {} if environment is None else {"env": environment}
                manager.start_kernel(stdout=subprocess.DEVNULL, stderr=stderr, **more)
            client = manager.client()
            client.start_channels()
            try:
                client.wait_for_ready(timeout=seconds)
            except RuntimeError as error:  # for either: that the launcher has ended, and time-out
                if manager.is_alive():
                    raise KernelSilent(host=host, seconds=seconds) from error
                words = printable(said.read_text("utf-8", "replace")).split("\n")
                raise CheckFailed(host=host, said=" ".join(words).strip()) from error
            yield manager, client
        finally:
            if client is not None:
                client.stop_channels()
            if manager.has_kernel:
                manager.shutdown_kernel()
            manager.cleanup_resources()


class _Manager(KernelManager):
    """A manager of a kernel whose spec nobody has written yet."""

    spec: KernelSpec

    @property
    def kernel_spec(self) -> KernelSpec:
        return self.spec


def kernel(target: Target, seconds: float = READY_SECONDS) -> None:
    """Start a kernel on a board, run a cell, and stop it.

    Parameters: seconds that it may take to start. Raises KernelSilent or CheckFailed.
    """
    host = target.name
    printed: list[str] = []

    def note(message: dict[str, Any]) -> None:
        content = message["content"]
        printed.extend(content.get(key, "") for key in ("text", "evalue"))

    with running(target, seconds=seconds) as (_, client):
        try:
            client.execute_interactive("print(6 * 7)", timeout=CELL_SECONDS, output_hook=note)
        except TimeoutError as error:
            raise KernelSilent(host=host, seconds=CELL_SECONDS) from error
    if (text := "".join(printed).strip()) != "42":
        raise CheckFailed(host=host, said=f"print(6 * 7) printed {printable(text)!r}.")
