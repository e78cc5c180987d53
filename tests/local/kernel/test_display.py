"""Pictures that are shown on a board, as a frontend gets them.

Each picture is of one grey, so that it says by itself which one it is.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise

import pytest
from PIL import Image

from tests.support.boards import Board
from tests.support.kernels import Frontend, attached, attached_at_once, is_idle, started
from tests.support.shown import data, displays, level

DRAW = """
import time
from PIL import Image
from board_agent.display import show
def grey(level, size=(64, 48)):
    return Image.new("RGB", size, (level, level, level))
"""
LAST = 200
FILM = f"""
for level in range(0, {LAST} + 1, 4):
    show(grey(level))
    time.sleep(1 / 50)
"""


@pytest.fixture
def kernel(board: Board) -> Iterator[Frontend]:
    with started(board) as frontend:
        frontend.run(DRAW)
        yield frontend


def test_one_picture(kernel: Frontend) -> None:
    result = kernel.run("show(grey(100))")
    (picture,) = displays(result.published)
    assert list(picture["data"]) == ["image/jpeg"] and abs(level(picture) - 100) <= 2
    assert Image.open(io.BytesIO(data(picture))).size == (64, 48)


def test_an_array(kernel: Frontend) -> None:
    result = kernel.run("import numpy; show(numpy.full((48, 64, 3), 100, numpy.uint8))")
    (picture,) = displays(result.published)
    assert list(picture["data"]) == ["image/jpeg"] and abs(level(picture) - 100) <= 2


def test_a_film(kernel: Frontend) -> None:
    result = kernel.run(FILM)
    levels = [level(picture) for picture in displays(result.published)]
    assert levels[0] <= 2 and abs(levels[-1] - LAST) <= 2
    assert len(levels) > 10
    assert all(later > sooner - 5 for sooner, later in pairwise(levels)), levels
    again = displays(kernel.run("show(grey(9))").published)
    assert [abs(level(picture) - 9) <= 2 for picture in again] == [True]


def test_no_more_than_thirty_a_second(kernel: Frontend) -> None:
    assert 2 < pictures_in_a_second(kernel) <= 30


def test_as_many_as_are_asked_for(board: Board) -> None:
    with started(board, "--frame-rate", "5") as kernel:
        kernel.run(DRAW)
        assert 2 < pictures_in_a_second(kernel) <= 5


def pictures_in_a_second(kernel: Frontend) -> float:
    """Return how many come of those that are shown as fast as possible, for about 2 s."""
    result = kernel.run(
        "begin = time.monotonic()\n"
        "while time.monotonic() < begin + 2: show(grey(7))\n"
        "print(time.monotonic() - begin)"
    )
    extra = 4  # the first, the last, those that are on their way when the cell begins or ends
    return (len(displays(result.published)) - extra) / float(result.text())


def test_several_streams_in_one_cell(kernel: Frontend) -> None:
    code = """
for level in range(0, 101, 5):
    show(grey(level), stream="left"); show(grey(200 - level), stream="right"); time.sleep(0.03)
"""
    shown = displays(kernel.run(code).published)
    last = {picture["transient"]["display_id"]: level(picture) for picture in shown}
    assert sorted(last.values()) == pytest.approx([100, 100], abs=2)


def test_the_last_picture_is_at_full_quality_and_there_before_the_end(kernel: Frontend) -> None:
    code = """
