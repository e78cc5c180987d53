"""What a kernel's clients have to hear, and what they heard: nothing less, nothing twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]

DIGEST = 64  # characters before a display's data: their SHA-256
FAULTS = 20  # that are kept in words


@dataclass(frozen=True)
class Expected:
    """What every client has to hear of a request: its text, its displays, its error's name."""

    kind: str
    text: str = ""
    displays: int = 0
    error: str = ""


@dataclass
class Heard:
    """What one client heard of a request."""

    text: list[str] = field(default_factory=list)
    displays: int = 0
    broken: int = 0
    error: str = ""
    idle: bool = False

    def take(self, message: Message) -> None:
        """Note a message of iopub."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream" and content["name"] == "stdout":  # stderr tells of the link
            self.text.append(content["text"])
        elif kind == "display_data":
            data = content["data"]["text/plain"]
            digest = hashlib.sha256(data[DIGEST:].encode()).hexdigest()
            self.displays += 1
            self.broken += digest != data[:DIGEST]
        elif kind == "error":
            self.error = content["ename"]
        elif content.get("execution_state") == "idle":
            self.idle = True


@dataclass
class Counts:
    """What came of all requests, as every client heard it."""

    requests: Counter[str] = field(default_factory=Counter)
    received: int = 0
    lost: int = 0
    twice: int = 0
    disordered: int = 0
    faults: list[str] = field(default_factory=list)
    more_faults: int = 0

    def fault(self, sentence: str) -> None:
        """Note that something is wrong."""
        if len(self.faults) < FAULTS:
            self.faults.append(sentence)
        else:
            self.more_faults += 1

    def check(self, who: str, expected: Expected, heard: Heard) -> None:
        """Compare what a client heard of a request with what it had to hear."""
        wanted, found = expected.text.splitlines(), "".join(heard.text).splitlines()
        times = Counter(found)
        lost = [line for line in wanted if line not in times]
        twice = sum(count - 1 for count in times.values())
        disordered = not lost and not twice and found != wanted
        self.received += len(wanted) - len(lost)
        self.lost += len(lost)
        self.twice += twice
        self.disordered += disordered
        what = f"{who}, {expected.kind}"
        if lost or twice or disordered:
            self.fault(f"{what}: {len(lost)} lines lost, {twice} twice, disordered: {disordered}")
        if heard.displays != expected.displays or heard.broken:
            self.lost += max(0, expected.displays - heard.displays)
            self.twice += max(0, heard.displays - expected.displays)
            self.fault(f"{what}: {heard.displays} displays, {heard.broken} of them broken")
        if heard.error != expected.error:
            self.fault(f"{what}: error {heard.error!r} in place of {expected.error!r}")
        if not heard.idle:
            self.lost += 1
            self.fault(f"{what}: no idle")
