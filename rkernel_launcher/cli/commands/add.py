"""`rkernel add`: reach a board, look at it, try a kernel there, and write its kernelspec."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ... import errors, target
from ...board import reach
from ...board.answers import Facts
from ...options import FLAG, Option
from ...target import Target
from .. import board_choice, board_setup, kernelspecs, trial
from ..console import Report

_Command = Callable[..., Any]


def declare(option: Option) -> Callable[[_Command], _Command]:
    """Make click's option of a declared one. Its value stays text, which `target` reads."""
    if option.kind is FLAG:
        return click.option(option.flag, is_flag=True, help=option.help)
    default = option.default if option.add_default is None else option.add_default
    choices = option.kind.choices
    return click.option(
        option.flag,
        type=click.Choice(choices) if choices else str,
        metavar=None if choices else option.kind.metavar,
        multiple=option.many,
        default=option.kind.write(default) if default else None,
        show_default=bool(default),
        help=option.help,
        envvar=option.variable,
        show_envvar=True,
    )


def _options_of_target(command: _Command) -> _Command:
    for option in reversed(target.OPTIONS):
        command = declare(option)(command)
    return command


@click.command()
@_options_of_target
@click.option("--name", help="The kernel's name. By default rkernel makes it from the host.")
@click.option("--display-name", help="The kernel's name in menus.")
@click.option("--yes", is_flag=True, help="Ask nothing, and replace a kernel of the same name.")
@click.option(
    "--no-check",
    is_flag=True,
    help="Start no kernel for a trial, and add the kernel even if rkernel cannot reach the board.",
)
def add(
    name: str | None, display_name: str | None, yes: bool, no_check: bool, **texts: Any
) -> None:
    """Add a kernel that runs on a board. Without --host, choose among those that rkernel finds."""
    report = Report()
    attended = not yes and board_setup.attended()
    if attended and _needs_host(texts):
        texts = board_choice.choose(report, texts)
    wanted = _target(texts)
    _hint_at_home(report, wanted)
    name = name or kernelspecs.default_name(wanted)
    _check_name(name, yes, attended)
    facts: Facts | None = None
    try:
        prompts = board_setup.terminal_prompts(report) if attended else None
        with report.stage(f"Reaching {wanted.name}"):
            reached = reach.reach(wanted, prompts)
        try:
            wanted = reached.target
            facts = board_setup.look_at(report, reached, prompts)
            wanted = board_setup.supply(report, reached, facts)
        finally:
            reached.close()
        if not no_check:
            with report.stage("Starting a kernel there, running a cell, stopping the kernel"):
                trial.kernel(wanted)
    except errors.RkernelError as error:
        if not no_check:
            raise
        report.say(f"Not checked: {error}", "yellow")
        if wanted.via == "auto":
            wanted = replace(wanted, via="ssh")
    display_name = display_name or kernelspecs.default_display_name(name, wanted, facts)
    folder = kernelspecs.write(name, kernelspecs.make(name, display_name, wanted, facts))
    report.say(f"Added the kernel {name}, “{display_name}”, in {folder}", "bold")
    if os.environ.get("JUPYTER_DATA_DIR"):
        report.say(
            "VS Code does not look for kernels in JUPYTER_DATA_DIR. To have this one there, unset "
            "that variable and run rkernel add again.",
            "yellow",
        )


def _needs_host(texts: dict[str, Any]) -> bool:
    return texts["via"] not in ("local", "command", "adb") and not texts["host"]


def _target(texts: dict[str, Any]) -> Target:
    """Return what the options say, or raise BadOption or click.UsageError."""
    wrong = ""
    if texts["via"] == "command" and not texts["command"]:
        wrong = "--command is missing."
    if _needs_host(texts):
        wrong = "--host is missing. rkernel find shows the boards near this PC."
    if texts["via"] == "local" and any(texts[name] for name in ("host", "user", "port")):
        wrong = "--via local means this machine: leave out --host, --user and --port."
    if wrong:
        raise click.UsageError(wrong, click.get_current_context())
    found = target.from_texts(texts)
    if found.via == "adb" and (texts["user"] or texts["port"]):
        wrong = "adb knows no user and no port of a device: leave out --user and --port."
        raise click.UsageError(wrong, click.get_current_context())
    return found


def _hint_at_home(report: Report, wanted: Target) -> None:
    """Tell of paths on the board in which a shell has probably put this PC's home for a ~."""
    home = Path.home()
    for option, path in (("--python", wanted.python), ("--workdir", wanted.workdir)):
        if wanted.via != "local" and path and home in Path(path).parents:
            report.say(
                f"{option} begins with the home of this PC, {home}. If you mean the home on the "
                "board, write '~/' in quotes.",
                "yellow",
            )


def _check_name(name: str, yes: bool, attended: bool) -> None:
    """Make sure that the name is free, or that the kernel of that name may be replaced."""
    try:
        kernelspecs.check_name(name, replace=yes)
    except errors.ForeignName:
        raise
    except errors.NameTaken:
        if not attended or not click.confirm(f"Replace the existing kernel {name}"):
            raise
