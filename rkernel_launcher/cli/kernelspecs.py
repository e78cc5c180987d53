"""The kernelspecs of rkernel: what Jupyter and VS Code list, each a folder with a kernel.json.

rkernel writes them for the user alone: VS Code hides the system-wide ones on Windows.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from packaging.version import InvalidVersion, Version

from .. import target as targets
from ..board.answers import Facts
from ..errors import (
    BadName,
    BadOption,
    ForeignName,
    KernelsUnusable,
    NameTaken,
    NoSuchKernel,
    OldKernelspec,
)
from ..sanitize import escape_controls
from ..target import Target

_LOGOS = ("logo-32x32.png", "logo-64x64.png", "logo-svg.svg")
_SIGNAL_BEFORE = Version("6.2")  # an older ipykernel does not answer an interrupt_request


@dataclass(frozen=True)
class Entry:
    """A kernelspec that Jupyter lists.

    Attributes:
        name: Its name for Jupyter, in lower case.
        folder: Its folder.
        spec: What its kernel.json says; empty if that is unreadable.
    """

    name: str
    folder: Path
    spec: dict[str, Any]

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What rkernel wrote down about the board; None for a spec that rkernel did not write."""
        metadata = self.spec.get("metadata")
        own = metadata.get("rkernel") if isinstance(metadata, dict) else None
        return own if isinstance(own, dict) else None


def find() -> dict[str, Entry]:
    """Return all kernelspecs that Jupyter lists, by name."""
    folders = KernelSpecManager().find_kernel_specs()
    return {name: Entry(name, Path(path), _read(Path(path))) for name, path in folders.items()}


def default_name(target: Target) -> str:
    """Return the name for a board's kernel when the user gives none."""
    place = (target.host or target.command or target.via).lower()
    return "rkernel-" + re.sub(r"[^a-z0-9._-]", "-", place).strip("-")


def default_display_name(name: str, target: Target, facts: Facts | None) -> str:
    """Return a name for menus that no other kernel has: VS Code shows two of a name as one.

    Args:
        name: The kernelspec's.
        target: Where the board is.
        facts: What the board is, if that is known.
    """
    python = [".".join(facts.python.split(".")[:2])] if facts else []
    known_as = target.host or target.command
    places = dict.fromkeys(filter(None, (facts and facts.hostname, known_as)))
    host, *address = places or ["this machine"]
    text = escape_controls(" ".join(["Python", *python, "on", host]))
    text += f" ({address[0]})" if address else ""
    others = {e.spec.get("display_name") for e in find().values() if e.name != name.lower()}
    return f"{text} [{name}]" if text in others else text


