"""The link's two ends against each other, in any order of events; and one end against anything."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import random
import re
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from board_agent.agent.spool import MAX_MEMORY as SPOOL_MEMORY
from board_agent.link import compression
from board_agent.link import frames as frames_module
from board_agent.link import link as link_module
from board_agent.link.compression import SMALLEST, pack, unpack
from board_agent.link.driver import MAX_QUEUED
from board_agent.link.events import Credit, Data, Ended, Event, Message, Opened, Pong, Reset
from board_agent.link.frames import (
    ACK,
    CREDIT,
    DATA,
    END,
    HEADER,
    MAX_PAYLOAD,
    MESSAGE,
    OPEN,
    PACKED,
    PING,
    PONG,
    RESET,
    VIDEO,
    ProtocolError,
)
from board_agent.link.link import (
    ACK_EVERY,
    CHUNK,
    FRAME_OVERHEAD,
    MAX_STREAMS,
    MAX_UNACKED,
    MAX_UNACKED_URGENT,
    PRECEDENCE,
    TRANSITIONS,
    WINDOW,
    Link,
    Step,
    StreamState,
)
from tests.support.boards import ROOT

CHANNELS = sorted(set(PRECEDENCE) - {"video"})  # what has to arrive; video has tests below
EVERYTHING = 1 << 40
_REPEAT = 1 << 18
_PATTERN = bytes(random.Random(7).choices(b"abcd", k=_REPEAT))  # unique, and yet worth packing
_PATTERN += _PATTERN[:CHUNK]

Frame = tuple[int, int, int, int, bytes]  # kind, stream, number, acknowledged, payload


def content(start: int, count: int) -> bytes:
    """Bytes that tell by themselves where in a stream they belong."""
    return _PATTERN[start % _REPEAT :][:count]


def frame(
    kind: int, stream: int = 0, number: int = 0, acked: int = 0, payload: bytes = b""
) -> bytes:
    return HEADER.pack(len(payload), kind, stream, number, acked) + payload


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        length, kind, stream, number, acked = HEADER.unpack_from(data)
        stop = HEADER.size + length
        assert stop <= len(data), "a frame was cut"
        found.append((kind, stream, number, acked, data[HEADER.size : stop]))
        data = data[stop:]
    return found


def pair() -> tuple[Link, Link]:
    """A launcher's end and an agent's."""
    return Link(), Link(accepts_streams=True)


def settle(one: Link, other: Link) -> tuple[list[Event], list[Event]]:
    """Pass bytes both ways until nothing moves; return what each end was told."""
    told: tuple[list[Event], list[Event]] = ([], [])
    while True:
        out, back = one.data_to_send(), other.data_to_send()
        if not out and not back:
            return told
        told[1].extend(other.receive_data(out))
        told[0].extend(one.receive_data(back))


def connected(channel: str = "shell") -> tuple[Link, Link, int]:
    """Two ends and a stream that both know."""
    launcher, agent = pair()
    number = launcher.open(channel)
    assert settle(launcher, agent) == ([], [Opened(number, channel)])
    return launcher, agent, number


# --- any order of calls and events ---------------------------------------------------------------


class Half:
    """What must hold for one direction of a stream: what one end sends, the other is told."""

    def __init__(self) -> None:
        self.sent = self.received = self.consumed = 0
        self.ended = self.end_told = False


class End:
    """One end of the link under test, and what its user knows."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.up = True  # it has a connection, or believes so
        self.open: dict[int, str] = {}  # streams neither reset nor over, as this end knows
        self.wire = bytearray()  # taken here, not yet come to the other end
        self.messages = self.messages_told = self.pings = self.pongs = self.acknowledgements = 0
        self.pings_before = self.pongs_before = 0  # the connection that stands now
        self.sending: dict[int, Half] = {}
        self.receiving: dict[int, Half] = {}


