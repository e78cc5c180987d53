"""`rkernel fetch`: fetch the packages for a board without ipykernel, before it needs them."""

from __future__ import annotations

import click

from ...board.bundle import build, wheels
from ..console import Report


@click.command()
@click.option("--python", "version", required=True, type=click.Choice(wheels.versions()))
def fetch(version: str) -> None:
    """Fetch the packages for a board without ipykernel.

    Then rkernel add needs no internet for a board with that version of Python.
    """
    report = Report()
    with report.stage(f"Fetching the packages for Python {version}"):
        archive = build.build(version)
    size = len(archive.content) / (1 << 20)
    report.say(f"A board will get {size:.1f} MB. This PC keeps them in {wheels.cache()}")
