"""A visit of the command line to a board: getting there, looking around, leaving what is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from ..board import reach, requirements
from ..board.answers import Facts
from ..board.board import Board
from ..board.bundle import upload
from ..target import Target
from ..transports.prompts import Prompts
from . import login
from .console import Report

NO_AUTHENTICATION = (
    "This board's rpyc service has no authentication: anyone on the network can run code there."
)


def attended() -> bool:
    """Say whether somebody is at this terminal, who can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def terminal_prompts(report: Report) -> Prompts:
    """Ask on this terminal, with the spinner out of the way."""

    def paused(ask: Callable[[str], Any]) -> Callable[[str], Any]:
        def question(text: str) -> Any:
            with report.pause():
                return ask(text)

        return question

    def line(text: str, hide: bool) -> str:
        return str(click.prompt(text.rstrip(" "), "", hide, show_default=False, prompt_suffix=" "))

    return Prompts(
        confirm=paused(lambda text: click.confirm(text, default=False)),
        ask=paused(lambda text: line(text, False)),
        secret=paused(lambda text: line(text, True)),
        say=paused(report.say),
    )


@contextmanager
def at_board(wanted: Target) -> Iterator[Board]:
    """Reach a board of a kernel that was added, with our code there."""
    reached = reach.reach(wanted, terminal_prompts(Report()) if attended() else None)
    try:
        reached.prepare()
        yield reached
    finally:
        reached.close()


def look_at(report: Report, reached: Board, prompts: Prompts | None) -> Facts:
    """Put our code on a board and say what the board is; return its facts."""
    if reached.target.via == "rpyc":
        report.say(NO_AUTHENTICATION, "yellow")
    with report.stage("Putting our code there"):
        reached.prepare()
    with report.stage("Looking at what it has"):
        facts = reached.facts()
    report.board(facts)
    if prompts is not None:
        login.offer_key(reached, prompts)
    return facts


def supply(report: Report, reached: Board, facts: Facts) -> Target:
    """Send a board the packages that its kernel lacks; return the target, `ipykernel` decided."""
    found = replace(reached.target, ipykernel=requirements.choose_ipykernel(facts, reached.target))
    requirements.check(facts, found)
    if found.ipykernel == "bundled":
        with report.progress("Looking for a kernel's packages") as progress:
            upload.ensure(reached, progress)
        report.say(f"  {'Kernel:':<14}{upload.packages(facts.python)}")
    return found