class TwoEnds(RuleBasedStateMachine):
    """Drive both ends through anything their users and the network may do.

    With small limits, so that they are met often. A connection is broken in an arbitrary place of
    each direction; an end that has not noticed goes on talking to nobody. The launcher dials when
    it has noticed; the agent answers, whether it has noticed or not, and goes on; the launcher goes
    on when it has the answer. Any of it may be cut again.
    """

    WINDOW, CHUNK, ACK_EVERY, FRAME_OVERHEAD = 800, 100, 200, 20
    MAX_UNACKED, MAX_UNACKED_URGENT = 600, 700
    MOST = MAX_UNACKED_URGENT + len(PRECEDENCE) * (
        2 * CHUNK + HEADER.size
    )  # of data that an end holds

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        for name in (
            "WINDOW",
            "CHUNK",
            "ACK_EVERY",
            "FRAME_OVERHEAD",
            "MAX_UNACKED",
            "MAX_UNACKED_URGENT",
        ):
            self.patch.setattr(link_module, name, getattr(self, name))
        for name, value in (("SMALLEST", 32), ("SAMPLE", 32), ("WORTHWHILE", 1.0)):
            self.patch.setattr(compression, name, value)
        launcher, agent = pair()
        self.ends = (End(launcher), End(agent))
        self.connected = True  # one connection joins both ends
        self.answered = False  # or will, once the launcher has the agent's answer
        self.channels: dict[int, str] = {}
        self.resets: set[int] = set()
        self.opened: set[int] = set()  # what the agent's user was told of

    def pick(self, side: int, which: int) -> int | None:
        streams = sorted(self.ends[side].open)
        return streams[which % len(streams)] if streams else None

    # --- what users do ---

    @rule(channel=st.sampled_from(CHANNELS))
    def open_stream(self, channel: str) -> None:
        launcher, agent = self.ends
        number = launcher.link.open(channel)
        self.channels[number] = launcher.open[number] = channel
        launcher.sending[number] = agent.receiving[number] = Half()
        launcher.receiving[number] = agent.sending[number] = Half()

    @rule(
        side=st.sampled_from([0, 1]),
        which=st.integers(0, 99),
        size=st.one_of(st.integers(1, 100), st.just(CHUNK)),
        times=st.sampled_from([1, 1, 1, 12]),
    )
    def send(self, side: int, which: int, size: int, times: int) -> None:
        end = self.ends[side]
        number = self.pick(side, which)
        if number is None:
            return
        half = end.sending[number]
        for _ in range(times):
            room = end.link.credit(number)
            if half.ended:
                assert room == 0
            assert room <= self.WINDOW - (half.sent - half.consumed)
            assert not room or end.link.unacked_bytes < self.MAX_UNACKED_URGENT
            count = min(size, room)
            if not count:
                break
            end.link.send(number, content(half.sent, count))
            half.sent += count
            if times > 1:
                self.take(side, self.CHUNK)

    @rule(side=st.sampled_from([0, 1]), which=st.integers(0, 99))
    def send_too_much(self, side: int, which: int) -> None:
        number = self.pick(side, which)
        if number is None:
            return
        end, half = self.ends[side], self.ends[side].sending[number]
        room = min(self.CHUNK, self.WINDOW - (half.sent - half.consumed))
        before = end.link.queued_bytes
        for data in (bytes(room + 1), b""):
            with pytest.raises(ValueError, match="cannot be sent"):
                end.link.send(number, data)
        assert end.link.queued_bytes == before

    @rule(side=st.sampled_from([0, 1]), which=st.integers(0, 99), share=st.floats(0, 1))
    def consume(self, side: int, which: int, share: float) -> None:
        end = self.ends[side]
        number = self.pick(side, which)
        if number is not None:
            half = end.receiving[number]
            count = int((half.received - half.consumed) * share)
            half.consumed += count
            end.link.consumed(number, count)

    @rule(side=st.sampled_from([0, 1]), which=st.integers(0, 99))
    def end_stream(self, side: int, which: int) -> None:
        number = self.pick(side, which)
        if number is not None:
            self.ends[side].link.end(number)
            self.ends[side].sending[number].ended = True
            self.drop_if_over(side, number)

    @rule(side=st.sampled_from([0, 1]), which=st.integers(0, 99))
    def reset(self, side: int, which: int) -> None:
        number = self.pick(side, which)
        if number is not None:
            self.ends[side].link.reset(number)
            self.resets.add(number)
            del self.ends[side].open[number]

    @rule(side=st.sampled_from([0, 1]), which=st.integers(0, 99))
    def use_what_is_over(self, side: int, which: int) -> None:
        """Late calls of a user who has not heard yet do nothing."""
        over = sorted(set(self.channels) - set(self.ends[side].open))
        known = [number for number in over if side == 0 or number in self.opened]
        if known:
            number, link = known[which % len(known)], self.ends[side].link
            before = link.queued_bytes
            assert link.credit(number) == 0
            link.reset(number)
            link.end(number)
            link.consumed(number, self.WINDOW)
            assert link.queued_bytes == before

    @rule(side=st.sampled_from([0, 1]), size=st.sampled_from([0, 300]))
    def message(self, side: int, size: int) -> None:
        end = self.ends[side]
        end.link.message({"number": end.messages, "text": "x" * size})
        end.messages += 1

    @rule(side=st.sampled_from([0, 1]))
    def ping(self, side: int) -> None:
        self.ends[side].link.ping()
        self.ends[side].pings += 1

    @rule(side=st.sampled_from([0, 1]))
    def acknowledge(self, side: int) -> None:
        self.ends[side].link.acknowledge()
        self.ends[side].acknowledgements += 1

    # --- what the network does ---

    @rule(side=st.sampled_from([0, 1]), limit=st.sampled_from([1, 30, 300, EVERYTHING]))
    def take(self, side: int, limit: int) -> None:
        link = self.ends[side].link
        if not self.ends[side].up:
            return
        sent = link._sent
        whole = frames(copy.deepcopy(link).data_to_send(EVERYTHING))
        taken = link.data_to_send(limit)
        count = len(frames(taken))
        assert frames(taken) == whole[:count], "what follows does not depend on the limit"
        assert len(taken) < limit + HEADER.size + MAX_PAYLOAD
        assert count == len(whole) or len(taken) >= limit
        again = [number for _, _, number, _, _ in whole if 0 < number <= sent]
        assert again == list(range(sent - len(again) + 1, sent + 1))
        assert [number for _, _, number, *_ in whole[: len(again)]] == again, "then what is new"
        ranks = [self.rank(kind, stream) for kind, stream, *_ in whole[len(again) :]]
        assert ranks == sorted(ranks), "the most urgent go first"
        if self.connected or (self.answered and side == 1):
            self.ends[side].wire += taken

    def rank(self, kind: int, stream: int) -> int:
        return PRECEDENCE[self.channels[stream]] if kind in (DATA, PACKED, END, RESET) else 0

    @precondition(lambda self: self.connected)
    @rule(side=st.sampled_from([0, 1]), share=st.one_of(st.floats(0, 1), st.just(1.0)))
    def deliver(self, side: int, share: float) -> None:
        wire = self.ends[side].wire
        part = bytes(wire[: int(len(wire) * share)])
        del wire[: len(part)]
        for event in self.ends[1 - side].link.receive_data(part):
            self.tell(1 - side, event)

    @precondition(lambda self: self.connected and (self.ends[0].wire or self.ends[1].wire))
    @rule(side=st.sampled_from([0, 1]), sizes=st.lists(st.integers(1, 60), max_size=8))
    def deliver_crumbs(self, side: int, sizes: list[int]) -> None:
        wire = self.ends[side].wire
        for size in sizes:
            part = bytes(wire[:size])
            del wire[:size]
            for event in self.ends[1 - side].link.receive_data(part):
                self.tell(1 - side, event)

    @precondition(lambda self: self.connected or self.answered)
    @rule(shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
    def cut(self, shares: tuple[float, float]) -> None:
        """Break the connection; what was under way is lost from some byte on, each way its own."""
        for side, share in enumerate(shares):
            if self.connected:
                self.deliver(side, share)
            self.ends[side].wire.clear()
        self.connected = self.answered = False

    @precondition(lambda self: not self.connected)
    @rule(side=st.sampled_from([0, 1]))
    def notice(self, side: int) -> None:
        """An end finds out; the agent may do so before it has an answer to give."""
        if not (self.answered and side == 1):
            self.ends[side].up = False

    @precondition(lambda self: not self.connected and not self.ends[0].up)
    @rule()
    def answer(self) -> None:
        """The agent goes on over a new connection; one that it answered before is given up."""
        launcher, agent = self.ends
        agent.wire.clear()
        agent.link.resume(launcher.link.last_received)
        agent.up = self.answered = True

    @precondition(lambda self: self.answered)
    @rule()
    def join(self) -> None:
        """The launcher has the agent's answer, and goes on."""
        launcher, agent = self.ends
        launcher.link.resume(agent.link.last_received)
        launcher.up = self.connected = True
        self.answered = False
        for end in self.ends:
            end.pings_before, end.pongs_before = end.pings, end.pongs

    # --- what users are told ---

    def tell(self, side: int, event: Event) -> None:
        end = self.ends[side]
        if isinstance(event, Message):
            assert event.content["number"] == end.messages_told
            end.messages_told += 1
            return
        if isinstance(event, Pong):
            end.pongs += 1
            assert end.pongs <= end.pings
            return
        number = event.stream
        if isinstance(event, Opened):
            assert side == 1 and event.channel == self.channels[number]
            assert number not in self.opened
            self.opened.add(number)
            end.open[number] = event.channel
            return
        assert number in end.open, "nothing is told of a stream that is over"
        half = end.receiving[number]
        if isinstance(event, Data):
            assert not half.end_told and event.data
            assert event.data == content(half.received, len(event.data))
            half.received += len(event.data)
            assert half.received <= half.sent
            assert half.received - half.consumed <= self.WINDOW, "no more than was allowed"
        elif isinstance(event, Credit):
            assert not end.sending[number].ended
        elif isinstance(event, Ended):
            assert half.ended and half.received == half.sent and not half.end_told
            half.end_told = True
            self.drop_if_over(side, number)
        else:
            assert isinstance(event, Reset)
            assert number in self.resets
            del end.open[number]

    def drop_if_over(self, side: int, number: int) -> None:
        end = self.ends[side]
        if end.sending[number].ended and end.receiving[number].end_told:
            del end.open[number]

    # --- what always holds ---

    @invariant()
    def memory_is_bounded(self) -> None:
        for end in getattr(self, "ends", ()):
            others = 8 * len(self.channels) + end.pings + end.acknowledgements + 1
            small = 40 * others  # bytes of all frames but DATA and MESSAGE
            assert (
                end.link.queued_bytes + end.link.unacked_bytes
                <= self.MOST + small + end.messages * 400
            )
            kept = [self.FRAME_OVERHEAD + len(payload) for *_, payload in end.link._unacked_frames]
            assert end.link.unacked_bytes == sum(kept)
            assert len(end.link._replay) <= len(end.link._unacked_frames) or end.up
            assert len(end.link._buffer) <= HEADER.size + MAX_PAYLOAD
            assert len(end.link._streams) <= len(self.channels)

    def teardown(self) -> None:
        if not hasattr(self, "ends"):
            return
        try:
            if not self.connected:
                self.notice(0)
                self.answer()
                self.join()
            self.drain()
            self.check_delivery()
            self.end_everything()
        finally:
            self.patch.undo()

    def check_delivery(self) -> None:
        for side, end in enumerate(self.ends):
            assert end.messages_told == self.ends[1 - side].messages
            if end.pings > end.pings_before:
                assert end.pongs > end.pongs_before
            assert end.link.queued_bytes == end.link.unacked_bytes == 0
            for number in end.open:
                if not end.sending[number].ended:
                    assert end.link.credit(number) == self.CHUNK, "nothing waits for ever"
            for number in set(self.channels) - self.resets:
                half = end.receiving[number]
                assert half.received == half.sent, "all that was sent has come"
                assert half.end_told == half.ended

    def end_everything(self) -> None:
        for side, end in enumerate(self.ends):
            for number in sorted(end.open):
                end.link.end(number)
                end.sending[number].ended = True
                self.drop_if_over(side, number)
        self.drain()
        for end in self.ends:
            assert not end.open
            assert not end.link._streams, "a stream that is over is forgotten"

    def drain(self) -> None:
        """Let all come, and both ends hear of it, as they do while they are connected."""
        moving, rounds = True, 0
        while moving:
            moving, rounds = False, rounds + 1
            assert rounds < 1000, "it never comes to rest"
            for side, end in enumerate(self.ends):
                if (
                    end.link.unacked_bytes
                ):  # else an acknowledgement would be acknowledged, and so on
                    self.ends[1 - side].link.acknowledge()
            for side, end in enumerate(self.ends):
                end.wire += end.link.data_to_send()
                moving = moving or bool(end.wire)
                self.deliver(side, 1.0)
            for side, end in enumerate(self.ends):
                for number in sorted(end.open):
                    self.consume(side, sorted(end.open).index(number), 1.0)


TestTwoEnds = TwoEnds.TestCase
TestTwoEnds.settings = settings(max_examples=200, stateful_step_count=80)


def test_ends_and_resets_may_cross_in_every_way() -> None:
    """All orders of what two users and the network can do with one stream, five steps deep."""

    def send(link: Link) -> None:
        if link.credit(1):
            link.send(1, b"x")

    def move(source: Link, target: Link) -> None:
        target.receive_data(source.data_to_send(1))  # one frame

    steps: list[Any] = [
        lambda launcher, agent: send(launcher),
        lambda launcher, agent: send(agent),
        lambda launcher, agent: launcher.end(1),
        lambda launcher, agent: agent.end(1),
        lambda launcher, agent: launcher.reset(1),
        lambda launcher, agent: agent.reset(1),
        lambda launcher, agent: move(launcher, agent),
        lambda launcher, agent: move(agent, launcher),
    ]
    opening = connected()
    for order in itertools.product(range(len(steps)), repeat=5):
        launcher, agent, _ = copy.deepcopy(opening)
        for step in order:
            steps[step](launcher, agent)
        settle(launcher, agent)
        launcher.end(1)
        agent.end(1)
        settle(launcher, agent)
        assert not launcher._streams and not agent._streams, order


@given(st.data())
def test_any_split_of_the_bytes_says_the_same(data: st.DataObject) -> None:
    launcher, agent = pair()
    for channel in CHANNELS:
        number = launcher.open(channel)
        launcher.send(number, channel.encode() * data.draw(st.integers(1, 40)))
    launcher.message({"text": "ä" * data.draw(st.integers(0, 40))})
    launcher.end(number)
    wire = launcher.data_to_send(EVERYTHING)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=30)))
    parts = [wire[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(wire)])]
    split = [event for part in parts for event in agent.receive_data(part)]
    assert split == Link(accepts_streams=True).receive_data(wire)
    assert len(split) == 2 * len(CHANNELS) + 2