def check_name(name: str, replace: bool) -> None:
    """Make sure that rkernel may write a spec under a name.

    Args:
        name: The kernelspec's.
        replace: Whether it may take the place of one that rkernel wrote.

    Raises:
        BadName: Jupyter does not accept the name.
        NameTaken: rkernel has written one of that name, and must not replace it.
        ForeignName: A kernelspec of that name exists, and rkernel did not write it.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name, re.IGNORECASE):
        raise BadName(name=name)
    entry = find().get(name.lower())
    if entry is not None and entry.metadata is None:
        raise ForeignName(name=name)
    if entry is not None and not replace:
        raise NameTaken(name=name)


def make(name: str, display_name: str, target: Target, facts: Facts | None) -> dict[str, Any]:
    """Make the content of a kernel.json.

    Args:
        name: The kernelspec's.
        display_name: The kernel's name in menus.
        target: How the launcher reaches the board and runs the kernel.
        facts: What the board is, if that is known.
    """
    spec: dict[str, Any] = json.loads(_template("kernel.json"))
    start, rest = spec["argv"][1:3], spec["argv"][3:]
    own = facts.packages if facts and target.ipykernel != "bundled" else {}
    metadata = {
        "host": target.host or target.command or "",
        "via": target.via,
        "model": facts.model if facts else "",
        "machine": facts.machine if facts else "",
        "python": facts.python if facts else "",
    }
    spec |= {
        "argv": [sys.executable, *start, *targets.to_argv(target), *rest],
        "name": name,
        "display_name": display_name,
        "interrupt_mode": "signal" if _is_old(own.get("ipykernel")) else "message",
        "metadata": {"rkernel": {**metadata, "added": date.today().isoformat()}},
    }
    if target.debugger:
        spec["metadata"]["debugger"] = True
    return spec


def _is_old(ipykernel: str | None) -> bool:
    """Say whether only a signal interrupts an ipykernel; no if its version makes no sense."""
    try:
        return ipykernel is not None and Version(ipykernel) < _SIGNAL_BEFORE
    except InvalidVersion:
        return False


def write(name: str, spec: dict[str, Any]) -> Path:
    """Write a kernelspec for this user, whole or not at all, in place of one of that name.

    Args:
        name: The kernelspec's.
        spec: The content of its kernel.json.

    Returns:
        Its folder.

    Raises:
        KernelsUnusable: The folder of the user's kernelspecs cannot be written.
    """
    place = Path(KernelSpecManager().user_kernel_dir) / name.lower()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # beside the kernels, not among them: Jupyter must not list what is half there
        with tempfile.TemporaryDirectory(prefix=".rkernel-", dir=place.parent.parent) as part:
            new, old = Path(part) / "new", Path(part) / "old"
            new.mkdir()
            (new / "kernel.json").write_text(json.dumps(spec, indent=1) + "\n", "utf-8")
            for logo in _LOGOS:
                (new / logo).write_bytes(_template(logo))
            if place.exists():
                place.rename(old)
            try:
                new.rename(place)
            except OSError:
                with suppress(OSError):
                    old.rename(place)
                raise
    except OSError as error:
        raise _unusable(place.parent, error) from error
    return place


def target_of(name: str) -> Target:
    """Return how a kernel that rkernel added reaches its board.

    Raises:
        NoSuchKernel: rkernel has written no kernelspec of that name.
        BadOption: Its argv has a value that cannot be.
        OldKernelspec: Its argv has words that this version does not know.
    """
    entry = find().get(name.lower())
    argv = entry.spec.get("argv") if entry is not None and entry.metadata is not None else None
    if not isinstance(argv, list):
        raise NoSuchKernel(name=name)
    return targets.from_argv([str(word) for word in argv[3:]])


def all_targets() -> dict[str, Target]:
    """Return how the kernels that rkernel added reach their boards, by their names.

    Kernels with an argv that this version does not understand are left out.
    """
    found = {}
    for entry in find().values():
        if entry.metadata is not None:
            with suppress(BadOption, NoSuchKernel, OldKernelspec):
                found[entry.name] = target_of(entry.name)
    return found


def remove(names: tuple[str, ...]) -> None:
    """Remove kernelspecs that rkernel wrote: all of them, or none when one does not exist.

    Raises:
        NoSuchKernel: rkernel has written no kernelspec of one of the names.
        KernelsUnusable: A kernelspec cannot be removed.
    """
    added = {name: entry for name, entry in find().items() if entry.metadata is not None}
    unknown = [name for name in names if name.lower() not in added]
    if unknown:
        raise NoSuchKernel(name=", ".join(unknown))
    for name in dict.fromkeys(map(str.lower, names)):
        try:
            KernelSpecManager().remove_kernel_spec(name)
        except OSError as error:
            raise _unusable(added[name].folder.parent, error) from error


def _template(name: str) -> bytes:
    return resources.files("kernelspecs").joinpath(name).read_bytes()


def _read(folder: Path) -> dict[str, Any]:
    try:
        spec = json.loads((folder / "kernel.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # another program's; Jupyter reports it
    return spec if isinstance(spec, dict) else {}


def _unusable(folder: Path, error: OSError) -> KernelsUnusable:
    return KernelsUnusable(path=folder, detail=error.strerror or error)
