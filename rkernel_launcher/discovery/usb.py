"""Boards at a USB cable that they make a network of: the PC's own address tells where the board is.

To add a board, add a line to `RULES`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import NamedTuple

from .sightings import Outcome, Sighting

SOURCE = "USB"


class Rule(NamedTuple):
    """How the boards of one kind number their network.

    Attributes:
        model: The kind of board, for people.
        network: Where the PC's own address lies then.
        board: The board's address, or its last part if the cable's network varies.
        pc: The last part of the PC's own address; None if that varies.
        user: The account that the board has from the beginning; empty if its owner chose it.
    """

    model: str
    network: IPv4Network
    board: str
    pc: int | None = None
    user: str = ""


RULES = (
    Rule("perhaps a MaixCAM", IPv4Network("10.0.0.0/8"), "1", pc=100, user="root"),
    Rule("Raspberry Pi", IPv4Network("10.12.194.0/28"), "10.12.194.1"),  # rpi-usb-gadget
    Rule("Milk-V Duo", IPv4Network("192.168.42.0/24"), "192.168.42.1", user="root"),
    Rule("NVIDIA Jetson", IPv4Network("192.168.55.0/24"), "192.168.55.1"),
    Rule("Luckfox", IPv4Network("172.32.0.0/16"), "172.32.0.93", user="root"),
    Rule("BeagleBone", IPv4Network("192.168.7.0/24"), "192.168.7.2", user="debian"),
)


def look(own: list[IPv4Interface]) -> Outcome:
    """Return where boards should be, judging by this PC's own addresses.

    Args:
        own: What `networks.interfaces` returned.
    """
    seen = [found for each in own for rule in RULES if (found := _board(rule, each))]
    places = ", ".join(each.address for each in seen) or "no address of this PC is of that kind"
    return Outcome(tuple(seen), f"the addresses that boards use on a USB cable: {places}")


def _board(rule: Rule, own: IPv4Interface) -> Sighting | None:
    if own.ip not in rule.network:
        return None
    if rule.pc is None:
        address = IPv4Address(rule.board)
    else:
        first = IPv4Interface((own.ip, 24)).network.network_address
        address = first + int(rule.board)
        if own.ip != first + rule.pc:
            return None
    if address == own.ip:
        return None
    return Sighting(str(address), SOURCE, model=rule.model, user=rule.user, is_board=True)
