"""`rkernel stop`: the end of kernels that run on a board."""

from __future__ import annotations

import click

from ...board.kernel_status import pick
from .. import board_setup, kernelspecs
from ..console import Report


@click.command()
@click.argument("name")
@click.argument("kernel", required=False)
@click.option("--orphans", is_flag=True, help="End the kernels whose launcher is gone.")
@click.option("--all", "everything", is_flag=True, help="End all kernels.")
def stop(name: str, kernel: str | None, orphans: bool, everything: bool) -> None:
    """End kernels that run on the board of the kernel NAME.

    KERNEL is the beginning of an id that rkernel ps shows.
    """
    if (kernel is not None) + orphans + everything != 1:
        wrong = "Name a kernel that rkernel ps shows, or use --orphans or --all."
        raise click.UsageError(wrong, click.get_current_context())
    wanted = kernelspecs.target_of(name)
    with board_setup.at_board(wanted) as board:
        found = board.kernels().kernels
        if kernel is not None:
            found = [pick(found, kernel, wanted.name)]
        elif orphans:
            found = [k for k in found if k.away is not None]
        board.stop([k.id for k in found])
    Report().say(f"Ended {', '.join(k.id for k in found) or 'nothing: no such kernel runs there'}.")
