"""The networks that this PC is in, and its neighbours there."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

_TABLE = Path("/proc/net/arp")  # Linux; elsewhere we do without
_NEIGHBOUR = re.compile(r"^([0-9.]+) +0x\w+ +0x(\w+) +([0-9a-f]{2}(?::[0-9a-f]{2}){5}) ", re.M)
_COMPLETE = 0x2  # the flag of an entry whose MAC address is known, see arp(7)
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))  # RFC 1918
_SCAN_PREFIX = 24  # the largest network to scan
# The makers' blocks of MAC addresses: Raspberry Pi Foundation, Raspberry Pi (Trading) Ltd.
_RASPBERRY_PI = ("28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01")


def interfaces() -> list[IPv4Interface]:
    """Return this PC's own IPv4 addresses with their networks, but for the loopback's."""
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str):  # IPv6 is a tuple
                found.append(IPv4Interface(f"{ip.ip}/{ip.network_prefix}"))
    return [each for each in found if not each.ip.is_loopback]


def scannable(own: list[IPv4Interface]) -> list[IPv4Network]:
    """Return the networks that a scan covers: private ones, of each the part around this PC.

    Args:
        own: What `interfaces` returned.
    """
    parts = [
        IPv4Interface((each.ip, max(each.network.prefixlen, _SCAN_PREFIX))).network
        for each in own
        if each.network.num_addresses > 1
    ]
    return list(dict.fromkeys(part for part in parts if _is_private(part.network_address)))


def is_near(address: str, own: list[IPv4Interface]) -> bool:
    """Say whether a host may be asked what it is, although nobody has named it.

    Anybody in a network can publish any address there. So a host has to be in a network of this
    PC, or have a private address, as behind a router that passes mDNS on.

    Args:
        address: The host's address.
        own: What `interfaces` returned.
    """
    ip = IPv4Address(address)
    if ip.is_loopback or any(each.ip == ip for each in own):
        return False
    return _is_private(ip) or any(ip in each.network for each in own)


def neighbours() -> dict[str, str]:
    """Return the MAC addresses of the hosts that this PC has lately spoken to, by their address."""
    try:
        return parse_neighbours(_TABLE.read_text("ascii", "replace"))
    except OSError:
        return {}


def parse_neighbours(table: str) -> dict[str, str]:
    """Return the MAC addresses in a table as /proc/net/arp has it, by address."""
    return {
        address: mac
        for address, flags, mac in _NEIGHBOUR.findall(table)
        if int(flags, 16) & _COMPLETE and _is_address(address)
    }


def model_of(mac: str) -> str:
    """Return the kind of board that a MAC address tells; empty if it tells none."""
    return "Raspberry Pi" if mac.startswith(_RASPBERRY_PI) else ""


def _is_private(ip: IPv4Address) -> bool:
    return any(ip in network for network in _PRIVATE)


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
