"""What a scan may cover, and what a table of neighbours tells."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkernel_launcher.discovery.networks import is_near, model_of, parse_neighbours, scannable

TABLE = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.43.44    0x1         0x2         b8:27:eb:01:02:03     *        wlan0
192.168.43.45    0x1         0x0         00:00:00:00:00:00     *        wlan0
192.168.43.1     0x1         0x6         3c:37:86:aa:bb:cc     *        wlan0
"""
INTERFACES = st.builds(IPv4Interface, st.tuples(st.ip_addresses(v=4), st.integers(0, 32)))


@pytest.mark.parametrize(
    ("own", "parts"),
    [
        (["192.168.1.5/24"], ["192.168.1.0/24"]),
        (["10.20.30.40/8"], ["10.20.30.0/24"]),
        (["192.168.55.100/28"], ["192.168.55.96/28"]),
        (["192.168.1.5/24", "192.168.1.6/24"], ["192.168.1.0/24"]),
        (["8.8.8.8/24", "169.254.7.7/16", "100.64.0.1/10", "10.0.0.1/32"], []),
    ],
)
def test_what_a_scan_covers(own: list[str], parts: list[str]) -> None:
    assert [str(part) for part in scannable([IPv4Interface(each) for each in own])] == parts


@given(st.lists(INTERFACES, max_size=5))
def test_a_scan_stays_near_the_pc(own: list[IPv4Interface]) -> None:
    for part in scannable(own):
        assert part.num_addresses <= 256 and part.is_private
        assert any(each.ip in part for each in own)


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("192.168.1.9", True),
        ("192.168.1.5", False),  # the PC itself
        ("10.9.9.9", True),  # behind a router that passes mDNS on
        ("203.0.113.9", True),
        ("203.0.114.9", False),
        ("127.0.0.1", False),
        ("169.254.1.1", False),
    ],
)
def test_who_may_be_asked(address: str, near: bool) -> None:
    own = [IPv4Interface("192.168.1.5/24"), IPv4Interface("203.0.113.5/24")]
    assert is_near(address, own) is near


def test_neighbours_whose_mac_address_is_known() -> None:
    macs = {"192.168.43.44": "b8:27:eb:01:02:03", "192.168.43.1": "3c:37:86:aa:bb:cc"}
    assert parse_neighbours(TABLE) == macs
    assert [model_of(mac) for mac in macs.values()] == ["Raspberry Pi", ""]


@given(st.text() | st.text().map(lambda text: f"{text} 0x1 0x2 b8:27:eb:01:02:03 * x"))
def test_any_table_gives_addresses(table: str) -> None:
    for address in parse_neighbours(table):
        IPv4Address(address)
