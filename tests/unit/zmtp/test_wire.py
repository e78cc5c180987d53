"""The wire protocol of ZeroMQ, byte by byte: what we say, what libzmq said, and what madmen say."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board_agent.zmtp.wire import (
    COMMAND,
    COST,
    GREETING,
    LONG,
    MAX_COMMAND,
    MORE,
    SMALL,
    ProtocolError,
    Wire,
    encode,
)

RECORDED = Path(__file__).parent / "recorded"  # by a plain socket that libzmq 4.3.5 connected to

sizes = st.one_of(
    st.integers(0, 300), st.sampled_from([255, 256, 257, SMALL - 1, SMALL, SMALL + 1, 70000])
)
frames = st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.integers(0, 255))
messages = st.lists(st.lists(frames, min_size=1, max_size=5), max_size=5)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return the data in parts, cut at some places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def introduced(kind: bytes = b"ROUTER", other: bytes = b"DEALER", **options: int) -> Wire:
    """Return an end that has met its peer."""
    here, there = Wire(kind, **options), Wire(other, b"somebody")
    for _ in range(2):
        there.receive_data(here.data_to_send())
        here.receive_data(there.data_to_send())
    assert here.peer is not None and here.peer.kind == other
    return here


def recorded(name: str) -> bytes:
    return bytes.fromhex((RECORDED / f"{name}.hex").read_text())


def frame(flags: int, content: bytes) -> bytes:
    if flags & LONG:
        return bytes([flags]) + len(content).to_bytes(8, "big") + content
    return bytes([flags, len(content)]) + content


@given(messages, st.lists(st.integers(0, 1 << 30), max_size=20))
def test_what_is_sent_is_received_however_it_is_cut(
    sent: list[list[bytes]], places: list[int]
) -> None:
    wire = introduced()
    data = b"".join(b"".join(encode(message)) for message in sent)
    got = [message for part in cut(data, places) for message in wire.receive_data(part)]
    assert got == sent
    assert not wire._buffer and not wire._frames
    assert wire.data_to_send() == b""


@given(st.lists(st.integers(0, 1 << 30), max_size=20), st.binary(max_size=255))
def test_two_ends_meet_however_it_is_cut(places: list[int], identity: bytes) -> None:
    identity = identity.lstrip(b"\0")
    here, there = Wire(b"ROUTER"), Wire(b"DEALER", identity)
    for _ in range(2):
        for end, other in ((here, there), (there, here)):
            for part in cut(end.data_to_send(), places):
                assert other.receive_data(part) == []
    assert here.peer is not None and there.peer is not None
    assert (here.peer.kind, here.peer.identity) == (b"DEALER", identity)
    assert (there.peer.kind, there.peer.identity) == (b"ROUTER", b"")


def test_a_large_frame_is_not_copied_to_be_sent() -> None:
    large = bytes(SMALL + 1)
    parts = encode([b"small", large, b"", large, b"small"])
    assert sum(part is large for part in parts) == 2
    assert encode([b"a", b"b" * 255, b"c"]) == [b"\1\1a\1\xff" + b"b" * 255 + b"\0\1c"]
    assert encode([b"b" * 256]) == [b"\2" + (256).to_bytes(8, "big") + b"b" * 256]


# --- what libzmq said -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 64, 10000])
@pytest.mark.parametrize(
    ("name", "kind", "peer", "expected"),
    [
        ("dealer", b"ROUTER", (b"DEALER", b"me"), [[b"", b"short", b"x" * 300]]),
        ("req", b"ROUTER", (b"REQ", b"me"), [[b"", b"ping"]]),
        ("sub", b"PUB", (b"SUB", b""), [[b"\1early"], [b"\1topic"], [b"\0topic"]]),
        ("sub-3.1", b"XPUB", (b"SUB", b""), [[b"\1early"], [b"\1topic"], [b"\0topic"]]),
    ],
)
def test_what_libzmq_said_is_understood(
    name: str, kind: bytes, peer: tuple[bytes, bytes], expected: list[list[bytes]], step: int
) -> None:
    wire, data, got = Wire(kind), recorded(name), []
    for start in range(0, len(data), step):
        got += wire.receive_data(data[start : start + step])
    assert wire.peer is not None
    assert (wire.peer.kind, wire.peer.identity) == peer
    assert got == expected


def test_the_recorded_subscriptions_are_said_in_both_ways() -> None:
    assert b"\x09SUBSCRIBEtopic" in recorded("sub-3.1") and b"\x06CANCELtopic" in recorded(
        "sub-3.1"
    )
    assert b"\0\6\1topic" in recorded("sub") and b"SUBSCRIBE" not in recorded("sub")


def test_a_ping_of_libzmq_is_answered() -> None:
    wire = Wire(b"ROUTER")
    wire.receive_data(recorded("heartbeat")[:-1])
    assert wire.data_to_send().startswith(GREETING)
    wire.receive_data(recorded("heartbeat")[-1:])
    assert wire.data_to_send() == b"\4\5\4PONG"


def test_a_ping_is_answered_with_its_context() -> None:
    wire = introduced()
    wire.receive_data(frame(COMMAND, b"\4PING\0\x0a" + b"context"))
    assert wire.data_to_send() == frame(COMMAND, b"\4PONGcontext")


def test_commands_that_we_do_not_know_are_left_alone() -> None:
    wire = introduced()
    assert wire.receive_data(frame(COMMAND, b"\3NEWstuff") + frame(0, b"message")) == [[b"message"]]


# --- what nobody may say --------------------------------------------------------------------------

READY = b"\5READY\x0bSocket-Type\0\0\0\6DEALER"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "not ZMTP"),
        (GREETING[:9] + b"\x7e", "not ZMTP"),
        (GREETING[:10] + b"\1", "before version 3"),
        (GREETING.replace(b"NULL\0", b"CURVE"), "another mechanism"),
        (GREETING + frame(0, b"too early"), "before READY"),
        (GREETING + frame(COMMAND, b"\5HELLO"), "in place of READY"),
        (GREETING + frame(COMMAND, b"\5ERROR\6denied"), "denied"),
        (GREETING + frame(COMMAND, b""), "in place of READY"),
        (GREETING + frame(COMMAND, READY.replace(b"DEALER", b"PUBPUB")), "a b'PUBPUB' socket"),
        (GREETING + frame(COMMAND, b"\5READY\x0bSocket-Type"), "too early"),
        (GREETING + frame(COMMAND, READY[:-1]), "too early"),
        (GREETING + frame(COMMAND, READY + b"\x08Identity\0\0\0\2\0x"), "an identity"),
        (GREETING + frame(COMMAND | LONG, READY + b"\x08Identity\0\0\1\0" + b"x" * 256), "an iden"),
        (GREETING + frame(COMMAND, READY) + frame(8, b""), "flags 0x8"),
        (GREETING + frame(COMMAND, READY) + frame(COMMAND | MORE, b""), "flags 0x5"),
        (GREETING + frame(COMMAND, READY) + frame(COMMAND, b"\4PING\0"), "a PING of 1"),
        (GREETING + frame(COMMAND, READY) + frame(COMMAND, b"\5ERROR\0"), "gave up"),
        (GREETING + bytes([COMMAND | LONG]) + (MAX_COMMAND + 1).to_bytes(8, "big"), "command"),
    ],
)
def test_nonsense_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        Wire(b"ROUTER").receive_data(data)


@pytest.mark.parametrize(
    "data",
    [
        bytes([LONG]) + (1 << 63).to_bytes(8, "big"),
        bytes([LONG]) + (1001 - COST).to_bytes(8, "big"),
        frame(LONG | MORE, bytes(500)) + bytes([LONG]) + (373).to_bytes(8, "big"),
        b"\1\0" * (1000 // COST + 1),
    ],
)
def test_a_message_that_is_too_long_is_refused_by_its_header(data: bytes) -> None:
    wire = introduced(limit=1000)
    assert wire.receive_data(frame(LONG, bytes(1000 - COST))) == [[bytes(1000 - COST)]]
    with pytest.raises(ProtocolError, match="more than 1000 bytes"):
        wire.receive_data(data)


def test_a_long_frame_takes_no_memory_before_it_comes() -> None:
    wire = introduced()
    tracemalloc.start()
    try:
        wire.receive_data(bytes([LONG]) + (1 << 27).to_bytes(8, "big") + bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


def test_pings_that_nobody_takes_the_answers_of_take_no_memory() -> None:
    wire = introduced()
    for _ in range(10000):
        wire.receive_data(frame(COMMAND, b"\4PING\0\0" + b"x" * 16))
    assert len(wire._out) < MAX_COMMAND + 100


@given(st.booleans(), st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_messages_or_an_error(met: bool, data: bytes, size: int) -> None:
    wire = introduced(limit=200) if met else Wire(b"XPUB", limit=200)
    try:
        for start in range(0, len(data), size):
            for message in wire.receive_data(data[start : start + size]):
                assert message and sum(map(len, message)) <= 200
    except ProtocolError:
        pass
    assert len(wire._buffer) <= len(data)
