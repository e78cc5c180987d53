"""What a board must have, and what to do where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from rkernel_launcher.board import requirements
from rkernel_launcher.board.answers import Facts
from rkernel_launcher.errors import (
    BadOption,
    NoBundle,
    NoIpykernel,
    NoMemory,
    OldPackages,
    UnknownBoard,
)
from rkernel_launcher.target import Target

BOARD = Target(host="pi", via="ssh")


FACTS = Facts(
    model="Raspberry Pi",
    machine="armv7l",
    system="Linux",
    os="Debian",
    hostname="pi",
    python="3.11.2",
    executable="/usr/bin/python3",
    packages={"ipykernel": "7.4.0", "debugpy": "1.8.0"},
    missing=[],
    requires=[],
    encoder=None,
    memory_total=128 << 20,
    memory_available=100 << 20,
    installers=[],
    pip=False,
)


def found(**more: Any) -> Facts:
    return FACTS._replace(**more)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"installers": ["apt-get"], "pip": True}, "as root: apt-get install python3-ipykernel"),
        ({"installers": ["apk"]}, "as root: apk add py3-ipykernel"),
        (
            {"installers": ["apt-get"], "pip": True, "executable": "/v/bin/python"},
            "/v/bin/python -m pip",
        ),
        ({"installers": ["opkg"], "pip": True}, "/usr/bin/python3 -m pip install ipykernel"),
        ({"installers": ["opkg"]}, "opkg install python3-pip && "),
        ({}, "That Python has no pip. Run there: /usr/bin/python3 -m ensurepip && "),
    ],
)
def test_how_to_install_ipykernel_on_that_board(facts: dict[str, Any], words: str) -> None:
    with pytest.raises(NoIpykernel) as caught:
        requirements.check(found(missing=["ipykernel", "zmq"], **facts), BOARD)
    assert "on pi has no ipykernel" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("demand", "version", "enough"),
    [
        (">=25", "24.0.1", False),
        (">=25", "25.0", True),
        (">=25.0.0", "25", True),
        ("!=6.0.*,>=5.1", "5.0.9", False),
        (">=6.4.1,<7", "6.10", True),
        (">=6.4.1", "6.4.1rc1", True),
        ("", "1", True),
        ("<8", "9", True),  # what is too new shows when it is tried
        (">=1", "unknown", False),
        (">=", "1", True),  # nonsense
    ],
)
def test_packages_too_old_for_ipykernel(demand: str, version: str, enough: bool) -> None:
    facts = found(requires=[(f"pyzmq{demand}", version)])
    if enough:
        requirements.check(facts, BOARD)
    else:
        with pytest.raises(
            OldPackages, match=r"7\.4\.0 needs pyzmq .* or newer, but the board has"
        ):
            requirements.check(facts, BOARD)


def test_the_debugger_needs_debugpy() -> None:
    facts = found(packages={"ipykernel": "7.4.0", "debugpy": None}, pip=True)
    requirements.check(facts, BOARD)
    with pytest.raises(NoIpykernel, match="pip install debugpy"):
        requirements.check(facts, Target(host="pi", via="ssh", debugger=True))


@pytest.mark.parametrize(("available", "enough"), [(17, False), (32, True), (None, True)])
def test_a_board_with_too_little_memory(available: int | None, enough: bool) -> None:
    facts = found(memory_available=available and available << 20)
    if enough:
        requirements.check(facts, BOARD)
    else:
        with pytest.raises(
            NoMemory, match="17 MB of memory available, but a kernel takes about 40"
        ):
            requirements.check(facts, BOARD)


def test_macos_plays_a_board_but_is_none() -> None:
    requirements.check(found(system="Darwin"), Target(via="local"))
    with pytest.raises(UnknownBoard):
        requirements.check(found(system="Darwin"), BOARD)


def test_whose_packages_a_kernel_uses() -> None:
    def chosen(wanted: str, debugger: bool = False, **facts: Any) -> str:
        target = Target(host="pi", via="ssh", ipykernel=wanted, debugger=debugger)
        return requirements.choose_ipykernel(found(**facts), target)

    old = [("pyzmq>=25", "24.0.1")]
    assert chosen("auto") == chosen("board") == "board"
    assert chosen("bundled") == "bundled"
    assert chosen("auto", missing=["ipykernel"]) == chosen("auto", requires=old) == "bundled"
    for wanted, more, error in (
        ("board", {"missing": ["ipykernel"]}, NoIpykernel),
        ("board", {"requires": old}, OldPackages),
        ("auto", {"missing": ["zmq"], "python": "3.7.3"}, NoIpykernel),
        ("auto", {"missing": ["zmq"], "system": "Darwin"}, UnknownBoard),
        ("auto", {"missing": ["zmq"], "debugger": True}, NoIpykernel),
        ("bundled", {"python": "3.7.3"}, NoBundle),
        ("bundled", {"debugger": True}, BadOption),
    ):
        with pytest.raises(error):
            chosen(wanted, **more)


@pytest.mark.parametrize(("via", "least"), [("ssh", 10), ("rpyc", 20)])
def test_packages_that_are_sent_need_memory_of_their_own(via: str, least: int) -> None:
    """What is available is what the session leaves, and over rpyc that stays."""
    board = Target(host="pi", via=via, ipykernel="bundled")
    facts = found(missing=["ipykernel", "zmq"], memory_available=least << 20)
    requirements.check(facts, board)
    facts = found(missing=["ipykernel", "zmq"], memory_available=(least << 20) - 1)
    with pytest.raises(NoMemory, match=f"has {least - 1} MB of .* takes about 20 MB"):
        requirements.check(facts, board)
