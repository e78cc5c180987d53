"""The table of boards at USB cables: what a PC's own addresses tell, and what they do not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkernel_launcher.discovery import usb

HOSTS = st.builds(IPv4Interface, st.tuples(st.ip_addresses(v=4), st.integers(8, 32)))


@pytest.mark.parametrize(
    ("own", "board", "model"),
    [
        ("10.131.167.100/24", "10.131.167.1", "perhaps a MaixCAM"),
        ("10.12.194.2/28", "10.12.194.1", "Raspberry Pi"),
        ("192.168.42.7/24", "192.168.42.1", "Milk-V Duo"),
        ("192.168.55.100/24", "192.168.55.1", "NVIDIA Jetson"),
        ("172.32.0.100/16", "172.32.0.93", "Luckfox"),
        ("192.168.7.1/24", "192.168.7.2", "BeagleBone"),
    ],
)
def test_where_a_board_is(own: str, board: str, model: str) -> None:
    (found,) = usb.look([IPv4Interface(own)]).sightings
    assert (found.address, found.model, found.is_board) == (board, model, True)


@pytest.mark.parametrize(
    "own",
    [
        "10.131.167.101/24",  # a MaixCAM gives its PC .100
        "192.168.42.1/24",  # the board itself, when it plays the PC
        "10.12.194.16/28",  # the next network
        "192.168.1.100/24",
        "172.31.0.100/16",
    ],
)
def test_where_none_is(own: str) -> None:
    outcome = usb.look([IPv4Interface(own)])
    assert outcome.sightings == ()
    assert "no address of this PC" in outcome.tried


@given(HOSTS)
def test_a_board_is_a_neighbour_of_the_pc(own: IPv4Interface) -> None:
    for found in usb.look([own]).sightings:
        board = IPv4Address(found.address)
        assert board in IPv4Interface((own.ip, 16)).network and board != own.ip


def test_each_rule_can_be_met() -> None:
    for rule in usb.RULES:
        pcs = [rule.network.network_address + n for n in (rule.pc, 2, 3) if n is not None]
        found = [s for pc in pcs for s in usb.look([IPv4Interface((pc, 24))]).sightings]
        assert rule.model in {each.model for each in found}
