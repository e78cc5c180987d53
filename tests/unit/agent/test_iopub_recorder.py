"""What is kept of iopub for another launcher: ZMTP's opening, whole messages, and the state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_agent.agent.iopub_recorder import IopubRecorder, first_message, opening_length

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
READY = b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB"
OPENING = GREETING + READY


def message(text: bytes, topic: bytes = b"kernel.4f1c.stream", state: str = "") -> bytes:
    """An iopub message as ZMTP has it on the wire."""
    content = b'{"execution_state":"%s"}' % state.encode() if state else b'{"text":"%s"}' % text
    parts = [topic, b"<IDS|MSG>", b"f" * 64, b"{}", b"{}", b"{}", content, text]
    flags = [1] * (len(parts) - 1) + [0]
    return b"".join(
        bytes([flag, len(part)]) + part
        if len(part) < 256
        else bytes([flag | 2]) + len(part).to_bytes(8, "big") + part
        for flag, part in zip(flags, parts, strict=True)
    )


def everything(recorder: IopubRecorder) -> bytes:
    """What another launcher gets."""
    data = recorder.opening
    while recorder.spool:
        data += recorder.spool.popleft(1 << 16)
    return data


# Topics are words. One that ends as a frame of its own would begin cannot be told from one.
TOPICS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=255)
MESSAGES = st.lists(
    st.builds(message, st.binary(max_size=300), TOPICS.map(str.encode)),
    max_size=6,
)


def test_the_opening_is_known_when_it_is_whole() -> None:
    assert [opening_length((OPENING + b"more")[:size]) for size in range(len(OPENING) + 5)] == [
        *[None] * len(OPENING),
        *[len(OPENING)] * 5,
    ]


@given(messages=MESSAGES, cut=st.integers(0, 2000))
def test_the_first_whole_message_is_where_one_begins(messages: list[bytes], cut: int) -> None:
    stream = b"".join(messages)
    cut = min(cut, len(stream))
    starts = [len(b"".join(messages[:count])) for count in range(len(messages) + 1)]
    assert first_message(stream[cut:]) == min(start for start in starts if start >= cut) - cut


@pytest.mark.parametrize("size", [0, 1, 9, 254, 255])
def test_a_topic_may_be_of_any_length(size: int) -> None:
    whole = message(b"text", topic=b"t" * size)
    assert first_message(whole) == 0
    assert first_message(b"rest" + whole) == 4


@given(
    messages=MESSAGES,
    sizes=st.lists(st.integers(1, 200), max_size=20),
    sent_from=st.integers(0, 1000),
    sent_to=st.integers(0, 1000),
)
def test_another_launcher_gets_the_opening_and_whole_messages(
    messages: list[bytes], sizes: list[int], sent_from: int, sent_to: int
) -> None:
    """Whatever part had been sent and not acknowledged, and however it came from the kernel."""
    stream = OPENING + b"".join(messages)
    sent_to = min(sent_to + len(OPENING), len(stream))
    sent_from = min(sent_from + len(OPENING), sent_to)
    recorder = IopubRecorder()
    part = stream
    for size in sizes:
        recorder.outgoing(part[:size])
        part = part[size:]
    recorder.outgoing(part)
    for start in range(sent_to, len(stream), 100):
        recorder.spool.append(stream[start : start + 100])
    sent = stream[sent_from:sent_to]
    recorder.prepare_for_takeover([sent[:50], sent[50:]])
    starts = [len(OPENING + b"".join(messages[:count])) for count in range(len(messages) + 1)]
    first = min(start for start in starts if start >= sent_from)
    assert everything(recorder) == OPENING + stream[first:]


def test_a_message_is_found_over_the_border_of_what_was_sent_and_what_was_spooled() -> None:
    whole = message(b"text", topic=b"t" * 255)
    for cut in range(len(whole)):
        recorder = IopubRecorder()
        recorder.outgoing(OPENING)
        if whole[cut:]:
            recorder.spool.append(whole[cut:])
        recorder.prepare_for_takeover([b"rest of another", whole[:cut]])
        assert everything(recorder) == OPENING + whole, cut


def test_a_second_rewind_is_as_good_as_the_first() -> None:
    recorder = IopubRecorder()
    recorder.outgoing(OPENING + message(b"one"))
    recorder.prepare_for_takeover([message(b"one")])
    taken = recorder.spool.popleft(100)
    recorder.prepare_for_takeover([taken])
    assert everything(recorder) == OPENING + message(b"one")


def test_an_outage_after_a_rewind_that_left_nothing() -> None:
    recorder = IopubRecorder()
    recorder.outgoing(OPENING)
    recorder.prepare_for_takeover([])
    assert not recorder.spool
    recorder.spool.append(message(b"one"))
    assert recorder.spool.popleft(1 << 16) == message(b"one")


@given(sizes=st.lists(st.integers(1, 40), max_size=12))
def test_the_state_is_the_last_however_it_was_cut(sizes: list[int]) -> None:
    recorder = IopubRecorder()
    stream = OPENING + b"".join(message(b"", state=state) for state in ("busy", "idle", "busy"))
    assert recorder.state == "starting"
    for size in sizes:
        recorder.outgoing(stream[:size])
        stream = stream[size:]
    recorder.outgoing(stream)
    assert recorder.state == "busy"
    recorder.outgoing(message(b"x" * 1000))
    assert recorder.state == "busy"
    recorder.outgoing(message(b"", state="idle"))
    assert recorder.state == "idle"


@given(sizes=st.lists(st.integers(1, 40), max_size=12))
def test_only_the_first_launcher_introduces_itself(sizes: list[int]) -> None:
    recorder = IopubRecorder()
    stream = OPENING + b"\0\x01\x01"  # and a subscription
    assert recorder.incoming(stream) == stream
    assert not recorder.awaits_peer
    recorder.prepare_for_takeover([])
    assert recorder.awaits_peer
    told = b""
    for size in sizes:
        told += recorder.incoming(stream[:size])
        stream = stream[size:]
    told += recorder.incoming(stream)
    assert told == b"\0\x01\x01" and not recorder.awaits_peer
    assert recorder.incoming(b"more") == b"more"


@given(cut=st.integers(1, 120), sizes=st.lists(st.integers(1, 60), max_size=12))
def test_the_rest_of_a_message_that_is_still_in_the_kernel_is_left_out(
    cut: int, sizes: list[int]
) -> None:
    first, second = message(b"first"), message(b"second")
    recorder = IopubRecorder()
    recorder.outgoing(OPENING + first[:cut])
    recorder.prepare_for_takeover([first[cut // 2 + 1 : cut + 1]])
    assert everything(recorder) == OPENING
    rest, passed = first[cut + 1 :] + second + first, b""
    for size in sizes:
        passed += recorder.outgoing(rest[:size])
        rest = rest[size:]
    assert passed + recorder.outgoing(rest) == second + first
