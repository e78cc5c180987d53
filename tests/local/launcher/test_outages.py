"""The link breaks in every way it can, and the frontend sees no more than a pause."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import zmq

from rkernel_launcher import errors
from tests.support.boards import wait_until
from tests.support.commands import assert_refused
from tests.support.kernels import Frontend, Message, attached_at_once, is_idle, seconds_of, started
from tests.support.network import Network
from tests.support.remote import Remote, remote
from tests.support.shown import displays, level

LINES = 80
PRINTING = f"import time\nfor i in range({LINES}): print(i, flush=True); time.sleep(0.05)\nkept = i"
ALL = "".join(f"{i}\n" for i in range(LINES))
QUICK = ("--link-timeout", "2")  # a silent link is given up after 2 s, not 10
OUTAGE = 3.0  # seconds


@pytest.fixture(scope="module")
def board() -> Iterator[Remote]:
    with remote() as found:
        yield found


@pytest.fixture(autouse=True)
def mended(board: Remote) -> Iterator[None]:
    yield
    board.network.restore()


@pytest.fixture
def kernel(board: Remote) -> Iterator[Frontend]:
    with started(board, *QUICK) as found:
        found.run("kept = None")
        yield found
        board.network.restore()  # or it would not end its kernel


def dropped(network: Network) -> None:
    network.reset()


def swallowed(network: Network) -> None:
    network.hole()


def one_way_up(network: Network) -> None:
    network.hole(down=False)


def one_way_down(network: Network) -> None:
    network.hole(up=False)


CUTS = [dropped, swallowed, one_way_up, one_way_down]


def lost(kernel: Frontend, cut: Callable[[Network], None]) -> None:
    """Cut the network, and wait until the launcher knows."""
    board = kernel.board
    assert isinstance(board, Remote)
    count = kernel.log().count("the link is lost")
    cut(board.network)
    wait_until(lambda: kernel.log().count("the link is lost") > count, "the link is lost", 10)


def back(kernel: Frontend, **how: bool) -> None:
    """Mend the network, and wait until the launcher has its link again."""
    board = kernel.board
    assert isinstance(board, Remote)
    count = kernel.log().count("the link is back")
    board.network.restore(**how)
    wait_until(lambda: kernel.log().count("the link is back") > count, "the link is back", 30)


def text(published: list[Message], name: str = "stdout") -> str:
    parts = [m["content"] for m in published if m["msg_type"] == "stream"]
    return "".join(part["text"] for part in parts if part["name"] == name)


def all_of(kernel: Frontend, number: str, begun: list[Message]) -> list[Message]:
    """Wait for the end of a request, and return all that it published."""
    result = kernel.finish(number)
    assert result.reply["content"]["status"] == "ok"
    return begun + result.published


# --- output -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
def test_nothing_is_lost_in_the_middle_of_a_cell(
    kernel: Frontend, cut: Callable[[Network], None]
) -> None:
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10\n")
    lost(kernel, cut)
    back(kernel)
    assert text(all_of(kernel, number, begun)) == ALL
    assert kernel.value("kept") == str(LINES - 1)


@pytest.mark.parametrize("cut", CUTS)
def test_nothing_is_lost_across_the_end_of_a_cell(
    kernel: Frontend, board: Remote, cut: Callable[[Network], None]
) -> None:
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("60\n")
    lost(kernel, cut)
    time.sleep(OUTAGE)  # until the cell has ended
    back(kernel)
    assert text(all_of(kernel, number, begun)) == ALL
    assert kernel.value("kept") == str(LINES - 1)


def test_nothing_is_lost_when_the_old_connection_never_learns(kernel: Frontend) -> None:
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10\n")
    lost(kernel, swallowed)
    back(kernel, lost=True, told=False)
    assert text(all_of(kernel, number, begun)) == ALL


def test_nothing_is_lost_of_what_a_kernel_said_before_it_died(
    kernel: Frontend, board: Remote
) -> None:
    kernel.send(
        "import os, time; print('begun', flush=True); time.sleep(2)\n"
        "for i in range(20): print(i, os.urandom(1 << 17).hex(), flush=True)\n"
        "time.sleep(0.5); os._exit(9)"
    )
    kernel.until_printed("begun")
    lost(kernel, dropped)
    wait_until(lambda: not board.kernels(), "the kernel dies", 10)
    board.network.restore()
    printed = text(kernel.until_printed("19 "))
    assert [len(line) for line in printed.splitlines()] == [
        len(f"{i} ") + (1 << 18) for i in range(20)
    ]
    assert kernel.wait_for_end(30) == 9


def test_nothing_is_lost_when_sshd_is_restarted(kernel: Frontend, board: Remote) -> None:
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10\n")
    board.server.drop()
    assert text(all_of(kernel, number, begun)) == ALL
    assert "the link is back" in kernel.log()
    assert text(begun, "stderr") == ""


def test_nothing_is_lost_when_the_laptop_sleeps(kernel: Frontend) -> None:
    """Its clocks jump, and the board has long given it up."""
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10\n")
    kernel.signal(signal.SIGSTOP)
    try:
        time.sleep(2 * OUTAGE)
    finally:
        kernel.signal(signal.SIGCONT)
    assert text(all_of(kernel, number, begun)) == ALL


def test_nothing_is_lost_in_cut_after_cut(kernel: Frontend, board: Remote) -> None:
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("5\n")
    for last in (20, 35, 50):
        board.network.blip()
        begun += kernel.until_printed(f"{last}\n")
    assert text(all_of(kernel, number, begun)) == ALL


def test_large_things_come_whole(kernel: Frontend, board: Remote) -> None:
    code = (
        "import os, time\nfrom IPython.display import display\n"
        "for i in range(8):\n"
        "    data = os.urandom(1 << 20).hex()\n"
        "    display({'application/x-test': data}, raw=True); time.sleep(0.2)\n"
        "    print(hash(data), flush=True)"
    )
    number = kernel.send(code)
    begun = kernel.until(lambda m: m["msg_type"] == "display_data", "the first comes")
    for _ in range(3):
        board.network.blip()
        begun += kernel.until(lambda m: m["msg_type"] == "display_data", "the next comes")
    published = all_of(kernel, number, begun)
    shown = [m["content"]["data"] for m in published if m["msg_type"] == "display_data"]
    assert [len(data["application/x-test"]) for data in shown] == 8 * [2 << 20]
    assert len(text(published).split()) == 8


# --- what the user does meanwhile ---------------------------------------------------------------


def by_message(kernel: Frontend) -> None:
    kernel.manager.interrupt_kernel()


def by_signal(kernel: Frontend) -> None:
    for _ in range(3):  # impatience is no reason to interrupt the next cell as well
        kernel.signal(signal.SIGINT)


@pytest.mark.parametrize("how", [by_message, by_signal])
def test_an_interrupt_takes_effect_when_the_link_is_back(
    kernel: Frontend, how: Callable[[Frontend], None]
) -> None:
    number = kernel.send("kept = 7; print('begun', flush=True)\nwhile True: pass")
    kernel.until_printed("begun")
    lost(kernel, dropped)
    how(kernel)
    again = kernel.send("import time; time.sleep(0.5); print('after')", stop_on_error=False)
    back(kernel)
    kernel.until(is_idle(number), "the cell is interrupted")
    assert kernel.reply(number)["content"]["ename"] == "KeyboardInterrupt"
    result = kernel.finish(again)
    assert result.reply["content"]["status"] in ("ok", "aborted")  # as with any interrupt
    assert kernel.value("kept") == "7"


def test_a_shutdown_takes_effect_when_the_link_is_back(kernel: Frontend, board: Remote) -> None:
    lost(kernel, dropped)
    message = kernel.client.session.msg("shutdown_request", {"restart": False})
    kernel.client.control_channel.send(message)
    assert len(board.kernels()) == 1
    board.network.restore()
    assert kernel.wait_for_end(30) == 0
    assert not board.kernels()


def test_what_is_asked_meanwhile_is_answered_in_order(kernel: Frontend) -> None:
    lost(kernel, swallowed)
    numbers = [kernel.send(f"print({i})") for i in range(5)]
    back(kernel)
    assert [kernel.finish(number).text() for number in numbers] == [f"{i}\n" for i in range(5)]


def test_input_is_asked_and_answered_across_outages(kernel: Frontend, board: Remote) -> None:
    number = kernel.send("import time; time.sleep(1); print(input('? '))", allow_stdin=True)
    lost(kernel, dropped)
    time.sleep(1)  # until it asks
    back(kernel)
    assert kernel.client.get_stdin_msg(timeout=kernel.limit)["content"]["prompt"] == "? "
    lost(kernel, swallowed)
    kernel.client.input("answer")
    back(kernel)
    assert "answer" in kernel.finish(number).text()


def test_a_client_that_comes_meanwhile_is_served_later(kernel: Frontend) -> None:
    lost(kernel, dropped)
    with attached_at_once(kernel) as other:
        number = other.send("print('hello')")
        back(kernel)
        assert other.reply(number)["content"]["status"] == "ok"
        assert other.value("kept") == "None"


def test_heartbeats_are_answered_meanwhile(kernel: Frontend) -> None:
    info = kernel.manager.get_connection_info()
    lost(kernel, swallowed)
    with zmq.Context() as context, context.socket(zmq.REQ) as heart:
        heart.linger = 0
        heart.connect(f"tcp://{info['ip']}:{info['hb_port']}")
        heart.send(b"beat")
        assert heart.poll(5000) and heart.recv() == b"beat"
    back(kernel)


# --- what the user is told ----------------------------------------------------------------------


def test_a_cell_says_once_that_the_link_is_lost_and_back(kernel: Frontend) -> None:
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10\n")
    lost(kernel, dropped)
    begun += kernel.until(lambda m: m["content"].get("name") == "stderr", "it is said")
    assert begun[-1]["content"]["text"] == "link to pi lost, reconnecting…\n"
    assert begun[-1]["parent_header"]["msg_id"] == number
    back(kernel)
    said = text(all_of(kernel, number, begun), "stderr").splitlines()
    assert said[0] == "link to pi lost, reconnecting…"
    assert len(said) == 2 and said[1].startswith("…back after ") and said[1].endswith(" s")
    assert kernel.run("print('quiet')").text("stderr") == ""


def test_nothing_is_said_where_no_cell_runs_or_the_outage_is_short(
    kernel: Frontend, board: Remote
) -> None:
    lost(kernel, dropped)
    time.sleep(OUTAGE)
    back(kernel)
    number = kernel.send(PRINTING)
    begun = kernel.until_printed("10\n")
    board.network.blip()
    assert text(all_of(kernel, number, begun), "stderr") == ""


def test_a_cell_that_is_sent_during_an_outage_says_what_it_waits_for(kernel: Frontend) -> None:
    lost(kernel, dropped)
    time.sleep(OUTAGE)
    number = kernel.send("print('ü')")
    said = kernel.until_printed("link to pi lost, reconnecting…")[-1]
    assert said["parent_header"]["msg_id"] == number
    back(kernel)
    result = kernel.finish(number)
    assert result.text() == "ü\n" and result.reply["content"]["status"] == "ok"


def assert_ended(kernel: Frontend, error: type[errors.RkernelError], *words: str) -> None:
    """Wait until there is no kernel: cell and launcher say one thing, which is this error's."""
    told = kernel.reason(30)
    assert all(word in told for word in words), told
    status = kernel.wait_for_end(5)
    run = subprocess.CompletedProcess([], status, "", kernel.said())
    assert_refused(run, error, *words)


