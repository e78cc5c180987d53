"""Several sources that have seen one host become one row, and not every host becomes one."""

from __future__ import annotations

from rkernel_launcher.discovery.sightings import Answer, Found, Sighting, by_address, join

HOST = "10.1.2.3"
SSH = Answer({"ssh": 22}, "Debian")
NOTHING = Answer({}, exists=False)
REFUSED = Answer({})


def test_all_that_is_known_is_in_one_row() -> None:
    seen = by_address(
        [
            Sighting(HOST, "mDNS", name="pi.local"),
            Sighting("10.1.2.4", "mDNS"),
            Sighting(HOST, "USB", model="Duo", user="root", is_board=True),
            Sighting(HOST, "mDNS", name="other.local", model="other"),
        ]
    )
    assert list(seen) == [HOST, "10.1.2.4"]
    sources = ("mDNS", "USB")
    expected = Found(HOST, "pi.local", "Duo", "Debian", {"ssh": 22}, sources, user="root")
    assert join(seen[HOST], SSH) == expected


def test_a_name_from_elsewhere_is_the_last_resort() -> None:
    named = join([Sighting(HOST, "scan")], SSH, "kitchen.local")
    assert named is not None and named.name == "kitchen.local"
    named = join([Sighting(HOST, "mDNS", name="pi.local")], SSH, "kitchen.local")
    assert named is not None and named.name == "pi.local"


def test_a_host_where_nothing_answers_counts_if_it_is_a_board_and_exists() -> None:
    board, host = Sighting(HOST, "MAC", is_board=True), Sighting(HOST, "mDNS")
    silent = join([host, board], REFUSED)
    assert silent is not None and silent.trouble == "neither ssh nor rpyc answers"
    assert join([host], REFUSED) is None
    assert join([board], NOTHING) is None
    assert join([host], SSH) is not None
