"""`rkernel ps`, `stop` and `attach`: the kernels that run on a board, whoever started them."""

from __future__ import annotations

import click

from ... import errors
from ...board.kernel_status import KernelStatus
from ...launcher import connection_file, log_file
from ...target import Target
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
        found, _ = board.kernels()
        if kernel is not None:
            found = [_pick(found, kernel, wanted)]
        elif orphans:
            found = [k for k in found if k.away is not None]
        board.stop([k.id for k in found])
    Report().say(f"Ended {', '.join(k.id for k in found) or 'nothing: no such kernel runs there'}.")


@click.command()
@click.argument("name")
@click.argument("kernel", required=False)
@click.pass_obj
def attach(settings: dict[str, bool], name: str, kernel: str | None) -> None:
    """Take over a kernel whose launcher is gone, and serve it until Ctrl-C.

    The command prints the kernel's connection file, for jupyter console --existing FILE or another
    frontend. KERNEL is the beginning of an id that rkernel ps shows. Without it, the command takes
    the kernel whose launcher left last. After Ctrl-C the kernel waits again.
    """
    from ...launcher.launcher import Launcher

    wanted = kernelspecs.target_of(name)
    with board_setup.at_board(wanted) as board:
        found, _ = board.kernels()
    chosen = _pick(found, kernel, wanted) if kernel is not None else _last_orphan(found, wanted)
    report = Report()
    with connection_file.made() as path:
        log_file.start(str(path), settings["debug"])
        Launcher(wanted, str(path), chosen, on_ready=lambda: report.say(str(path))).run()


def _pick(found: list[KernelStatus], wanted: str, where: Target) -> KernelStatus:
    """Return the kernel whose id begins with what the user says, or raise NoKernel."""
    fitting = [kernel for kernel in found if kernel.id.startswith(wanted)]
    if len(fitting) != 1:
        raise errors.NoKernel(kernel=wanted, host=where.name)
    return fitting[0]


def _last_orphan(found: list[KernelStatus], where: Target) -> KernelStatus:
    orphans = [kernel for kernel in found if kernel.away is not None]
    if not orphans:
        raise errors.NoOrphan(host=where.name)
    return min(orphans, key=lambda kernel: kernel.away or 0.0)
