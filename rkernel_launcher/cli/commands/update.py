"""`rkernel update`: bring boards up to date before a frontend waits for it."""

from __future__ import annotations

from contextlib import ExitStack

import click

from ... import errors
from ...board import requirements
from ...target import Target
from .. import board_setup, kernelspecs
from ..console import Report


@click.command()
@click.argument("names", nargs=-1, metavar="NAME…")
@click.option("--all", "every", is_flag=True, help="Update the boards of all kernels.")
def update(names: tuple[str, ...], every: bool) -> int:
    """Send the boards of the kernels NAME… what this version of rkernel needs there.

    Without this, the first start of a kernel after an upgrade sends it, while the frontend waits.
    """
    if every == bool(names):
        raise click.UsageError("Give names of kernels, or --all.")
    if every:
        names = tuple(sorted(e.name for e in kernelspecs.find().values() if e.metadata is not None))
    report = Report()
    failed = False
    for wanted in dict.fromkeys(map(kernelspecs.target_of, names)):
        try:
            _update(report, wanted)
        except errors.RkernelError as error:
            if not every and len(names) == 1:
                raise
            report.warn(f"{wanted.name}: {error}")  # the others are not to wait for it
            failed = True
    return int(failed)


def _update(report: Report, wanted: Target) -> None:
    with ExitStack() as stack:
        with report.stage(f"Copying rkernel's code to {wanted.name}"):
            board = stack.enter_context(board_setup.at_board(wanted))
        progress = stack.enter_context(report.progress("Checking the packages there"))
        bundle = requirements.supply(board, progress)
    what = "rkernel's code and packages" if bundle else "rkernel's code"
    report.say(f"{wanted.name} has {what} of this version.")