# --- the end ------------------------------------------------------------------------------------


def test_stopping_the_launcher_meanwhile_is_immediate(board: Remote) -> None:
    with started(board, *QUICK, "--orphan-timeout", "3s") as kernel:
        lost(kernel, dropped)
        kernel.signal(signal.SIGTERM)
        assert seconds_of(lambda: kernel.wait_for_end(5)) < 1.9  # the board is given 2 s otherwise
        assert len(board.kernels()) == 1
        wait_until(lambda: not board.kernels(), "the lease is over", 10)
    board.network.restore()


def test_the_lease_is_over_before_the_link_is_back(board: Remote) -> None:
    with started(board, *QUICK, "--orphan-timeout", "3s") as kernel:
        lost(kernel, dropped)
        wait_until(lambda: not board.kernels(), "the lease is over", 10)
        board.network.restore()
        assert_ended(kernel, errors.KernelGone, "longer than its orphan timeout of 3s")


def test_without_an_orphan_timeout_the_end_of_the_link_is_the_end(board: Remote) -> None:
    with started(board, *QUICK, "--orphan-timeout", "0") as kernel:
        board.network.reset()
        assert_ended(kernel, errors.LinkLost, "orphan timeout of 0")
        wait_until(lambda: not board.kernels(), "the kernel has ended", 10)
    board.network.restore()


