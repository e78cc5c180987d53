"""`rkernel ps`: the kernels that run on a board, whoever started them."""

from __future__ import annotations

import click

from .. import board_setup, kernelspecs
from ..console import Report


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps(name: str, as_json: bool) -> None:
    """List the kernels that run on the board of the kernel NAME."""
    with board_setup.at_board(kernelspecs.target_of(name)) as board:
        running = board.kernels()
    report = Report()
    report.running(running.kernels, as_json)
    if running.lacks:
        report.warn(
            f"The kernels there began before the account was in {', '.join(running.lacks)}. "
            "New kernels have those groups once all that run there have ended."
        )
    if not running.complete:
        report.warn("An agent there does not answer. It may be of another version of rkernel.")
