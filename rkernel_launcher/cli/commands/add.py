"""`rkernel add`: reach a board, look at it, try a kernel there, and write its kernelspec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from ... import errors, target
from ...board import reach
from ...board.answers import Facts
from ...options import FLAG, Option
from ...target import Target
from .. import board_setup, kernelspecs, trial
from ..console import Report

_Command = Callable[..., Any]


def _declare(option: Option) -> Callable[[_Command], _Command]:
    """Make click's option of one of ours. Its value stays text, which `target` reads."""
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
        command = _declare(option)(command)
    return command


@click.command()
@_options_of_target
@click.option("--name", help="The kernel's name; made from the host if not given.")
@click.option("--display-name", help="Its name in menus.")
@click.option("--yes", is_flag=True, help="Ask nothing; replace a kernel that is there.")
@click.option("--no-check", is_flag=True, help="Write the kernel even if it cannot be tried.")
def add(name: str | None, display_name: str | None, yes: bool, no_check: bool, **said: Any) -> None:
    """Add a kernel that runs on a board."""
    report = Report()
    wanted = _target(said)
    attended = not yes and board_setup.attended()
    name = name or kernelspecs.default_name(wanted)
    _claim(name, yes, attended)
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
            with report.stage("Starting a kernel there, running a cell, stopping it"):
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


def _target(said: dict[str, Any]) -> Target:
    """Return what the options say. Raises BadOption and click.UsageError."""
    wrong = ""
    if said["via"] == "command" and not said["command"]:
        wrong = "--command is missing."
    if said["via"] not in ("local", "command") and not said["host"]:
        wrong = "--host is missing."
    if said["via"] == "local" and any(said[name] for name in ("host", "user", "port")):
        wrong = "--via local is this machine: leave out --host, --user and --port."
    if wrong:
        raise click.UsageError(wrong, click.get_current_context())
    return target.from_texts(said)


def _claim(name: str, yes: bool, attended: bool) -> None:
    """Make sure that the name is free, or may be used again."""
    try:
        kernelspecs.check_name(name, replace=yes)
    except errors.ForeignName:
        raise
    except errors.NameTaken:
        if not attended or not click.confirm(f"Replace the kernel {name} that is there"):
            raise
