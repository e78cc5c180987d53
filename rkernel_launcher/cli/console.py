"""What the command line prints: stages with their seconds, facts of a board, tables of kernels."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table
from rich.text import Text

from ..board.answers import Facts
from ..board.kernel_status import KernelStatus
from ..discovery.sightings import Found
from ..sanitize import escape_controls
from .kernelspecs import Entry

_KERNEL = ("ipykernel", "pyzmq", "IPython")
_RUNNING = ("Kernel", "State", "Age", "Memory", "Owner", "Launcher")
_COLUMNS = ("name", "board", "answers", "via", "python", "display_name")
_FOUND = ("Address", "Name", "Board", "Way", "Found by", "Added as")


class Report:
    """Print to stdout: with colours and a spinner on a terminal, plain lines elsewhere.

    Args:
        quiet: Whether to leave out the stages: stdout is for JSON alone.

    Attributes:
        console: rich's console, for output that no method here makes.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self.console = Console(highlight=False, soft_wrap=True)
        self._status: Status | None = None

    def say(self, text: str, style: str = "") -> None:
        """Print a line.

        Args:
            text: Printed as it is: no markup counts, and control characters are escaped.
            style: rich's name of a colour or a style, such as "bold".
        """
        self.console.print(Text(escape_controls(text), style))

    def warn(self, text: str) -> None:
        """Print a line to stderr."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            Text(escape_controls(text), "yellow")
        )

    @contextmanager
    def stage(self, text: str) -> Iterator[None]:
        """Show that a stage runs, and then the seconds that it took."""
        if self._quiet:
            yield
            return
        text = f"{escape_controls(text)} … "
        start = time.monotonic()
        self._status = self.console.status(Text(text))
        try:
            with self._status:
                yield
        finally:
            self._status = None
        self._took(text, start)

    def _took(self, text: str, start: float) -> None:
        self.console.print(Text.assemble(text, (f"{time.monotonic() - start:.1f} s", "green")))

    @contextmanager
    def progress(self, text: str) -> Iterator[Callable[[str, int, int], None]]:
        """Show how far a task with several steps is, and the seconds that each step took.

        Args:
            text: What to show before the first step.

        Yields:
            A function to call with the step, how much of it is done, and of how much; that is 0 if
            nobody knows.
        """
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        bar = Progress(
            *(*columns, TimeElapsedColumn()),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        step, start = "", 0.0

        def end() -> None:
            if step:
                self._took(f"{step} … ", start)

        def update(now: str, done: int, size: int) -> None:
            nonlocal step, start
            if now != step:
                end()
                step, start = now, time.monotonic()
                bar.reset(task)
            bar.update(task, description=step, completed=done, total=size or None)

        try:
            with bar:
                task = bar.add_task(escape_controls(text), total=None)
                yield update
        finally:
            end()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Hide the spinner while the program asks a question."""
        if self._status is not None:
            self._status.stop()
        yield
        if self._status is not None:
            self._status.start()

    def board(self, facts: Facts) -> None:
        """Print the facts of a board."""
        packages = [f"{name} {facts.packages.get(name) or 'missing'}" for name in _KERNEL]
        rows = {
            "Board": facts.model,
            "Architecture": facts.machine,
            "System": facts.os,
            "Python": f"{facts.python} ({facts.executable})",
            "Kernel": ", ".join(packages),
            "Memory": _memory(facts.memory_available, facts.memory_total),
            "Pictures": facts.encoder,
        }
        for title, text in rows.items():
            if text:
                self.console.print(Text(f"  {title + ':':<14}{text}"))

    def boards(self, found: Iterable[Found], as_json: bool = False, numbered: bool = False) -> None:
        """Print the boards that a search has found, as a table or as JSON.

        Args:
            found: The boards.
            as_json: Whether to print JSON.
            numbered: Whether the table numbers them, from 1.
        """
        rows = list(found)
        if as_json:
            self.console.print_json(json.dumps([_found(row) for row in rows]), ensure_ascii=True)
            return
        if not rows:
            return
        table = Table(*(["#"] if numbered else []), box=None)
        for title in _FOUND:
            table.add_column(title, overflow="fold", no_wrap=title == "Address")
        for number, row in enumerate(rows, 1):
            cells = [
                row.address,
                row.name,
                ", ".join(filter(None, (row.model, row.system))),
                row.trouble or ", ".join(row.ways),
                ", ".join(row.sources),
                ", ".join(row.added_as) or "no",
            ]
            cells = [str(number), *cells] if numbered else cells
            table.add_row(*(Text(_one_line(cell)) for cell in cells))
        self.console.print(table)

    def kernels(
        self, entries: Iterable[Entry], answers: Mapping[str, bool | None], as_json: bool
    ) -> None:
        """Print the kernels that rkernel added, as a table or as JSON.

        Args:
            entries: Their kernelspecs.
            answers: Whether the board of each answers now; None if nobody knows.
            as_json: Whether to print JSON.
        """
        rows = [_row(entry) | {"answers": answers.get(entry.name)} for entry in entries]
        if as_json:
            self.console.print_json(json.dumps(rows))
            return
        if not rows:
            self.say("You have added no kernel yet. rkernel add adds one.")
            return
        table = Table(*(column.replace("_", " ").capitalize() for column in _COLUMNS), box=None)
        for row in rows:
            row["answers"] = {True: "yes", False: "no", None: ""}[row["answers"]]
            table.add_row(*(Text(escape_controls(row[column])) for column in _COLUMNS))
        self.console.print(table)

    def running(self, kernels: Iterable[KernelStatus], as_json: bool) -> None:
        """Print the kernels that run on a board, as a table or as JSON."""
        found = list(kernels)
        if as_json:
            self.console.print_json(json.dumps([_running(kernel) for kernel in found]))
            return
        if not found:
            self.say("No kernel runs on that board.")
            return
        table = Table(*_RUNNING, box=None)
        for kernel in found:
            memory = "" if kernel.memory is None else f"{kernel.memory / (1 << 20):.0f} MB"
            cells = [kernel.id, kernel.state, duration(kernel.age), memory, kernel.owner]
            table.add_row(*(Text(cell) for cell in [*cells, _launcher(kernel)]))
        self.console.print(table)


