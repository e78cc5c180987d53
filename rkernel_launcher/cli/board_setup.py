"""What the command line does on a board: reach it, read its facts, send it what a kernel needs."""

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
    """Say whether stdin is a terminal, so that there is a person to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def terminal_prompts(report: Report) -> Prompts:
    """Return prompts that ask on this terminal, while the spinner of the report pauses."""

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
    """Reach the board of a kernel that was added, and put our code there.

    Args:
        wanted: How to reach it.

    Yields:
        The board, until the block ends.

    Raises:
        RkernelError: As `reach.reach` and `Board.prepare`.
    """
    reached = reach.reach(wanted, terminal_prompts(Report()) if attended() else None)
    try:
        reached.prepare()
        yield reached
    finally:
        reached.close()


def look_at(report: Report, reached: Board, prompts: Prompts | None) -> Facts:
    """Put our code on a board, print what the board is, and offer to install a key.

    Args:
        report: Where to print.
        reached: The board.
        prompts: How to ask a person; None to offer nothing.

    Returns:
        The board's facts.

    Raises:
        RkernelError: As `Board.prepare`, `Board.facts` and `Board.offer_key`.
    """
    if reached.target.via == "rpyc":
        report.say(NO_AUTHENTICATION, "yellow")
    with report.stage("Copying rkernel's code to the board"):
        reached.prepare()
    with report.stage("Reading what the board has"):
        facts = reached.facts()
    report.board(facts)
    if reached.target.python is None:
        _compare_login(report, reached, facts)
    if prompts is not None:
        login.offer_key(reached, prompts)
    return facts


def _compare_login(report: Report, reached: Board, facts: Facts) -> None:
    """Say so if a person at a terminal there would get another Python than the kernel."""
    login = reached.login_python(facts)
    if login.executable:
        report.say(
            f"The kernel uses {facts.executable}. A login shell there has {login.executable} "
            f"({login.version}): for that one, add --python {login.executable}",
            "yellow",
        )


def supply(report: Report, reached: Board, facts: Facts) -> Target:
    """Send a board the packages that its kernel lacks, if it lacks any.

    Args:
        report: Where to print.
        reached: The board, with our code there.
        facts: What `look_at` returned.

    Returns:
        The target, whose `ipykernel` is now "board" or "bundled".

    Raises:
        RkernelError: As `requirements.choose_ipykernel`, `requirements.check` and `upload.ensure`.
    """
    found = replace(reached.target, ipykernel=requirements.choose_ipykernel(facts, reached.target))
    requirements.check(facts, found)
    if found.ipykernel == "bundled":
        with report.progress("Checking the packages on the board") as progress:
            upload.ensure(reached, progress)
        report.say(f"  {'Kernel:':<14}{upload.packages(facts.python)}")
    return found
