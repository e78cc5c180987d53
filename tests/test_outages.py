"""The link breaks in every way it can, and the frontend sees no more than a pause."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest
from boards import wait_until
from kernels import Frontend, attached, is_idle, started
from network import Network
from remote import Remote, remote

LINES = 80
PRINTING = f"import time\nfor i in range({LINES}): print(i, flush=True); time.sleep(0.05)\nkept = i"
ALL = "".join(f"{i}\n" for i in range(LINES))
QUICK = ("--link-timeout", "2")


@pytest.fixture(scope="module")
def board() -> Iterator[Remote]:
    with remote() as found:
        yield found


@pytest.fixture(autouse=True)
def fair_again(board: Remote) -> Iterator[None]:
    yield
    board.network.restore()


def dropped(network: Network) -> None:
    network.reset()


def swallowed(network: Network) -> None:
    network.hole()


def one_way_up(network: Network) -> None:
    network.hole(down=False)


def one_way_down(network: Network) -> None:
    network.hole(up=False)


CUTS = [dropped, swallowed, one_way_up, one_way_down]


def print_through(
    kernel: Frontend, board: Remote, cut: Callable[[Network], None], seconds: float, **restored: bool
) -> str:
    """Run the cell that prints, cut the network in the middle of it, and return what came."""
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10")
    cut(board.network)
    time.sleep(seconds)  # that is what an outage is
    board.network.restore(**restored)
    result = kernel.finish(number)
    assert result.reply["content"]["status"] == "ok"
    published = [m["content"] for m in [*begun, *result.published] if m["msg_type"] == "stream"]
    return "".join(part["text"] for part in published if part["name"] == "stdout")


@pytest.mark.parametrize("cut", CUTS)
def test_nothing_is_lost_when_the_link_breaks(
    board: Remote, cut: Callable[[Network], None]
) -> None:
    with started(board, *QUICK) as kernel:
        assert print_through(kernel, board, cut, 3.0) == ALL  # the link is given up within 2 s
        assert kernel.value("kept") == str(LINES - 1)