NOISE = random.Random(1).randbytes(CHUNK)  # what does not get smaller by packing


def test_the_document_has_the_same_numbers() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    kinds = re.findall(r"^\| (\d+) \| ([A-Z]+) \| (yes|no) \|", text, re.MULTILINE)
    assert len(kinds) == VIDEO + 1
    for number, name, numbered in kinds:
        assert getattr(frames_module, name) == int(number)
        link = agent_with_stream()
        link._queue(0, int(number), 1)
        [(_, _, given_number, *_)] = frames(link.data_to_send())
        assert (given_number > 0) == (numbered == "yes"), name
    for limit in (MAX_PAYLOAD, CHUNK, WINDOW, WINDOW // 4, ACK_EVERY, MAX_QUEUED):
        assert f"{limit:,}" in text
    for limit in (MAX_STREAMS, compression.SMALLEST, compression.SAMPLE):
        assert f" {limit} " in text
    assert f"a header of {HEADER.size} bytes" in text


def test_the_states_of_a_stream_are_those_of_the_page() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    steps = re.search(r"^\| state \| may send \|((?: [\w ]+ \|){4})$", text, re.M)
    assert steps is not None
    names = [name.strip() for name in steps[1].split("|")[:4]]
    told = {}
    for state in StreamState:
        row = re.search(rf"^\| {state.value}(?::[^|]*)? \|[^|]*\|(.*)\|$", text, re.M)
        assert row is not None, state
        for name, cell in zip(names, row[1].split("|"), strict=True):
            after = cell.split(";")[0].strip()
            if after and state is not StreamState.OVER and after != "broken":
                told[state, Step(name)] = StreamState(after)
    assert told == TRANSITIONS


# --- what the hot path promises ------------------------------------------------------------------


def test_an_urgent_frame_queued_later_leaves_first() -> None:
    launcher, agent, bulk = connected("iopub")
    urgent = launcher.open("shell")
    settle(launcher, agent)
    for _ in range(2):
        agent.send(bulk, NOISE)
    agent.data_to_send(1)  # one is under way; the other waits
    agent.send(urgent, b"reply")
    agent.message({"type": "ended"})
    kinds = [(kind, stream) for kind, stream, *_ in frames(agent.data_to_send(EVERYTHING))]
    assert kinds == [(MESSAGE, 0), (DATA, urgent), (DATA, bulk)]


def test_streams_opened_in_any_order_of_urgency_before_a_take() -> None:
    launcher, agent = pair()
    numbers = [
        launcher.open(channel) for channel in ("video", "files", "iopub", "shell", "control")
    ]
    told = agent.receive_data(launcher.data_to_send(EVERYTHING))
    assert [event.stream for event in told if isinstance(event, Opened)] == numbers


def test_credit_ends_with_the_window_and_comes_back() -> None:
    launcher, agent, number = connected()
    sent = 0
    while room := launcher.credit(number):
        launcher.send(number, bytes(room))
        sent += room
        agent.receive_data(launcher.data_to_send(EVERYTHING))
    assert sent == WINDOW
    agent.consumed(number, WINDOW // 4 - 1)
    assert settle(launcher, agent) == ([], [])
    agent.consumed(number, 1)
    assert settle(launcher, agent) == ([Credit(number)], [])
    assert launcher.credit(number) == CHUNK


@given(shares=st.lists(st.integers(1, WINDOW), min_size=5, max_size=30))
def test_a_stream_carries_many_windows(shares: list[int]) -> None:
    launcher, agent, number = connected()
    held = 0  # bytes that came and were not consumed
    for share in shares:
        while room := launcher.credit(number):
            launcher.send(number, bytes(room))
            held += room
            agent.receive_data(launcher.data_to_send(EVERYTHING))
        count = min(share, held)
        agent.consumed(number, count)
        held -= count
        launcher.receive_data(agent.data_to_send(EVERYTHING))
        assert held + launcher.credit(number) <= WINDOW
    agent.consumed(number, held)
    launcher.receive_data(agent.data_to_send(EVERYTHING))
    assert launcher.credit(number) == CHUNK


def test_what_waits_here_holds_back_its_own_precedence_only() -> None:
    launcher, agent, bulk = connected("iopub")
    other = launcher.open("shell")
    settle(launcher, agent)
    agent.send(bulk, NOISE)
    assert agent.credit(bulk) == 0
    assert agent.credit(other) == CHUNK
    agent.data_to_send()
    assert agent.credit(bulk) == CHUNK


def test_an_acknowledgement_comes_by_itself_when_nothing_carries_one() -> None:
    launcher, agent, number = connected()
    for _ in range(ACK_EVERY // CHUNK - 1):
        launcher.send(number, NOISE)
        agent.receive_data(launcher.data_to_send())
        assert agent.data_to_send() == b""
    launcher.send(number, NOISE)
    agent.receive_data(launcher.data_to_send())
    [(kind, stream, number, acknowledged, payload)] = frames(agent.data_to_send())
    assert (kind, stream, number, payload) == (ACK, 0, 0, b"")
    assert acknowledged == 1 + ACK_EVERY // CHUNK
    assert agent.data_to_send() == b""


TEXT = b"the same words again and again\n" * 1000


def test_large_text_is_packed_on_its_way() -> None:
    launcher, agent, number = connected()
    launcher.send(number, TEXT)
    wire = launcher.data_to_send(EVERYTHING)
    assert len(wire) < len(TEXT) // 20
    assert agent.receive_data(wire) == [Data(number, TEXT)]
    assert launcher.credit(number) == CHUNK
    agent.consumed(number, len(TEXT))  # credit counts the bytes that were packed


@given(data=st.binary(max_size=2 * SMALLEST), repeats=st.integers(1, 12))
def test_packing_gives_back_what_was_packed(data: bytes, repeats: int) -> None:
    whole = (data * repeats)[:CHUNK]
    packed = pack(whole)
    assert packed is None or (len(packed) < len(whole) and unpack(packed, CHUNK) == whole)


def test_noise_and_little_data_are_not_packed() -> None:
    assert pack(NOISE) is None
    assert pack(b"x" * (SMALLEST - 1)) is None


def test_packed_data_that_swells_beyond_a_chunk_is_refused() -> None:
    packed = pack(bytes(CHUNK))
    assert packed is not None
    assert unpack(packed, CHUNK) == bytes(CHUNK)
    for payload in (pack(bytes(CHUNK + 1)), pack(bytes(1 << 26)), packed[:-1], packed + b"x", b""):
        assert payload is not None
        _, agent, number = connected()
        with pytest.raises(ProtocolError):
            agent.receive_data(frame(PACKED, number, 2, payload=payload))


def test_a_peer_that_only_pings_costs_no_memory_and_gets_one_answer() -> None:
    _, agent = pair()
    agent.receive_data(frame(PING) * 100_000)
    assert [kind for kind, *_ in frames(agent.data_to_send())] == [PONG]


def test_a_message_may_be_as_long_as_a_payload_and_no_longer() -> None:
    launcher, agent = pair()
    text = "x" * (MAX_PAYLOAD - len(json.dumps({"t": ""}, separators=(",", ":"))))
    launcher.message({"t": text})
    assert settle(launcher, agent)[1] == [Message({"t": text})]
    with pytest.raises(ValueError, match="too long"):
        launcher.message({"t": text + "x"})
    assert launcher.queued_bytes == 0


# --- over another connection ----------------------------------------------------------------------


def break_and_join(one: Link, other: Link) -> None:
    """Let two ends go on over a new connection, as their handshake does."""
    received = one.last_received, other.last_received
    one.resume(received[1])
    other.resume(received[0])


def test_what_was_cut_comes_once_whichever_byte_was_the_last() -> None:
    launcher, agent, number = connected()
    agent.receive_data(launcher.data_to_send())
    launcher.send(number, b"a" * 10)
    launcher.message({"type": "interrupt"})
    launcher.send(number, TEXT)
    launcher.end(number)
    expected = [Data(number, b"a" * 10), Message({"type": "interrupt"}), Data(number, TEXT)]
    opening = copy.deepcopy((launcher, agent))
    for position in range(len(launcher.data_to_send(EVERYTHING)) + 1):
        one, other = copy.deepcopy(opening)
        told = other.receive_data(one.data_to_send(EVERYTHING)[:position])
        break_and_join(one, other)
        told += settle(one, other)[1]
        told.sort(key=lambda event: expected.index(event) if event in expected else 3)
        assert told == [*expected, Ended(number)], position
        assert one.unacked_bytes == 0 or other.data_to_send() == b""


def test_nothing_is_sent_again_that_has_come() -> None:
    launcher, agent, number = connected()
    launcher.send(number, NOISE)
    agent.receive_data(launcher.data_to_send())
    break_and_join(launcher, agent)
    assert launcher.unacked_bytes == 0 and launcher.data_to_send() == b""


def test_what_is_new_follows_what_is_sent_again() -> None:
    launcher, agent, number = connected("iopub")
    launcher.send(number, b"old")
    launcher.data_to_send()
    launcher.message({"type": "interrupt"})
    break_and_join(launcher, agent)
    assert settle(launcher, agent)[1] == [Data(number, b"old"), Message({"type": "interrupt"})]


def test_signs_of_life_are_not_sent_again() -> None:
    launcher, agent = pair()
    launcher.ping()
    agent.receive_data(launcher.data_to_send())
    break_and_join(launcher, agent)
    assert launcher.data_to_send() == agent.data_to_send() == b""


@pytest.mark.parametrize(("sent", "known", "claimed"), [(0, 0, 1), (3, 0, 4), (3, 2, 1)])
def test_a_peer_cannot_have_received_that(sent: int, known: int, claimed: int) -> None:
    """More than was sent, or less than it has said before."""
    link = Link()
    for _ in range(sent):
        link.message({})
    link.data_to_send(EVERYTHING)
    link.receive_data(frame(ACK, acked=known))
    with pytest.raises(ProtocolError):
        link.resume(claimed)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_after_a_break_the_next_number_is_the_only_one(number: int) -> None:
    agent = agent_with_stream(ended=True)
    agent.resume(0)
    assert agent.last_received == 2
    with pytest.raises(ProtocolError):
        agent.receive_data(frame(MESSAGE, 0, number, payload=b"{}"))


def test_a_stream_waits_for_acknowledgements_and_control_a_little_longer() -> None:
    """While nothing is acknowledged; in all it is less than a megabyte, with a spool's memory."""
    launcher, agent, output = connected("iopub")
    files, control = launcher.open("files"), launcher.open("control")
    agent.receive_data(launcher.data_to_send())
    for number, limit in ((output, WINDOW), (files, MAX_UNACKED), (control, MAX_UNACKED_URGENT)):
        while room := agent.credit(number):
            agent.send(number, NOISE[:room])
            agent.data_to_send()  # and it is lost
        assert limit <= agent.unacked_bytes <= limit + CHUNK + 20 * FRAME_OVERHEAD
    assert agent.unacked_bytes + agent.queued_bytes + SPOOL_MEMORY <= 1 << 20
    launcher.acknowledge()
    break_and_join(launcher, agent)
    settle(launcher, agent)
    launcher.acknowledge()
    settle(launcher, agent)
    assert agent.unacked_bytes == 0 and agent.credit(control) == CHUNK


def test_what_is_withdrawn_is_what_has_not_come() -> None:
    launcher, agent, number = connected("iopub")
    other = launcher.open("shell")
    settle(launcher, agent)
    agent.send(number, b"has come")
    launcher.receive_data(agent.data_to_send())
    launcher.message({})
    agent.receive_data(launcher.data_to_send())  # and is known to have
    for data in (TEXT, b"sent"):
        agent.send(number, data)
        agent.send(other, b"another's")
        agent.message({})
        agent.data_to_send(EVERYTHING)
    agent.send(number, b"waits")
    assert agent.unacked_data(number) == [TEXT, b"sent", b"waits"]
    assert agent.credit(number) == 0


def test_a_stream_that_is_over_can_be_withdrawn() -> None:
    launcher, agent, number = connected("iopub")
    agent.send(number, b"last words")
    agent.end(number)
    launcher.end(number)
    agent.receive_data(launcher.data_to_send())
    assert agent.unacked_data(number) == [b"last words"]


# --- a peer that breaks a rule -------------------------------------------------------------------


def agent_with_stream(ended: bool = False) -> Link:
    """An agent's end that has received one frame, or two: stream 1 was opened (and ended)."""
    agent = Link(accepts_streams=True)
    agent.receive_data(frame(OPEN, 1, 1, payload=b"shell"))
    if ended:
        agent.receive_data(frame(END, 1, 2))
    return agent


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(frame(PONG + 1), id="unknown kind"),
        pytest.param(frame(255), id="unknown kind, the highest"),
        pytest.param(struct.pack("!IBIQQ", MAX_PAYLOAD + 1, MESSAGE, 0, 2, 0), id="too long"),
        pytest.param(frame(MESSAGE, 0, 1, payload=b"{}"), id="a number again"),
        pytest.param(frame(MESSAGE, 0, 3, payload=b"{}"), id="a number left out"),
        pytest.param(frame(MESSAGE, 0, 0, payload=b"{}"), id="no number"),
        pytest.param(frame(PING, 0, 2), id="a number where there is none"),
        pytest.param(frame(ACK, acked=1), id="acknowledged what was not sent"),
        pytest.param(frame(MESSAGE, 0, 2, payload=b"{"), id="not JSON"),
        pytest.param(frame(MESSAGE, 0, 2, payload=b"\xff\xfe\x00"), id="not text"),
        pytest.param(frame(MESSAGE, 0, 2, payload=b""), id="empty message"),
        pytest.param(frame(MESSAGE, 0, 2, payload=b"[]"), id="no object"),
        pytest.param(frame(MESSAGE, 0, 2, payload=b"[" * 100_000), id="nested too deeply"),
        pytest.param(frame(OPEN, 1, 2, payload=b"shell"), id="opened twice"),
        pytest.param(frame(OPEN, 0, 2, payload=b"shell"), id="stream 0"),
        pytest.param(frame(OPEN, 2, 2, payload=b"hb"), id="no such channel"),
        pytest.param(frame(OPEN, 2, 2, payload=b"\xff"), id="channel that is no text"),
        pytest.param(frame(DATA, 2, 2, payload=b"x"), id="data on no stream"),
        pytest.param(frame(DATA, 1, 2), id="empty data"),
        pytest.param(frame(DATA, 1, 2, payload=bytes(CHUNK + 1)), id="a chunk too long"),
        pytest.param(
            frame(PACKED, 2, 2, payload=pack(bytes(CHUNK)) or b""), id="packed, no stream"
        ),
        pytest.param(frame(PACKED, 1, 2, payload=b"\x03\x00"), id="packed nothing"),
        pytest.param(frame(PACKED, 1, 2, payload=b"\xff\xff"), id="not packed"),
        pytest.param(frame(END, 2, 2), id="end of no stream"),
        pytest.param(frame(RESET, 2, 2), id="reset of no stream"),
        pytest.param(frame(RESET, 0, 2), id="reset of stream 0"),
        pytest.param(frame(CREDIT, 2, 2, payload=bytes(4)), id="credit for no stream"),
        pytest.param(frame(CREDIT, 1, 2, payload=bytes(3)), id="short credit"),
        pytest.param(frame(CREDIT, 1, 2, payload=b"\0\0\0\1"), id="more credit than the window"),
    ],
)
def test_a_broken_frame_is_refused(broken: bytes) -> None:
    agent = agent_with_stream()
    with pytest.raises(ProtocolError):
        agent.receive_data(broken)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(frame(DATA, 1, 3, payload=b"x"), id="data after the end"),
        pytest.param(frame(END, 1, 3), id="ended twice"),
    ],
)
def test_nothing_follows_the_end(broken: bytes) -> None:
    with pytest.raises(ProtocolError):
        agent_with_stream(ended=True).receive_data(broken)


