"""The rungs on the board, up to a link with its agent."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import PurePosixPath

from ... import errors
from ...board import agent_archive, condition, requirements
from ...board.agent_endpoint import new_session, shake_hands
from ...board.answers import Agent, Agents, Complaint, Condition, Facts, Place, never
from ...board.board import NO_SPACE, unwritable
from ...board.bundle import upload
from ...errors import RkernelError
from .rung import Rung
from .visit import Visit

_SKEW_SECONDS = 60.0  # that clocks may differ


def clock(visit: Visit) -> str | RkernelError:
    """Compare the board's clock with ours."""
    begun, ended = visit.looked
    right = (begun + ended) / 2
    found = _condition(visit)
    ahead = found.now - right
    if abs(ahead) <= _SKEW_SECONDS + (ended - begun) / 2:
        return f"right to {max(1.0, abs(ahead)):.0f} s"
    return errors.ClockOff(
        seconds=abs(ahead),
        direction="ahead of" if ahead > 0 else "behind",
        now=datetime.fromtimestamp(found.now, timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        right=right,
    )


def disk(visit: Visit) -> str | RkernelError:
    """Look at whether the board takes files."""
    found = _condition(visit)
    for place in (found.cache, found.temporary):
        if place.trouble:
            return _no_room(place, place is found.temporary)
    rooms = (
        f"{place.free >> 20} MB free for {place.path}" for place in (found.cache, found.temporary)
    )
    return ", ".join(rooms)


def _no_room(place: Place, temporary: bool) -> RkernelError:
    if place.trouble in NO_SPACE and place.files == 0:
        return errors.NoInodes(path=place.path)
    if temporary:
        return errors.TmpUnusable(path=place.path, detail=place.detail)
    return unwritable(Complaint(place.trouble, place.detail, place.path))


def code(visit: Visit) -> str:
    """Look at our code on the board, and put it there."""
    found, version = _condition(visit), agent_archive.version()
    if found.code not in (None, version):
        path = PurePosixPath(found.cache.path, f"code-{version}")
        raise errors.CodeDamaged(path=path)
    visit.board().prepare()
    return f"{version}, {'it was there' if found.code else 'sent now'}"


def packages(visit: Visit) -> str:
    """Look at the board's Python and its packages."""
    found = visit.facts = visit.board().facts()
    target = visit.wanted
    visit.target = replace(target, ipykernel=requirements.choose_ipykernel(found, target))
    own = ", ".join(f"{name} {version}" for name, version in found.packages.items() if version)
    if visit.target.ipykernel == "bundled":
        own = upload.packages(found.python)
    return f"Python {found.python} at {found.executable}; {own}"


def memory(visit: Visit) -> str | RkernelError:
    """Look at whether the board has memory for a kernel."""
    found = _facts(visit)
    try:
        requirements.check_memory(found, visit.wanted)
    except errors.NoMemory as error:
        return error
    if found.memory_available is None or found.memory_total is None:
        return "the board does not say"
    return f"{found.memory_available >> 20} MB available of {found.memory_total >> 20} MB"


def agent(visit: Visit) -> str:
    """Look at the agents on the board, and start ours."""
    board, version = visit.board(), agent_archive.version()
    running = board.ask(Agents, never, "find_agents").agents
    others = [found for found in running if _version(found) != version]
    try:
        visit.agent = board.start_agent()
    except errors.LinkPortTaken as error:
        if any(found.port == visit.wanted.link_port for found in others):
            raise errors.OtherAgentHasPort(port=error.facts["port"]) from error
        raise
    text = "runs" if len(others) < len(running) else "started now"
    return text + (f"; {len(others)} of another version of rkernel, too" if others else "")


def _version(found: Agent) -> str:
    """Return the hash of an agent's code, with which the name of its folder begins."""
    return PurePosixPath(found.socket).parent.name.partition("-")[0]


def link(visit: Visit) -> str:
    """Measure the connection, and connect to the agent."""
    board = visit.board()
    speed = condition.measure(board.session)
    endpoint = visit.agent
    assert endpoint is not None
    try:
        stream = board.connect(endpoint)
    except errors.ConnectTimeout as error:  # the board is on: its rpyc service has answered
        raise errors.PortFiltered(host=visit.wanted.host, port=endpoint.port) from error
    shake_hands(stream, endpoint, new_session(), 0, visit.wanted.name)
    stream.close()
    up, down = (rate / (1 << 20) for rate in (speed.up, speed.down))
    return f"round trip {speed.round_trip * 1000:.0f} ms, {up:.1f} MB/s up, {down:.1f} MB/s down"


RUNGS = [
    Rung("Clock", clock),
    Rung("Disk", disk),
    Rung("Code", code),
    Rung("Packages", packages),
    Rung("Memory", memory),
    Rung("Agent", agent),
    Rung("Link", link),
]


def _condition(visit: Visit) -> Condition:
    assert visit.condition is not None
    return visit.condition


def _facts(visit: Visit) -> Facts:
    assert visit.facts is not None
    return visit.facts
