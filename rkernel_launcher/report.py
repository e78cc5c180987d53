"""What the command line shows: stages with their seconds, what a board is, a table of kernels."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from .kernelspec import Entry
from .text import printable

_NAMES = {
    "model": "Board",
    "machine": "Architecture",
    "os": "System",
    "python": "Python",
    "packages": "Kernel",
    "memory": "Memory",
}
_KERNEL = ("ipykernel", "pyzmq", "IPython")
_COLUMNS = ("name", "board", "via", "python", "display_name")


class Report:
    """Print to stdout: with colours and a spinner on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None

    def say(self, text: str, style: str = "") -> None:
        """Print a line; `text` is taken as it is, whatever it contains."""
        self.console.print(Text(printable(text), style))

    @contextmanager
    def stage(self, text: str) -> Iterator[None]:
        """Show that something is under way, and then the seconds that it took."""
        text = f"{printable(text)} … "
        start = time.monotonic()
        self._status = self.console.status(Text(text))
        try:
            with self._status:
                yield
        finally:
            self._status = None
        self.console.print(Text.assemble(text, (f"{time.monotonic() - start:.1f} s", "green")))

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the terminal to a question."""
        if self._status is not None:
            self._status.stop()
        yield
        if self._status is not None:
            self._status.start()

    def board(self, facts: dict[str, Any]) -> None:
        """Print what a board is."""
        told = {
            **facts,
            "python": f"{facts['python']} ({facts['executable']})",
            "packages": ", ".join(f"{n} {facts['packages'][n] or 'missing'}" for n in _KERNEL),
            "memory": _memory(facts["memory_available"], facts["memory_total"]),
        }
        for name, title in _NAMES.items():
            if told[name]:
                self.console.print(Text(f"  {title + ':':<14}{printable(str(told[name]))}"))

    def kernels(self, entries: Iterable[Entry], as_json: bool) -> None:
        """Print the kernels of ours, as a table or as JSON."""
        rows = [_row(entry) for entry in entries if entry.ours is not None]
        if as_json:
            self.console.print_json(json.dumps(rows))
            return
        if not rows:
            self.say("There is no rkernel kernel yet; rkernel add makes one.")
            return
        table = Table(*(column.replace("_", " ").capitalize() for column in _COLUMNS), box=None)
        for row in rows:
            table.add_row(*(Text(printable(row[column])) for column in _COLUMNS))
        self.console.print(table)


def _row(entry: Entry) -> dict[str, str]:
    ours = entry.ours or {}
    return {
        "name": entry.name,
        "board": str(ours.get("host") or "this machine"),
        "via": str(ours.get("via", "")),
        "python": str(ours.get("python", "")),
        "display_name": str(entry.spec.get("display_name", "")),
        "model": str(ours.get("model", "")),
        "machine": str(ours.get("machine", "")),
        "added": str(ours.get("added", "")),
        "folder": str(entry.folder),
    }


def _memory(available: int | None, total: int | None) -> str:
    if available is None or total is None:
        return ""
    return f"{available >> 20} MB available of {total >> 20} MB"