def test_data_beyond_the_window_is_refused() -> None:
    agent = agent_with_stream()
    count = WINDOW // CHUNK
    for number in range(2, 2 + count):
        agent.receive_data(frame(DATA, 1, number, payload=bytes(CHUNK)))
    with pytest.raises(ProtocolError):
        agent.receive_data(frame(DATA, 1, 2 + count, payload=b"x"))


def test_acknowledgements_do_not_go_back() -> None:
    agent = agent_with_stream()
    agent.message({})
    agent.message({})
    agent.data_to_send(EVERYTHING)
    agent.receive_data(frame(ACK, acked=2))
    with pytest.raises(ProtocolError):
        agent.receive_data(frame(ACK, acked=1))


def test_nothing_is_acknowledged_before_it_is_taken() -> None:
    agent = agent_with_stream()
    agent.message({})
    with pytest.raises(ProtocolError):
        agent.receive_data(frame(ACK, acked=1))


def test_an_agent_opens_no_streams() -> None:
    with pytest.raises(ProtocolError):
        Link().receive_data(frame(OPEN, 1, 1, payload=b"shell"))


def test_a_peer_opens_so_many_streams_and_no_more() -> None:
    agent = Link(accepts_streams=True)
    for number in range(1, MAX_STREAMS + 1):
        agent.receive_data(frame(OPEN, number, number, payload=b"shell"))
    with pytest.raises(ProtocolError):
        agent.receive_data(frame(OPEN, MAX_STREAMS + 1, MAX_STREAMS + 1, payload=b"shell"))


