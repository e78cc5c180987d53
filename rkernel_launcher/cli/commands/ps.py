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
        found, complete = board.kernels()
    report = Report()
    report.running(found, as_json)
    if not complete:
        report.warn("An agent there does not answer. It may be of another version of rkernel.")
