"""The kernelspecs of rkernel: what Jupyter and VS Code list, each a folder with a kernel.json.

Specs are written for the user alone: VS Code hides the system-wide ones on Windows.
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
from ..errors import BadName, ForeignName, KernelsUnusable, NameTaken, NoSuchKernel
from ..sanitize import escape_controls
from ..target import Target

_LOGOS = ("logo-32x32.png", "logo-64x64.png", "logo-svg.svg")
_SIGNAL_BEFORE = Version("6.2")  # an older ipykernel does not heed an interrupt_request


@dataclass(frozen=True)
class Entry:
    """A kernelspec that is there: its name for Jupyter, its folder, what its kernel.json says."""

    name: str
    folder: Path
    spec: dict[str, Any]

    @property
    def ours(self) -> dict[str, Any] | None:
        """What rkernel noted about the board; None for a spec that rkernel did not write."""
        metadata = self.spec.get("metadata")
        noted = metadata.get("rkernel") if isinstance(metadata, dict) else None
        return noted if isinstance(noted, dict) else None


def find() -> dict[str, Entry]:
    """Return all kernelspecs that Jupyter lists, by name; empty specs for unreadable ones."""
    folders = KernelSpecManager().find_kernel_specs()
    return {name: Entry(name, Path(path), _read(Path(path))) for name, path in folders.items()}


def default_name(target: Target) -> str:
    """Return the name for a board's kernel when the user gives none."""
    return "rkernel-" + re.sub(r"[^a-z0-9._-]", "-", (target.host or target.via).lower())


def default_display_name(name: str, target: Target, facts: Facts | None) -> str:
    """Return a name for menus that no other kernel has: VS Code shows two of a name as one.

    Parameters: name, the kernelspec's; facts of the board, if they are known.
    """
    python = [".".join(facts.python.split(".")[:2])] if facts else []
    places = dict.fromkeys(filter(None, (facts and facts.hostname, target.host)))
    host, *address = places or ["this machine"]
    text = escape_controls(" ".join(["Python", *python, "on", host]))
    text += f" ({address[0]})" if address else ""
    others = {e.spec.get("display_name") for e in find().values() if e.name != name.lower()}
    return f"{text} [{name}]" if text in others else text


def check_name(name: str, replace: bool) -> None:
    """Make sure that a spec may be written under a name.

    Parameters: replace, whether one of ours may be replaced.
    Raises BadName, NameTaken or ForeignName.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name, re.IGNORECASE):
        raise BadName(name=name)
    entry = find().get(name.lower())
    if entry is not None and entry.ours is None:
        raise ForeignName(name=name)
    if entry is not None and not replace:
        raise NameTaken(name=name)


def make(name: str, display_name: str, target: Target, facts: Facts | None) -> dict[str, Any]:
    """Return what kernel.json is to say.

    Parameters: facts of the board, if they are known.
    """
    spec: dict[str, Any] = json.loads(_template("kernel.json"))
    start, rest = spec["argv"][1:3], spec["argv"][3:]
    own = facts.packages if facts and target.ipykernel != "bundled" else {}
    noted = {
        "host": target.host,
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
        "metadata": {"rkernel": {**noted, "added": date.today().isoformat()}},
    }
    if target.debugger:
        spec["metadata"]["debugger"] = True
    return spec


def _is_old(ipykernel: str | None) -> bool:
    """Say whether an ipykernel needs a signal to be interrupted; not if its version is nonsense."""
    try:
        return ipykernel is not None and Version(ipykernel) < _SIGNAL_BEFORE
    except InvalidVersion:
        return False


def write(name: str, spec: dict[str, Any]) -> Path:
    """Write a kernelspec for this user, whole or not at all, in place of one of that name.

    Returns: its folder. Raises KernelsUnusable.
    """
    place = Path(KernelSpecManager().user_kernel_dir) / name.lower()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # beside the kernels and not among them: nobody lists what is half there
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
    """Return how a kernel of ours reaches its board. Raises NoSuchKernel or BadOption."""
    entry = find().get(name.lower())
    argv = entry.spec.get("argv") if entry is not None and entry.ours is not None else None
    if not isinstance(argv, list):
        raise NoSuchKernel(name=name)
    return targets.from_argv([str(word) for word in argv[3:]])


def remove(names: tuple[str, ...]) -> None:
    """Remove kernelspecs of ours: all of them, or none when one is not there.

    Raises NoSuchKernel or KernelsUnusable.
    """
    ours = {name: entry for name, entry in find().items() if entry.ours is not None}
    unknown = [name for name in names if name.lower() not in ours]
    if unknown:
        raise NoSuchKernel(name=", ".join(unknown))
    for name in dict.fromkeys(map(str.lower, names)):
        try:
            KernelSpecManager().remove_kernel_spec(name)
        except OSError as error:
            raise _unusable(ours[name].folder.parent, error) from error


def _template(name: str) -> bytes:
    return resources.files("kernelspecs").joinpath(name).read_bytes()


def _read(folder: Path) -> dict[str, Any]:
    try:
        spec = json.loads((folder / "kernel.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}  # somebody else's; whoever wrote it is told by Jupyter
    return spec if isinstance(spec, dict) else {}


def _unusable(folder: Path, error: OSError) -> KernelsUnusable:
    return KernelsUnusable(path=folder, detail=error.strerror or error)