def test_a_credit_may_cross_with_the_end_of_its_stream() -> None:
    agent = agent_with_stream()
    agent.reset(1)
    assert agent.receive_data(frame(CREDIT, 1, 2, payload=b"\0\0\0\1")) == []
    assert agent.receive_data(frame(RESET, 1, 3)) == []
    assert agent.receive_data(frame(CREDIT, 1, 4, payload=b"\0\0\0\1")) == []


def memory(link: Link) -> int:
    """The bytes that a link holds for its peer's sake."""
    return len(link._buffer) + link.queued_bytes + 100 * len(link._streams)


def feed(link: Link, data: bytes, step: int) -> None:
    """Give a link any bytes; all that it may raise is ProtocolError, and it holds few of them."""
    with contextlib.suppress(ProtocolError):
        for start in range(0, len(data), step):
            link.receive_data(data[start : start + step])
            assert memory(link) <= HEADER.size + MAX_PAYLOAD + step + 200 * len(data) // HEADER.size


@given(data=st.binary(max_size=400), step=st.integers(1, 400), accepts=st.booleans())
def test_random_bytes_are_refused_or_waited_for(data: bytes, step: int, accepts: bool) -> None:
    feed(Link(accepts), data, step)


_any_frame = st.builds(
    frame,
    kind=st.integers(0, PONG + 1),
    stream=st.integers(0, 3),
    number=st.integers(0, 4),
    acked=st.integers(0, 2),
    payload=st.sampled_from([b"", b"x", bytes(4), b"shell", b"iopub", b"{}", b'{"type":1}', b"[]"]),
)


