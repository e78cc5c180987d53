"""`rkernel remove`: the end of kernels that were added on this PC."""

from __future__ import annotations

import click

from ...target import Target
from .. import board_setup, kernelspecs
from ..console import Report


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option(
    "--purge",
    is_flag=True,
    help="Also end all kernels on their boards, and remove rkernel's files there.",
)
def remove(names: tuple[str, ...], purge: bool) -> None:
    """Remove kernels that rkernel add has added to this PC."""
    report = Report()
    boards: list[Target] = []
    for wanted in map(kernelspecs.target_of, names) if purge else ():
        if wanted not in boards:
            boards.append(wanted)
    for wanted in boards:
        with (
            report.stage(f"Removing all of rkernel from {wanted.name}"),
            board_setup.at_board(wanted) as board,
        ):
            board.purge()
    kernelspecs.remove(names)
    report.say(f"Removed {', '.join(names)}.")
    if not purge:
        report.say("Their boards keep the folder ~/.cache/rkernel. --purge removes it.")
