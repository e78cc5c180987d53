"""`rkernel view`: the live pictures of a kernel, in the browser."""

from __future__ import annotations

import webbrowser

import click

from ...launcher.video import page
from .. import kernelspecs
from ..console import Report


@click.command()
@click.argument("name")
def view(name: str) -> None:
    """Open a page with the live pictures of the kernel NAME in the browser.

    You must have added the kernel with --video mjpeg, and it must run.
    """
    url, file = page.find(kernelspecs.target_of(name))
    Report().say(f"The pictures are at {url}")
    webbrowser.open(file.as_uri())
