"""`rkernel attach`: a launcher for a kernel that lost its own."""

from __future__ import annotations

import click

from ... import errors
from ...board.kernel_status import KernelStatus, pick
from ...launcher import connection_file, log_file
from ...target import Target
from .. import board_setup, kernelspecs
from ..console import Report


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
        found = board.kernels().kernels
    chosen = pick(found, kernel, wanted.name) if kernel is not None else _last_orphan(found, wanted)
    report = Report()
    with connection_file.made() as path:
        log_file.start(str(path), settings["debug"])
        Launcher(wanted, str(path), chosen, on_ready=lambda: report.say(str(path))).run()


def _last_orphan(found: list[KernelStatus], where: Target) -> KernelStatus:
    orphans = [kernel for kernel in found if kernel.away is not None]
    if not orphans:
        raise errors.NoOrphan(host=where.name)
    return min(orphans, key=lambda kernel: kernel.away or 0.0)