def _running(kernel: KernelStatus) -> dict[str, Any]:
    facts = {**vars(kernel), "left": kernel.left}
    del facts["agent"]  # its token is a secret
    # JSON has no infinity
    return {name: None if value == math.inf else value for name, value in facts.items()}


def _launcher(kernel: KernelStatus) -> str:
    """Say whether a kernel's launcher is connected, and if not, how long the kernel still waits."""
    if kernel.away is None:
        return "connected"
    left = "for ever" if kernel.left == math.inf else f"{duration(kernel.left)} more"
    return f"away for {duration(kernel.away)}, waits {left}"


def duration(seconds: float) -> str:
    """Return a time as people say it, in its largest unit: 3 d, 2 h, 10 min, 5 s.

    Args:
        seconds: The time, finite.
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _found(row: Found) -> dict[str, Any]:
    return {
        "address": row.address,
        "name": row.name,
        "model": row.model,
        "system": row.system,
        "ways": dict(row.ways),
        "trouble": row.trouble,
        "found_by": list(row.sources),
        "added_as": list(row.added_as),
    }


def _one_line(text: str) -> str:
    return escape_controls(" ".join(text.split()))


def _row(entry: Entry) -> dict[str, Any]:
    metadata = entry.metadata or {}
    return {
        "name": entry.name,
        "board": str(metadata.get("host") or "this machine"),
        "via": str(metadata.get("via", "")),
        "python": str(metadata.get("python", "")),
        "display_name": str(entry.spec.get("display_name", "")),
        "model": str(metadata.get("model", "")),
        "machine": str(metadata.get("machine", "")),
        "added": str(metadata.get("added", "")),
        "folder": str(entry.folder),
    }


def _memory(available: int | None, total: int | None) -> str:
    if available is None or total is None:
        return ""
    return f"{available >> 20} MB available of {total >> 20} MB"
