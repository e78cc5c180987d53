"""The boards that a search finds: the command line shows them, and lets a person choose one."""

from __future__ import annotations

import getpass
from typing import Any

import click

from .. import errors
from ..discovery.search import Findings, search
from ..discovery.sightings import SSH_PORT, Found
from ..target import RPYC_PORT, Target, join_host
from ..transports import ssh
from . import kernelspecs
from .console import Report

REASONS = (
    "The board is in another network, such as the guests' WiFi, or has not started yet.",
    "The access point keeps its clients apart. Use a cable, or another access point.",
    "The board runs no sshd. On a Raspberry Pi, raspi-config switches it on.",
)


def look(report: Report, scan: bool, ask: bool) -> Findings:
    """Search for boards.

    Args:
        report: Where to show how long it takes.
        scan: Whether to scan the networks, too.
        ask: Whether to offer a scan if nothing else finds a board.
    """
    added = kernelspecs.all_targets()
    with report.stage("Searching for boards"):
        findings = search(scan, added)
    if findings.found or scan or not ask or not findings.scannable:
        return findings
    where = " and ".join(map(str, findings.scannable))
    if not click.confirm(f"rkernel found no board. Try the ports of every address in {where}"):
        return findings
    with report.stage("Searching again"):
        return search(True, added)


def explain(report: Report, findings: Findings) -> None:
    """Say what was tried in vain, and what the reason may be."""
    report.warn("rkernel found no board. It tried:")
    for line in findings.tried:
        report.warn(f"- {line}")
    report.warn("The likeliest reasons:")
    for line in REASONS:
        report.warn(f"- {line}")
    report.warn("To try the ports of every address in your networks: rkernel find --scan")
    report.warn("If you know the board's address: rkernel add --host ADDRESS")


def choose(report: Report, texts: dict[str, Any]) -> dict[str, Any]:
    """Search for boards, and ask which one to add.

    Args:
        report: Where to show them.
        texts: What the options of `rkernel add` say, by their names.

    Returns:
        The same with the chosen board.

    Raises:
        click.UsageError: There is none to choose from.
        click.Abort: The person wants none of them.
    """
    findings = look(report, scan=False, ask=True)
    offered = [each for each in findings.found if _ways(each, texts["via"])]
    if not findings.found:
        explain(report, findings)
    if not offered:
        report.boards(findings.found)
        wrong = "--host is missing, and rkernel found no board that it could add."
        raise click.UsageError(wrong, click.get_current_context())
    report.boards(offered, numbered=True)
    if len(offered) == 1:
        click.confirm("Add this board", default=True, abort=True)
        chosen = offered[0]
    else:
        chosen = offered[click.prompt("Which board", type=click.IntRange(1, len(offered))) - 1]
    return texts | _texts(chosen, texts)


def _ways(found: Found, via: str) -> list[str]:
    """Return the ways to a board that an option --via allows, the best one first."""
    if found.trouble:
        return []
    return [way for way in ("ssh", "adb", "rpyc") if way in found.ways and via in ("auto", way)]


def _texts(found: Found, texts: dict[str, Any]) -> dict[str, Any]:
    """Return what the options of `rkernel add` must say to reach a board."""
    way = _ways(found, texts["via"])[0]
    if way == "adb":
        return {"via": way, "host": found.address}
    usual = {"ssh": SSH_PORT, "rpyc": RPYC_PORT}[way]
    port = found.ways[way] if found.ways[way] != usual else None
    # not --via auto: where ssh answers, a login that fails must not end at a service without one
    chosen: dict[str, Any] = {"via": way, "host": join_host(None, found.address, port)}
    if way == "ssh" and not texts["user"]:
        own = _own_account(Target(host=found.address, port=port, ssh_command=texts["ssh_command"]))
        account = click.prompt("Account on the board", default=found.user or own)
        chosen["user"] = account if account != own else None
    return chosen


def _own_account(target: Target) -> str:
    """Return the account that ssh takes if nobody names one."""
    try:
        return ssh.login(target)[0].rpartition("@")[0]
    except errors.RkernelError:
        return getpass.getuser()