import random
noise = Image.frombytes("RGB", (64, 48), random.Random(1).randbytes(64 * 48 * 3))
for _ in range(20): show(noise); time.sleep(0.02)
"""
    first, *between, last = displays(kernel.run(code).published)
    assert data(first) == data(last)
    assert between and all(len(data(picture)) < len(data(last)) for picture in between)


@pytest.mark.parametrize("end", ["raise KeyError(7)", "interrupt"])
def test_a_loop_that_is_cut_short(kernel: Frontend, end: str) -> None:
    endless = "while True: time.sleep(0.01)"
    body = endless if end == "interrupt" else end
    number = kernel.send(f"{FILM}print('shown', flush=True)\n{body}")
    published = kernel.until_printed("shown")
    if end == "interrupt":
        kernel.manager.interrupt_kernel()
    result = kernel.finish(number)
    assert result.reply["content"]["ename"] == (
        "KeyError" if "raise" in end else "KeyboardInterrupt"
    )
    assert abs(level(displays(published + result.published)[-1]) - LAST) <= 2


def test_interrupts_anywhere_in_show(kernel: Frontend) -> None:
    for _ in range(8):
        number = kernel.send("while True: show(grey(70, (640, 480)))")
        begun = kernel.until(lambda m: m["msg_type"] == "update_display_data", "the film runs")
        kernel.manager.interrupt_kernel()
        result = kernel.finish(number)
        assert result.reply["content"]["ename"] == "KeyboardInterrupt"
        shown = displays([m for m in begun if m["parent_header"].get("msg_id") == number])
        assert len({one["transient"]["display_id"] for one in shown}) == 1
    assert len(displays(kernel.run(FILM).published)) > 10


def test_an_exception_right_after_the_last_picture(kernel: Frontend) -> None:
    result = kernel.run(f"{FILM}    if level == 100: 1 / 0")
    assert result.reply["content"]["ename"] == "ZeroDivisionError"
    assert abs(level(displays(result.published)[-1]) - 100) <= 2


@pytest.mark.parametrize("now", [False, True])
def test_a_restart_in_the_middle_of_a_film(kernel: Frontend, now: bool) -> None:
    kernel.send("while True: show(grey(250)); time.sleep(0.01)")
    kernel.until(lambda m: m["msg_type"] == "update_display_data", "the film runs")
    kernel.restart(now)
    kernel.run(DRAW)
    number = kernel.send(FILM)
    published = kernel.until(is_idle(number), "the new film ends")  # whatever cell it is of
    levels = [level(picture) for picture in displays(published)]
    assert len(levels) > 10 and max(levels) <= LAST + 2, "no picture is of the old kernel"


def test_show_goes_on_after_a_restart(kernel: Frontend) -> None:
    kernel.run(FILM)
    kernel.restart()
    kernel.run(DRAW)
    assert len(displays(kernel.run(FILM).published)) > 10


def test_a_second_client_sees_the_next_picture_and_the_last(kernel: Frontend) -> None:
    number = kernel.send(FILM * 3)
    kernel.until(lambda m: m["msg_type"] == "update_display_data", "the film runs")
    with attached_at_once(kernel) as other:
        heard = other.until(is_idle(number), "the film ends")
    told = kernel.finish(number).published
    seen = [m for m in heard if m["msg_type"] == "update_display_data"]
    assert len(seen) > 10 and {m["parent_header"]["msg_id"] for m in seen} == {number}
    assert seen == [m for m in told if m["msg_type"] == "update_display_data"][-len(seen) :]
    assert abs(level(seen[-1]["content"]) - LAST) <= 2


def test_a_thread_that_outlives_its_cell_publishes_nothing(kernel: Frontend) -> None:
    kernel.run(
        "import threading\nstop = threading.Event()\n"
        "def film():\n    while not stop.wait(0.01): show(grey(50))\n"
        "thread = threading.Thread(target=film)\nthread.start(); time.sleep(0.3)"
    )
    for _ in range(10):
        number = kernel.client.complete("sto")
        assert not displays(kernel.until(is_idle(number), "completions come"))
    kernel.run("stop.set(); thread.join()")


def test_pictures_of_magics_that_run_cells(kernel: Frontend) -> None:
    code = f"get_ipython().run_cell('pass')\nshow(grey(0))\nget_ipython().run_cell('pass'){FILM}"
    shown = displays(kernel.run(code).published)
    assert len({picture["transient"]["display_id"] for picture in shown}) == 1
    assert abs(level(shown[-1]) - LAST) <= 2


def test_what_is_no_picture(kernel: Frontend) -> None:
    code = "try: show({})\nexcept Exception as error: print(type(error).__name__, error)"
    for wrong, expected in [
        ("object()", "TypeError cannot show 'object'; expected a PIL image, a NumPy array"),
        ("b'GIF89a'", "ValueError cannot show bytes that begin with b'GIF89a'; expected a JPEG"),
        ("grey(1), stream=3", "TypeError stream is a name of up to 100 characters, not 3"),
    ]:
        assert kernel.run(code.format(wrong)).text().startswith(expected)
    assert len(displays(kernel.run("show(grey(1))").published)) == 1


def test_children_are_told_that_they_cannot(kernel: Frontend) -> None:
    code = """
