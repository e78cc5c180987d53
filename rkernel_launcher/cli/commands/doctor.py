"""`rkernel doctor`: what is wrong between this PC and a kernel on a board, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TextIO

import click

from ... import target
from .. import kernelspecs
from ..console import Report
from ..doctor import ladder, pc, report
from ..doctor.report import Section
from ..doctor.rung import Finding, climb
from ..doctor.scrubbing import scrubber
from ..doctor.visit import Visit
from .add import declare

_AT_ONCE = 8  # boards
_OPTIONS = (
    *("host", "user", "port", "via", "command", "ssh", "ssh_command", "host_key", "identity"),
    *("jump", "python", "link_port"),
)


def _options_of_the_way(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(target.OPTIONS):
        if option.name in _OPTIONS:
            command = declare(option)(command)
    return command


@click.command()
@click.argument("name", required=False)
@_options_of_the_way
@click.option(
    "--report",
    "file",
    type=click.File("w", encoding="utf-8", lazy=False),
    help="Also write all of it to a file, for a bug report: without names, keys and secrets.",
)
@click.option("--names", is_flag=True, help="Leave names and addresses in that file.")
def doctor(name: str | None, file: TextIO | None, names: bool, **texts: Any) -> int:
    """Find out why a kernel does not work.

    With NAME, the name of a kernel that you added, or with --host, the command looks at each step
    from this PC to a kernel on that board. It stops at the first step that fails and says what to
    do. Without either, it looks at this PC, and at whether each board answers.
    """
    given = texts["host"] or texts["via"] in ("local", "command", "adb")
    if name and given:
        raise click.UsageError("Give a NAME or --host, not both.", click.get_current_context())
    printer = Report()
    if name:
        sections = [_ladder(printer, Visit(name=name))]
    elif given:
        wanted = replace(target.from_texts(texts), ipykernel="auto")
        sections = [_ladder(printer, Visit(wanted))]
    else:
        sections = [_this_pc(printer), _boards(printer)]
    if file is not None:
        visits = [visit for section in sections for visit in section.visits]
        file.write(report.render(sections, scrubber(visits, names)))
        printer.say(f"The report is in {file.name}")
    wrong = [finding for section in sections for finding in section.findings if finding.wrong]
    printer.say("Something is wrong: see ✗ above." if wrong else "All is well.", "bold")
    return 1 if wrong else 0


def _ladder(printer: Report, visit: Visit) -> Section:
    """Look at all between this PC and a kernel on a board."""
    found = _shown(printer, ladder.examine(visit, _stage(printer)))
    return Section("The board", found, [visit])


def _this_pc(printer: Report) -> Section:
    return Section("This PC", _shown(printer, climb(pc.RUNGS, None, _stage(printer))))


def _boards(printer: Report) -> Section:
    """Look at whether the boards answer that were added, several at once."""
    added = [entry.name for entry in kernelspecs.find().values() if entry.metadata is not None]
    visits = [Visit(name=name) for name in sorted(added)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = _shown(printer, pool.map(ladder.answers, visits))
    return Section("The boards", found, visits)


def _stage(printer: Report) -> Callable[[str], Any]:
    """Return what shows on a terminal which rung is looked at."""
    console = printer.console
    return lambda title: console.status(title) if console.is_terminal else nullcontext()


def _shown(printer: Report, findings: Iterable[Finding]) -> list[Finding]:
    """Print what is found as soon as it is."""
    found = []
    for finding in findings:
        found.append(finding)
        _show(printer, finding)
    return found


def _show(printer: Report, finding: Finding) -> None:
    mark = "✗" if finding.wrong else "✓"
    printer.say(f"{mark} {finding.title:<9} {finding.text}", "red" if finding.wrong else "")
    if finding.remedy:
        printer.say(f"  {'':<10}{finding.remedy}", "bold")
