"""Which pictures a kernel sends: the newest, as many as asked for, and how good they are."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from board_agent.display.frame_scheduler import BEST, STREAK, WORST, FrameScheduler, Shown, head
from board_agent.display.images import Picture
from board_agent.link.video_format import HEAD
from rkernel_launcher.launcher.video.frames import BadVideo, Decoder, Frame

PICTURE = Picture("RGB", 2, 1, b"abcdef")
RATE = 20  # pictures a second, so that their times are exact
STEP = 1 / RATE


def shown(at: float, stream: str = "", name: str = "") -> Shown:
    return Shown(stream, "cell", name, PICTURE, at)


def viewed(granted: int = 2) -> FrameScheduler:
    scheduler = FrameScheduler()
    scheduler.receive_grants(bytes([RATE]) + b"+" * granted)
    return scheduler


def test_nothing_is_sent_without_a_viewer() -> None:
    scheduler = FrameScheduler()
    assert not scheduler.put(shown(0.0))
    assert scheduler.wait(100.0) is None and scheduler.popleft(100.0) is None


def test_a_viewer_that_comes_later_gets_the_newest() -> None:
    scheduler = FrameScheduler()
    for number in range(3):
        scheduler.put(shown(float(number), name=str(number)))
    scheduler.receive_grants(bytes([RATE]))
    assert scheduler.popleft(3.0) is None
    scheduler.receive_grants(b"+")
    taken = scheduler.popleft(3.0)
    assert taken is not None and taken.display == "2"
    assert scheduler.popleft(9.0) is None


def test_no_more_are_under_way_than_were_granted() -> None:
    scheduler = viewed(granted=2)
    taken = 0
    for number in range(10):
        scheduler.put(shown(number * STEP))
        taken += scheduler.popleft(number * STEP) is not None
    assert taken == 2
    scheduler.receive_grants(b"+")
    assert scheduler.popleft(10 * STEP) is not None


def test_a_source_that_is_faster_than_the_viewer_wants_is_thinned_out() -> None:
    scheduler = viewed(granted=1)
    taken = 0
    for number in range(400):  # ten times as many as are wanted, for two seconds
        now = number * STEP / 10
        scheduler.put(shown(now))
        if scheduler.popleft(now) is not None:
            taken += 1
            scheduler.receive_grants(b"+")
    assert 2 * RATE <= taken <= 2 * RATE + 2
    assert scheduler.quality == BEST  # it is not the link that is slow


def test_a_steady_source_is_not_delayed_by_jitter() -> None:
    scheduler = viewed(granted=1)
    for number in range(200):
        now = 1.0 + number * STEP + (0.4 * STEP if number % 3 == 0 else 0.0)
        scheduler.put(shown(now))
        assert scheduler.popleft(now) is not None, number
        scheduler.receive_grants(b"+")


def test_streams_take_turns() -> None:
    scheduler = viewed(granted=1)
    seen = []
    for number in range(20):
        now = 1.0 + number * STEP
        for stream in ("left", "right"):
            scheduler.put(shown(now, stream))
        taken = scheduler.popleft(now)
        assert taken is not None
        seen.append(taken.stream)
        scheduler.receive_grants(b"+")
    assert seen.count("left") == seen.count("right") == 10


def test_quality_falls_when_the_link_is_slow_and_recovers() -> None:
    scheduler = viewed(granted=1)
    now = 1.0
    qualities = []
    for _ in range(200):  # every other picture finds no room
        scheduler.put(shown(now))
        scheduler.popleft(now)
        scheduler.put(shown(now + STEP))
        scheduler.put(shown(now + 2 * STEP))
        scheduler.receive_grants(b"+")
        now += 2 * STEP
        qualities.append(scheduler.quality)
    assert qualities[-1] == WORST and qualities == sorted(qualities, reverse=True)
    for _ in range(STREAK * BEST):
        now += STEP
        scheduler.put(shown(now))
        assert scheduler.popleft(now) is not None
        scheduler.receive_grants(b"+")
    assert scheduler.quality == BEST


def test_a_viewer_that_is_lost_has_no_say_any_more() -> None:
    scheduler = viewed(granted=5)
    scheduler.put(shown(0.0))
    scheduler.remove_viewer()
    assert scheduler.popleft(1.0) is None
    scheduler.receive_grants(bytes([RATE]) + b"+")
    assert scheduler.popleft(1.0) is not None and scheduler.popleft(9.0) is None


def test_only_so_many_streams_wait() -> None:
    scheduler = FrameScheduler()
    for number in range(100):
        scheduler.put(shown(float(number), stream=str(number)))
    scheduler.receive_grants(bytes([RATE]) + b"+" * 100)
    taken = []
    while (one := scheduler.popleft(200.0)) is not None:
        taken.append(one.stream)
    assert sorted(taken) == [str(number) for number in range(84, 100)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from(["", "left"])),
            st.tuples(st.just("grant"), st.integers(1, 3)),
            st.tuples(st.just("wait"), st.floats(0, 0.2)),
            st.tuples(st.just("lose"), st.none()),
        ),
        max_size=80,
    )
)
def test_whatever_happens(steps: list[tuple[str, object]]) -> None:
    """What is sent was granted, is the newest of its stream, and is sent once."""
    scheduler, now, allowed, number = viewed(granted=0), 1.0, 0, 0
    newest: dict[str, str] = {}
    for step, argument in steps:
        if step == "put":
            number += 1
            newest[str(argument)] = str(number)
            scheduler.put(shown(now, str(argument), str(number)))
        elif step == "grant":
            assert isinstance(argument, int)
            scheduler.receive_grants(b"+" * argument)
            allowed += argument
        elif step == "wait":
            assert isinstance(argument, float)
            now += argument
        else:
            scheduler.remove_viewer()
            scheduler.receive_grants(bytes([RATE]))
            allowed = 0
        wait = scheduler.wait(now)
        assert (wait is not None) == bool(allowed and newest)
        while (taken := scheduler.popleft(now)) is not None:
            allowed -= 1
            assert allowed >= 0 and newest.pop(taken.stream) == taken.display
        assert WORST <= scheduler.quality <= BEST
    if allowed and newest:
        assert scheduler.popleft(now + 2 * STEP) is not None  # nothing waits for ever


def test_who_sends_is_woken_once_for_pictures_that_replace_each_other() -> None:
    scheduler = viewed()
    assert scheduler.put(shown(0.0))
    assert scheduler.popleft(0.0) is not None
    assert scheduler.put(shown(0.01))  # which is not due yet
    assert not scheduler.put(shown(0.02))
    assert scheduler.put(shown(0.02, "other"))


def test_encoding_takes_half_of_the_time_at_most() -> None:
    scheduler = FrameScheduler()
    scheduler.receive_grants(bytes([30]) + b"++++")
    sent, now = 0, 0.0
    while now < 10:
        scheduler.put(shown(now))
        wait = scheduler.wait(now)
        assert wait is not None
        now += wait
        assert scheduler.popleft(now)
        scheduler.receive_grants(b"+")
        sent += 1
        now += 0.1  # which the encoder took
        scheduler.encoded(now, 0.1)
    assert 49 <= sent <= 51
    assert scheduler.quality == BEST


@given(data=st.lists(st.binary(max_size=300), max_size=4), cut=st.integers(1, 50))
def test_frames_arrive_as_they_were_sent(data: list[bytes], cut: int) -> None:
    wire = b"".join(head(shown(0.0, "ä", "id"), one, 0.25) + one for one in data)
    decoder = Decoder()
    frames = [
        f for at in range(0, len(wire), cut) for f in decoder.receive_data(wire[at : at + cut])
    ]
    assert frames == [Frame("ä", "cell", "id", "image/jpeg", 2, 1, 0.25, one) for one in data]


def test_a_board_that_sends_nonsense_is_not_believed() -> None:
    good = json.loads(head(shown(0.0), b"", 0.0)[HEAD.size :])
    bad = [
        HEAD.pack(1 << 30, 2, 0),
        *(HEAD.pack(0, len(text), 0) + text for text in (b"[]", b"{}", b"\xff", b"[" * 5000)),
        *(
            HEAD.pack(0, len(text), 0) + text
            for facts in (
                {"mime": "text/html"},
                {"width": "wide"},
                {"height": None},
                {"width": float("inf")},
            )
            for text in [json.dumps({**good, **facts}).encode()]
        ),
    ]
    for wire in bad:
        try:
            frames = Decoder().receive_data(wire)
        except BadVideo:
            continue
        raise AssertionError(f"{wire[:80]!r} was taken for {frames}")