show(grey(3))
import os
reading, writing = os.pipe()
if not (child := os.fork()):
    try: show(grey(4))
    except RuntimeError as error: os.write(writing, str(error).encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(reading, 999).decode())
"""
    assert "not in a child of it" in kernel.run(code).text()


def test_outside_a_kernel() -> None:
    from board_agent.display import show

    with pytest.raises(RuntimeError, match="on a kernel that rkernel started"):
        show(Image.new("L", (2, 2)))


def test_nothing_is_encoded_without_viewers(kernel: Frontend) -> None:
    kernel.run(
        "from board_agent.display import jpeg as encoders\ncount = 0\nencode = encoders._MAKERS\n"
        "from board_agent.display import publisher as display\nbefore = display.encode\n"
        "def counted(*a):\n    global count\n    count += 1\n    return before(*a)\n"
        "display.encode = counted"
    )
    kernel.client.iopub_channel.stop()  # nobody listens
    number = kernel.send("for _ in range(100): show(grey(8)); time.sleep(0.02)")
    kernel.reply(number)
    with attached(kernel) as other:
        # The first, the last, and what was granted before the launcher knew.
        assert 2 <= int(other.value("count")) <= 10


def test_output_is_not_held_up(kernel: Frontend) -> None:
    code = f"{FILM}".replace("show(grey(level))", "show(grey(level, (640, 480))); print(level)")
    result = kernel.run(code)
    assert result.text() == "".join(f"{n}\n" for n in range(0, LAST + 1, 4))
    assert is_idle(result.reply["parent_header"]["msg_id"])(result.published[-1])


def test_a_thread_that_is_left_behind_costs_no_memory(kernel: Frontend) -> None:
    kernel.run(
        "import threading\nstop, begun = threading.Event(), threading.Event()\n"
        "def film():\n    while not stop.wait(0.01): show(grey(50)); begun.set()\n"
        "thread = threading.Thread(target=film)\nthread.start()\nbegun.wait()"
    )
    for _ in range(5):  # not cells, but requests of the same kind of parent
        assert kernel.reply(kernel.client.complete("sto"))["content"]["status"] == "ok"
    kernel.run("stop.set(); thread.join()")
    kept = "(lambda d: [len(d._now), len(d._complete), len(d._depth)])"
    kernel.run("from board_agent.display import publisher")
    counts = kernel.value(f"{kept}(publisher._display)")
    assert counts == "[1, 0, 0]"  # the thread's last picture outside cells


def test_pictures_in_a_cell_that_is_captured(kernel: Frontend) -> None:
    result = kernel.run("%%capture said\nprint('this')\nshow(grey(60))")
    assert not result.text() and len(displays(result.published)) == 1
    assert len(displays(kernel.run("show(grey(61))").published)) == 1


def test_the_first_picture_of_all_in_a_cell_within_a_cell(kernel: Frontend) -> None:
    code = "get_ipython().run_cell('show(grey(0))')" + FILM
    shown = displays(kernel.run(code).published)
    assert len({picture["transient"]["display_id"] for picture in shown}) == 1
    assert abs(level(shown[-1]) - LAST) <= 2


def test_pictures_that_cannot_be_sent_do_not_stop_the_others(kernel: Frontend) -> None:
    kernel.run(
        "from board_agent.display import publisher as display\nreal, count = display.encode, 0\n"
        "def failing(picture, quality):\n    global count\n"
        "    if quality < 90: count += 1\n"
        "    if quality < 90 and count < 9: raise MemoryError\n"
        "    return real(picture, quality)\n"
        "display.encode = failing"
    )
    assert len(displays(kernel.run(FILM * 2).published)) > 10
