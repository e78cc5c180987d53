"""`rkernel find`: the boards that are near this PC, before anybody has named them."""

from __future__ import annotations

import click

from .. import board_choice, board_setup
from ..console import Report


@click.command()
@click.option("--scan", is_flag=True, help="Also try the ports of every address in your networks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def find(scan: bool, as_json: bool) -> None:
    """Find the boards in your networks, on USB cables and in adb."""
    report = Report(quiet=as_json)
    ask = not as_json and board_setup.attended()
    findings = board_choice.look(report, scan, ask)
    report.boards(findings.found, as_json=as_json)
    if not findings.found:
        board_choice.explain(report, findings)