def test_an_agent_that_is_killed_is_the_end_of_its_kernels(board: Remote) -> None:
    with started(board, *QUICK) as kernel:
        (agent,) = board.agents()
        board.signal(agent, signal.SIGKILL)
        seconds = seconds_of(lambda: wait_until(lambda: not board.kernels(), "they end", 10))
        assert seconds < 3
        assert_ended(kernel, errors.KernelGone, "its agent has ended")
        assert not board.shell(f"find {board.runtime} -type f 2>/dev/null || true")


def test_a_kernel_that_dies_meanwhile_says_so_later(kernel: Frontend, board: Remote) -> None:
    kernel.send("import os, time; print('begun', flush=True); time.sleep(2); os._exit(9)")
    kernel.until_printed("begun")
    lost(kernel, dropped)
    wait_until(lambda: not board.kernels(), "the kernel dies", 10)
    board.network.restore()
    assert kernel.wait_for_end(30) == 9
    assert "ended with exit status 9" in kernel.said()


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [dropped, swallowed])
def test_a_film_goes_on_after_a_cut(kernel: Frontend, cut: Callable[[Network], None]) -> None:
    """No old picture comes after the cut, and the last one of all is there at the end."""
    number = kernel.send(
        "import time\nfrom PIL import Image\nfrom board_agent.display import show\n"
        "for level in range(200):\n"
        "    show(Image.new('L', (16, 16), level)); print(level, flush=True); time.sleep(0.05)"
    )
    begun = kernel.until(lambda m: m["msg_type"] == "update_display_data", "the film runs")
    lost(kernel, cut)
    time.sleep(OUTAGE)
    back(kernel)
    more = kernel.until(lambda m: m["msg_type"] == "update_display_data", "the film goes on")
    published = all_of(kernel, number, begun + more)
    assert text(published) == "".join(f"{n}\n" for n in range(200))
    levels = [level(picture) for picture in displays(published)]
    assert len(levels) > 40 and max(later - sooner for sooner, later in pairwise(levels)) > 30
    assert all(later > sooner - 5 for sooner, later in pairwise(levels))
    assert levels[-1] == pytest.approx(199, abs=2)
