"""The report for a bug: all that the doctor found, with the versions of everything."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from typing import NamedTuple

from ...board import agent_archive
from ...target import OPTIONS, Target
from .rung import Finding
from .scrubbing import Scrub
from .visit import Visit

_PACKAGES = (
    *("click", "ipykernel", "jupyter_client", "jupyter_core", "jupyterlab", "notebook", "keyring"),
    *("paramiko", "pyzmq", "rich", "rpyc", "tornado", "traitlets", "adbutils", "packaging"),
)
# Options whose values tell nobody's name and no secret.
_TOLD = (
    *("via", "ssh", "host_key", "ipykernel", "warm_start", "link_port", "orphan_timeout"),
    *("link_timeout", "frame_rate", "video", "video_port", "reattach", "debugger", "port"),
)
_SSH_SAID = "ssh said: "


class Section(NamedTuple):
    """A part of the report.

    Attributes:
        title: What was looked at.
        findings: What was found.
        visits: The boards that were visited.
    """

    title: str
    findings: list[Finding]
    visits: Sequence[Visit] = ()


def render(sections: Iterable[Section], scrub: Scrub) -> str:
    """Return the text of a report.

    Args:
        sections: What was found.
        scrub: Takes out what must not be in it.
    """
    lines = ["# rkernel doctor", "", *_versions()]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        for visit in section.visits:
            if visit.target is not None:
                options = ", ".join(_options(visit.target))
                lines.append(f"Options of {visit.name or 'this board'}: {options}")
        for finding in section.findings:
            lines += _lines(finding)
    return scrub("\n".join(lines) + "\n")


def _versions() -> Iterator[str]:
    yield f"rkernel {metadata.version('rkernel')}, code for the board {agent_archive.version()}"
    yield f"Python {platform.python_version()} ({sys.implementation.name}), {platform.platform()}"
    yield ", ".join(filter(None, map(_version, _PACKAGES)))


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return ""


def _options(target: Target) -> Iterator[str]:
    """Yield the options that differ from their defaults; of some the name alone."""
    for option in OPTIONS:
        value = getattr(target, option.name)
        if value != option.default and value not in (None, ()):
            yield f"{option.flag} {value}" if option.name in _TOLD else option.flag


def _lines(finding: Finding) -> Iterator[str]:
    mark = f"✗ {finding.wrong}" if finding.wrong else "✓"
    yield f"- {finding.title} {mark} ({finding.seconds:.1f} s): {finding.text}"
    if finding.remedy:
        yield f"  - remedy: {finding.remedy}"
    for entry in finding.log:
        yield from (f"  - {line}" for line in _kept(entry))


def _kept(entry: str) -> list[str]:
    """Return the lines of a log's entry that a report needs.

    What a server says to whoever comes is among what ssh says, and may name anybody.
    """
    lines = [line.removesuffix("\\r") for line in entry.splitlines()] or [""]
    if not lines[0].startswith(_SSH_SAID):
        return lines
    return [lines[0], *(line for line in lines[1:] if line.startswith("debug"))]
