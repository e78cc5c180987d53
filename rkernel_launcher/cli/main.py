"""The command `rkernel`: it finds boards, and adds, lists, removes and watches their kernels."""

from __future__ import annotations

import io
import sys

import click

from .. import errors
from ..sanitize import escape_controls
from .commands.add import add
from .commands.attach import attach
from .commands.demo import demo
from .commands.doctor import doctor
from .commands.fetch import fetch
from .commands.find import find
from .commands.list import list_kernels
from .commands.ps import ps
from .commands.remove import remove
from .commands.stop import stop
from .commands.update import update
from .commands.view import view

INTERRUPTED = 130  # what a shell gives for a command that Ctrl-C ended


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit status.

    What goes wrong becomes one line on stderr here, unless --debug shows its traceback.

    Args:
        argv: The arguments; those of this process by default.
    """
    settings = {"debug": False}
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a board's name is in any script
    try:
        status = rkernel.main(
            argv,
            "rkernel",
            standalone_mode=False,
            windows_expand_args=False,  # paths may be the board's
            obj=settings,
        )
        return int(status or 0)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if settings["debug"]:
            raise
        known = isinstance(error, errors.RkernelError)
        shown = error if known else errors.RkernelError(detail=repr(error))
        click.echo(escape_controls(" ".join(str(shown).split())), err=True)
        return 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="rkernel")
@click.pass_obj
def rkernel(settings: dict[str, bool], debug: bool) -> None:
    """Run Jupyter kernels on small Linux boards."""
    settings["debug"] = debug


for _command in (
    *(find, add, list_kernels, remove, update, fetch),
    *(view, ps, stop, attach, demo, doctor),
):
    rkernel.add_command(_command)