@given(st.lists(_any_frame, max_size=12), st.integers(1, 80))
def test_any_frames_are_refused_or_understood(some: list[bytes], step: int) -> None:
    feed(Link(accepts_streams=True), b"".join(some), step)


@given(st.data())
def test_right_frames_with_a_wrong_byte_are_refused_or_understood(data: st.DataObject) -> None:
    launcher, agent, number = connected("iopub")
    launcher.send(number, b"some data")
    launcher.message({"type": "interrupt"})
    launcher.ping()
    launcher.end(number)
    wire = bytearray(launcher.data_to_send(EVERYTHING))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    feed(agent, bytes(wire), data.draw(st.integers(1, 100)))


def test_a_reader_of_nothing_is_seen_in_unsent() -> None:
    """Answers to a peer that does not read them are counted, so that it can be left unheard."""
    agent = Link(accepts_streams=True)
    for number in range(1, 1001):
        [_] = agent.receive_data(frame(OPEN, number, 2 * number - 1, payload=b"shell"))
        agent.receive_data(frame(RESET, number, 2 * number))
    assert agent.queued_bytes == 1000 * HEADER.size


def test_a_long_frame_in_small_parts_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are looked at once, however many parts they come in."""
    looked = Counter[str]()

    class Header:
        size = HEADER.size

        @staticmethod
        def unpack_from(buffer: bytearray, start: int) -> tuple[int, ...]:
            looked["headers"] += 1
            return HEADER.unpack_from(buffer, start)

    monkeypatch.setattr(frames_module, "HEADER", Header)
    link = Link()
    message = frame(MESSAGE, 0, 1, payload=b'{"a":"' + b"x" * 500_000 + b'"}')
    events = [
        event
        for start in range(0, len(message), 100)
        for event in link.receive_data(message[start : start + 100])
    ]
    assert len(events) == 1
    assert looked["headers"] <= len(message) / 100 + 1


# --- video --------------------------------------------------------------------------------------


def test_video_comes_in_order_and_last_of_all() -> None:
    launcher, agent, number = connected("video")
    other = launcher.open("iopub")
    settle(launcher, agent)
    agent.send(number, b"one")
    agent.send(number, b"two")
    agent.send(other, b"text")
    kinds = [(kind, stream) for kind, stream, *_ in frames(agent.data_to_send(EVERYTHING))]
    assert kinds == [(DATA, other), (VIDEO, number), (VIDEO, number)]


def test_video_is_flow_controlled_and_not_kept() -> None:
    launcher, agent, number = connected("video")
    sent = 0
    while room := agent.credit(number):
        agent.send(number, bytes(room))
        sent += room
        assert launcher.receive_data(agent.data_to_send(EVERYTHING)) == [Data(number, bytes(room))]
    assert sent == WINDOW and agent.unacked_bytes == 0
    launcher.consumed(number, WINDOW)
    agent.receive_data(launcher.data_to_send(EVERYTHING))
    assert agent.credit(number) == CHUNK


def test_video_is_never_sent_again() -> None:
    launcher, agent, number = connected("video")
    agent.send(number, b"lost on the way")
    agent.data_to_send(EVERYTHING)
    agent.send(number, b"never left")
    for end in (launcher, agent):
        assert end.disconnect() == [Reset(number)]
        assert end.disconnect() == []
    launcher.resume(agent.last_received)
    agent.resume(launcher.last_received)
    told = settle(launcher, agent)
    assert not [event for events in told for event in events if isinstance(event, Data)]
    fresh = launcher.open("video")
    settle(launcher, agent)
    agent.send(fresh, b"new")
    assert launcher.receive_data(agent.data_to_send(EVERYTHING)) == [Data(fresh, b"new")]


def test_video_that_crosses_a_reset_is_passed_over() -> None:
    launcher, agent, number = connected("video")
    launcher.reset(number)
    agent.send(number, b"late")
    assert launcher.receive_data(agent.data_to_send(EVERYTHING)) == []
    settle(launcher, agent)
    assert launcher.receive_data(frame(VIDEO, number, acked=2, payload=b"late")) == []


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda video, other: frame(VIDEO, other, payload=b"x"), id="not video"),
        pytest.param(lambda video, other: frame(VIDEO, 77, payload=b"x"), id="never opened"),
        pytest.param(lambda video, other: frame(VIDEO, video, 9, payload=b"x"), id="a number"),
        pytest.param(lambda video, other: frame(VIDEO, video), id="no bytes"),
        pytest.param(lambda video, other: frame(DATA, video, 3, payload=b"x"), id="data"),
    ],
)
def test_video_that_breaks_the_protocol(broken: Callable[[int, int], bytes]) -> None:
    launcher, agent, video = connected("video")
    other = launcher.open("shell")
    settle(launcher, agent)
    with pytest.raises(ProtocolError):
        agent.receive_data(broken(video, other))
