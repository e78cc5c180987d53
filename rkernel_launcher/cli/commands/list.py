"""`rkernel list`: the kernels that were added on this PC, and which of their boards answer."""

from __future__ import annotations

import click

from ... import errors
from ...discovery import known
from .. import kernelspecs
from ..console import Report


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_kernels(as_json: bool) -> None:
    """List the kernels that you have added, and say which boards answer now."""
    report = Report()
    entries = sorted(kernelspecs.find().values(), key=lambda entry: entry.name)
    added = [entry for entry in entries if entry.metadata is not None]
    report.kernels(added, known.answering(kernelspecs.all_targets()), as_json)
    for entry in added:
        try:
            kernelspecs.target_of(entry.name)
        except (errors.BadOption, errors.OldKernelspec) as error:
            report.warn(f"{entry.name}: {error}")
