"""The command `rkernel`: the kernels of boards, those that are offered and those that run."""

from __future__ import annotations

import io
import sys
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .. import errors, target
from ..board import reach
from ..board.bundle import build as bundle
from ..board.bundle import wheels
from ..board.kernel_status import KernelStatus
from ..launcher import connection_file, log_file
from ..launcher.video import page as views
from ..sanitize import escape_controls
from ..target import Target
from . import board_setup, kernelspecs, trial
from .console import Report

INTERRUPTED = 130  # what a shell gives for a command that Ctrl-C ended


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit status. What goes wrong becomes one sentence here."""
    settings = {"debug": False}
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a board's name is in any script
    try:
        return int(rkernel.main(argv, "rkernel", standalone_mode=False, obj=settings) or 0)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if settings["debug"]:
            raise
        known = isinstance(error, errors.RkernelError)
        said = error if known else errors.RkernelError(detail=repr(error))
        click.echo(escape_controls(" ".join(str(said).split())), err=True)
        return 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="rkernel")
@click.pass_obj
def rkernel(settings: dict[str, bool], debug: bool) -> None:
    """Run Jupyter kernels on small Linux boards."""
    settings["debug"] = debug


@rkernel.command()
@click.option("--host", metavar="[USER@]HOST[:PORT]", help="The board.")
@click.option("--user", help="The account on the board.")
@click.option("--port", type=int, help="The port of its SSH server or rpyc service.")
@click.option(
    "--via",
    type=click.Choice(target.VIAS),
    default="auto",
    show_default=True,
    help="How to reach it; local lets this machine play the board.",
)
@click.option("--identity", metavar="FILE", help="The private key to log in with.")
@click.option("--jump", metavar="HOST[,HOST]", help="SSH hosts on the way, as ssh -J takes them.")
@click.option("--python", metavar="PATH", help="The board's Python.")
@click.option(
    "--ipykernel",
    type=click.Choice(target.IPYKERNELS),
    default="auto",
    show_default=True,
    help="The board's own ipykernel, or one that is sent along; auto sends it if need be.",
)
@click.option(
    "--warm-start",
    type=click.Choice(target.WARM_STARTS),
    default=Target.warm_start,
    show_default=True,
    help="Keep a process that kernels are forked from; auto does so where memory is left.",
)
@click.option("--name", help="The kernel's name; made from the host if not given.")
@click.option("--display-name", help="Its name in menus.")
@click.option("--workdir", metavar="FOLDER", help="Where kernels work on the board.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="Can be repeated.")
@click.option(
    "--link-port",
    type=int,
    default=target.AGENT_PORT,
    show_default=True,
    help="The port for the link to a board that is reached over rpyc.",
)
@click.option(
    "--orphan-timeout",
    default=Target.orphan_timeout,
    show_default=True,
    help="How long a kernel waits for a PC that is gone: 90s, 10m, 1h, 0, forever.",
)
@click.option(
    "--link-timeout",
    type=float,
    default=Target.link_timeout,
    show_default=True,
    metavar="SECONDS",
    help="How long a board may be silent until its link is given up and dialled anew.",
)
@click.option(
    "--frame-rate",
    type=int,
    default=Target.frame_rate,
    show_default=True,
    help="Pictures a second of a live stream, at most.",
)
@click.option(
    "--video",
    type=click.Choice(target.VIDEOS),
    default=Target.video,
    show_default=True,
    help="Where live pictures go: to the notebook, or in addition to a page on this PC.",
)
@click.option(
    "--video-port",
    type=int,
    default=target.VIDEO_PORT,
    show_default=True,
    help="The port of that page, on this PC's loopback.",
)
@click.option(
    "--video-path", metavar="NAME", help="Its path; random, and so a secret, if not given."
)
@click.option(
    "--reattach", is_flag=True, help="Take over a kernel whose PC is gone, if there is one."
)
@click.option("--debugger", is_flag=True, help="Offer JupyterLab's debugger; takes memory.")
@click.option("--yes", is_flag=True, help="Ask nothing; replace a kernel that is there.")
@click.option("--no-check", is_flag=True, help="Write the kernel even if it cannot be tried.")
def add(
    name: str | None, display_name: str | None, yes: bool, no_check: bool, **options: Any
) -> None:
    """Add a kernel that runs on a board."""
    report = Report()
    wanted = _target(**options)
    attended = not yes and board_setup.attended()
    name = name or kernelspecs.default_name(wanted)
    _claim(name, yes, attended)
    facts: dict[str, Any] = {}
    try:
        prompts = board_setup.terminal_prompts(report) if attended else None
        with report.stage(f"Reaching {wanted.host or 'this machine'}"):
            reached = reach.reach(wanted, prompts)
        try:
            wanted = reached.target
            facts = board_setup.look_at(report, reached, prompts)
            wanted = board_setup.supply(report, reached, facts)
        finally:
            reached.close()
        if not no_check:
            with report.stage("Starting a kernel there, running a cell, stopping it"):
                trial.kernel(wanted)
    except errors.RkernelError as error:
        if not no_check:
            raise
        report.say(f"Not checked: {error}", "yellow")
        if wanted.via == "auto":
            wanted = replace(wanted, via="ssh")
    display_name = display_name or kernelspecs.default_display_name(name, wanted, facts)
    folder = kernelspecs.write(name, kernelspecs.make(name, display_name, wanted, facts))
    report.say(f"Added the kernel {name}, “{display_name}”, in {folder}", "bold")


@rkernel.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_kernels(as_json: bool) -> None:
    """List the kernels that were added."""
    entries = sorted(kernelspecs.find().values(), key=lambda entry: entry.name)
    Report().kernels(entries, as_json)


@rkernel.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option(
    "--purge",
    is_flag=True,
    help="Remove all of rkernel from their boards, too; ends what kernels run there.",
)
def remove(names: tuple[str, ...], purge: bool) -> None:
    """Remove kernels that were added, from this PC."""
    report = Report()
    boards: list[Target] = []
    for wanted in map(kernelspecs.target_of, names) if purge else ():
        if wanted not in boards:
            boards.append(wanted)
    for wanted in boards:
        with (
            report.stage(f"Removing all of rkernel from {wanted.name}"),
            board_setup.at_board(wanted) as board,
        ):
            board.purge()
    kernelspecs.remove(names)
    report.say(f"Removed {', '.join(names)}.")
    if not purge:
        report.say("Their boards keep a folder, ~/.cache/rkernel, which --purge removes.")


@rkernel.command()
@click.option("--python", "version", required=True, type=click.Choice(wheels.versions()))
def fetch(version: str) -> None:
    """Fetch what is sent to a board without ipykernel, so that adding it needs no internet."""
    report = Report()
    with report.stage(f"Fetching the packages for Python {version}"):
        archive = bundle.build(version)
    size = len(archive.content) / (1 << 20)
    report.say(f"{size:.1f} MB to send to a board; kept in {wheels.cache()}")


@rkernel.command()
@click.argument("name")
def view(name: str) -> None:
    """Open a page with the live pictures of the kernel NAME in the browser.

    The kernel has to be added with --video mjpeg, and to run.
    """
    url, page = views.find(kernelspecs.target_of(name))
    Report().say(f"The pictures are at {url}")
    webbrowser.open(page.as_uri())


@rkernel.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps(name: str, as_json: bool) -> None:
    """List the kernels that run on the board of the kernel NAME."""
    with board_setup.at_board(kernelspecs.target_of(name)) as board:
        found, complete = board.kernels()
    report = Report()
    report.running(found, as_json)
    if not complete:
        report.warn("An agent there does not answer; it may be of another version of rkernel.")


@rkernel.command()
@click.argument("name")
@click.argument("kernel", required=False)
@click.option("--orphans", is_flag=True, help="End those whose launcher is gone.")
@click.option("--all", "everything", is_flag=True, help="End all.")
def stop(name: str, kernel: str | None, orphans: bool, everything: bool) -> None:
    """End kernels that run on the board of the kernel NAME."""
    if (kernel is not None) + orphans + everything != 1:
        wrong = "Say which: a kernel of rkernel ps, --orphans or --all."
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


@rkernel.command()
@click.argument("name")
@click.argument("kernel", required=False)
@click.pass_obj
def attach(settings: dict[str, bool], name: str, kernel: str | None) -> None:
    """Take over a kernel whose launcher is gone, and serve it until Ctrl-C.

    Prints its connection file, for jupyter console --existing FILE or another frontend. Without
    KERNEL, it is the one whose launcher left last. After Ctrl-C it waits again.
    """
    from ..launcher.launcher import Launcher

    wanted = kernelspecs.target_of(name)
    with board_setup.at_board(wanted) as board:
        found, _ = board.kernels()
    chosen = _pick(found, kernel, wanted) if kernel is not None else _last_orphan(found, wanted)
    report = Report()
    with connection_file.made() as path:
        log_file.start(str(path), settings["debug"])
        Launcher(wanted, str(path), chosen, on_ready=lambda: report.say(str(path))).run()


def _pick(found: list[KernelStatus], wanted: str, where: Target) -> KernelStatus:
    """Return the kernel whose id begins with what the user says. Raises NoKernel."""
    fitting = [kernel for kernel in found if kernel.id.startswith(wanted)]
    if len(fitting) != 1:
        raise errors.NoKernel(kernel=wanted, host=where.name)
    return fitting[0]


def _last_orphan(found: list[KernelStatus], where: Target) -> KernelStatus:
    orphans = [kernel for kernel in found if kernel.away is not None]
    if not orphans:
        raise errors.NoOrphan(host=where.name)
    return min(orphans, key=lambda kernel: kernel.away or 0.0)


@rkernel.command()
def demo() -> None:
    """Run a short notebook on a board that this machine plays."""
    from . import demo as demonstration

    demonstration.run(Report())


def _target(
    host: str | None,
    user: str | None,
    port: int | None,
    identity: str | None,
    variables: tuple[str, ...],
    **options: Any,
) -> Target:
    """Return what the options say. Raises BadOption and click.UsageError."""
    if (options["via"] == "local") == bool(host):
        wrong = "--via local is this machine: leave out --host." if host else "--host is missing."
        raise click.UsageError(wrong, click.get_current_context())
    said_user, name, said_port = target.split_host(host) if host else (None, "", None)
    target.seconds(options["orphan_timeout"])
    target.check_port("--link-port", options["link_port"])
    target.check_timeout(options["link_timeout"])
    target.check_rate(options["frame_rate"])
    target.check_port("--video-port", options["video_port"])
    target.check_path(options["video_path"])
    return Target(
        host=name,
        user=user or said_user,
        port=target.check_port("--port", port) or said_port,
        # a frontend starts the launcher in another folder
        identity=str(Path(identity).expanduser().absolute()) if identity else None,
        env=target.parse_env(variables),
        **options,
    )


def _claim(name: str, yes: bool, attended: bool) -> None:
    """Make sure that the name is free, or may be used again."""
    try:
        kernelspecs.check_name(name, replace=yes)
    except errors.ForeignName:
        raise
    except errors.NameTaken:
        if not attended or not click.confirm(f"Replace the kernel {name} that is there"):
            raise
