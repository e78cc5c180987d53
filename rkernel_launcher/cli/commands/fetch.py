"""`rkernel fetch`: have at hand what a board without ipykernel needs."""

from __future__ import annotations

import click

from ...board.bundle import build, wheels
from ..console import Report


@click.command()
@click.option("--python", "version", required=True, type=click.Choice(wheels.versions()))
def fetch(version: str) -> None:
    """Fetch what is sent to a board without ipykernel, so that adding it needs no internet."""
    report = Report()
    with report.stage(f"Fetching the packages for Python {version}"):
        archive = build.build(version)
    size = len(archive.content) / (1 << 20)
    report.say(f"{size:.1f} MB to send to a board; kept in {wheels.cache()}")
