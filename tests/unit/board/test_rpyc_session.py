"""Boards that attack: nothing of this PC is read, run or imported, and each gets a named error."""

from __future__ import annotations

import socket
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpyc.core import brine, consts, netref

from rkernel_launcher import errors
from rkernel_launcher.board.rpyc.packets import (
    HEADER,
    Dialect,
    Malformed,
    Packet,
    body_size,
    decode,
    encode,
)
from rkernel_launcher.board.rpyc.session import Session
from rkernel_launcher.transports.stream import Stream

ROOT = (consts.LABEL_REMOTE_REF, ("rpyc.core.service.SlaveService", 1, 2))
NONE = (consts.LABEL_VALUE, None)
WHAT = "the board that we wait for"
Attack = Callable[["Board", int], None]


class Board:
    """A board that greets like a SlaveService, and at the first request after that does its worst.

    What it receives after the attack is kept in `booty`: it must be nothing.
    """

    def __init__(self, dialect: Dialect, attack: Attack) -> None:
        self.dialect = dialect
        self.booty = b""
        self.sock, self.far = socket.socketpair()
        self.sock.settimeout(20)
        self._thread = threading.Thread(target=self._play, args=(attack,))
        self._thread.start()

    def _play(self, attack: Attack) -> None:
        with self.sock:
            self.say(consts.MSG_REPLY, self.hear().number, ROOT)
            number = self.hear().number
            try:
                attack(self, number)
                while data := self.sock.recv(1 << 16):
                    self.booty += data
            except ConnectionError:
                pass  # It hung up on us.

    def hear(self) -> Packet:
        with self.sock.makefile("rb", buffering=0) as file:
            header = file.read(HEADER.size)
            body = b""
            while len(body) < body_size(header):
                body += file.read(body_size(header) - len(body))
        return decode(header, body)

    def say(self, kind: int, number: int, content: Any) -> None:
        self.sock.sendall(encode(Packet(self.dialect, kind, number, content)))

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive(), "the board still waits for the PC after 20 s"


@pytest.fixture(params=Dialect, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def attacked(dialect: Dialect) -> Iterator[Callable[..., errors.RkernelError]]:
    boards: list[Board] = []

    def attacked(
        attack: Attack, act: Callable[[Session], object] | None = None, timeout: float = 20
    ) -> errors.RkernelError:
        board = Board(dialect, attack)
        boards.append(board)
        with (
            closing(Session(Stream(board.far), timeout, WHAT, dialect)) as session,
            pytest.raises(errors.RkernelError) as raised,
        ):
            (act or (lambda session: session.execute("pass")))(session)
        board.join()
        assert board.booty == b""
        return raised.value

    yield attacked
    for board in boards:
        board.sock.close()
        board.far.close()


# What an attacker would name: our root, by its label and by guesses, and plain values.
VICTIMS = [
    (consts.LABEL_LOCAL_REF, ("rpyc.core.service.VoidService", 0, 0)),
    (consts.LABEL_LOCAL_REF, ("builtins.module", 0, 0)),
    (consts.LABEL_VALUE, "text"),
    (consts.LABEL_VALUE, ()),
    ROOT,
]
HANDLERS = {
    name: value
    for name, value in vars(consts).items()
    if name.startswith("HANDLE_") and value != consts.HANDLE_CLOSE
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
def test_requests_are_refused(attacked: Callable[..., errors.RkernelError], handler: int) -> None:
    for victim in VICTIMS:
        names = ((consts.LABEL_VALUE, name) for name in ("__class__", (), ()))
        request = (handler, (consts.LABEL_TUPLE, (victim, *names)))
        error = attacked(lambda board, number: board.say(1, 99, request))  # noqa: B023
        assert type(error) is errors.BoardMisbehaved
        assert "a request for something of this PC" in str(error)


@pytest.mark.parametrize("request_", [(99, NONE), (3, (1, ())), None, (), "text", ((), ())])
def test_odd_requests_are_refused(
    attacked: Callable[..., errors.RkernelError], request_: Any
) -> None:
    error = attacked(lambda board, number: board.say(1, number, request_))
    assert type(error) is errors.BoardMisbehaved


def test_goodbye_is_a_lost_connection(attacked: Callable[..., errors.RkernelError]) -> None:
    goodbye = (consts.HANDLE_CLOSE, (consts.LABEL_VALUE, ()))
    error = attacked(lambda board, number: board.say(1, 99, goodbye))
    assert type(error) is errors.BoardLost


NETREFS = [
    ("this.anything", 1, 2),  # To look this up would import or run something here.
    ("concurrent.futures.ProcessPoolExecutor", 1, 2),
    ("builtins.str", 1, 2),
    ((), "x", None),
]


@pytest.mark.parametrize("token", NETREFS)
def test_netrefs_are_never_made(
    attacked: Callable[..., errors.RkernelError], token: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(netref.BaseNetref, "__init__", lambda *args: made.append(args))
    for boxed in [(4, token), (3, token), (2, ((4, token),)), (2, ((1, "{}"), (4, token)))]:
        error = attacked(lambda board, number: board.say(2, number, boxed))  # noqa: B023
        assert type(error) is errors.BoardMisbehaved
    assert not made and "this" not in sys.modules


@pytest.mark.parametrize("boxed", [(1, "text"), (1, None), (2, ()), (3, NETREFS[0]), (5, ())])
def test_values_are_not_taken_for_functions(
    attacked: Callable[..., errors.RkernelError], boxed: Any
) -> None:
    error = attacked(
        lambda board, number: board.say(2, number, boxed), lambda session: session.call("f")
    )
    assert "a value where an object is due" in str(error)


def test_token_for_a_function_is_only_handed_back(dialect: Dialect) -> None:
    token = ("this.anything", 7, 8)
    asked: list[Any] = []

    def play(board: Board, number: int) -> None:
        board.say(2, number, (4, token))
        call = board.hear()
        asked.append(call.content)
        board.say(2, call.number, (4, token))

    board = Board(dialect, play)
    with (
        closing(Session(Stream(board.far), 20, WHAT, dialect)) as session,
        pytest.raises(errors.BoardMisbehaved, match=f"is not {WHAT}: it sent .* no JSON text"),
    ):
        session.call("f", "a")
    board.join()
    assert asked == [(consts.HANDLE_CALL, (2, ((3, token), (1, ("a",)))))]
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "NaN0", "1" * 10_000, b"{}", 5, None, ("{}",), 1.5]
)
def test_replies_that_are_no_json(attacked: Callable[..., errors.RkernelError], text: Any) -> None:
    def play(board: Board, number: int) -> None:
        board.say(2, number, (4, "token"))
        board.say(2, board.hear().number, (1, text))

    error = attacked(play, lambda session: session.call("f"))
    assert type(error) is errors.BoardMisbehaved


@pytest.mark.parametrize("content", [None, (), 5, "text", (1,), (1, None, 2), ((), 5), (2, ())])
def test_replies_of_another_shape(
    attacked: Callable[..., errors.RkernelError], content: Any
) -> None:
    error = attacked(lambda board, number: board.say(2, number, content))
    assert type(error) is errors.BoardMisbehaved


def test_packet_of_no_kind(attacked: Callable[..., errors.RkernelError]) -> None:
    for kind in (0, 4, -1):
        data = brine.dump((kind, 2, NONE))
        frame = HEADER.pack(len(data), 0) + data + b"\n"
        error = attacked(lambda board, number: board.sock.sendall(frame))  # noqa: B023
        assert type(error) is errors.BoardMisbehaved


def test_reply_to_another_question(attacked: Callable[..., errors.RkernelError]) -> None:
    error = attacked(lambda board, number: board.say(2, number + 1, NONE))
    assert type(error) is errors.BoardMisbehaved


def test_change_of_dialect(attacked: Callable[..., errors.RkernelError]) -> None:
    def play(board: Board, number: int) -> None:
        (board.dialect,) = set(Dialect) - {board.dialect}
        board.say(2, number, NONE)

    assert type(attacked(play)) is errors.BoardMisbehaved


class Evil(Exception):
    """An exception of this PC that a board must not be able to make."""

    made = 0

    def __new__(cls, *args: object) -> Evil:
        cls.made += 1
        return super().__new__(cls)


@pytest.mark.parametrize(
    "content",
    [
        (("this", "Zen"), (), (), "trace\nthis.Zen: boo"),
        ((__name__, "Evil"), (), (("__class__", 5),), "trace\nEvil: boo"),
        (("builtins", "SystemExit"), (0,), (), "trace\nSystemExit: 0"),
        (("builtins", "KeyboardInterrupt"), (), (), ""),
        (5, 5, 5, 5),
        ((), (), (), ()),
        consts.EXC_STOP_ITERATION,
        "a string",
        None,
    ],
)
def test_exceptions_are_only_read(
    attacked: Callable[..., errors.RkernelError], content: Any
) -> None:
    error = attacked(lambda board, number: board.say(3, number, content))
    assert type(error) is errors.BoardError
    assert "this" not in sys.modules and not Evil.made


def test_text_in_errors_cannot_steer_a_terminal(
    attacked: Callable[..., errors.RkernelError],
) -> None:
    trace = "Traceback\n\tline\r\x1b]0;title\x07\n\x1b[2JError: \x9b31m\u202e\ud800\x7f\0"
    trace = trace.encode("utf-8", "replace").decode()
    error = attacked(
        lambda board, number: board.say(3, number, (("m", "n"), (), (), trace)),
    )
    text = str(error) + str(error.facts["traceback"])
    assert {char for char in text if not char.isprintable()} <= {"\n", "\t"}
    assert "\\x1b[2JError: \\x9b31m\\u202e" in str(error)


def test_endless_traceback_is_cut(attacked: Callable[..., errors.RkernelError]) -> None:
    trace = "x" * (5 << 20)
    error = attacked(lambda board, number: board.say(3, number, (("m", "n"), (), (), trace)))
    assert len(str(error)) < 30_000


# --- packets that are none --------------------------------------------------------------------

BOMB = zlib.compress(bytes(200 << 20), 9)
TINY = b"\x15" + HEADER.pack(8 << 20, 0)[:4] + b"\x02" * (8 << 20)  # 8 M empty tuples
DEEP = b"\x10" * 200_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(HEADER.pack(2**32 - 1, 0), id="4 GB"),
        pytest.param(HEADER.pack(0, 0) + b"\n", id="empty"),
        pytest.param(HEADER.pack(5, 9) + b"hello\n", id="flag"),
        pytest.param(HEADER.pack(5, 0) + b"hello\n", id="text"),
        pytest.param(HEADER.pack(5, 0) + b"\x12\x02\x02\x02\x02!", id="no end"),
        pytest.param(HEADER.pack(5, 1) + b"hello\n", id="no zlib"),
        pytest.param(HEADER.pack(len(BOMB), 1) + BOMB + b"\n", id="bomb"),
        pytest.param(HEADER.pack(len(BOMB) - 9, 1) + BOMB[:-9] + b"\n", id="cut bomb"),
        pytest.param(HEADER.pack(4, 0) + b"\x12\x50\x51\xff\n", id="unknown tag"),
        pytest.param(HEADER.pack(4, 0) + b"\x02\x11\x51\xff\n", id="unknown tag of 6"),
        pytest.param(HEADER.pack(len(TINY) + 3, 0) + b"\x12\x52\x51" + TINY + b"\n", id="tiny"),
        pytest.param(HEADER.pack(len(TINY) + 3, 0) + b"\x02\x11\x51" + TINY + b"\n", id="tiny 6"),
        pytest.param(HEADER.pack(len(DEEP) + 3, 0) + b"\x12\x52\x51" + DEEP + b"\n", id="deep"),
        pytest.param(HEADER.pack(len(DEEP) + 3, 0) + b"\x02\x11\x51" + DEEP + b"\n", id="deep 6"),
    ],
)
def test_malformed_packets(attacked: Callable[..., errors.RkernelError], data: bytes) -> None:
    tracemalloc.start()
    try:
        error = attacked(lambda board, number: board.sock.sendall(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(error) is errors.BoardMisbehaved
    assert peak < 200 << 20


def test_dripping_board(attacked: Callable[..., errors.RkernelError]) -> None:
    def drip(board: Board, number: int) -> None:
        board.sock.sendall(HEADER.pack(1 << 20, 0))
        while True:
            board.sock.sendall(b"x")
            time.sleep(0.02)

    began = time.monotonic()
    assert type(attacked(drip, timeout=0.5)) is errors.BoardSilent
    assert time.monotonic() - began < 5


def test_board_that_stops_in_mid_packet(attacked: Callable[..., errors.RkernelError]) -> None:
    def stop(board: Board, number: int) -> None:
        board.sock.sendall(HEADER.pack(100, 0) + b"\x12")
        board.sock.shutdown(socket.SHUT_WR)

    assert type(attacked(stop)) is errors.BoardLost


def test_board_that_does_not_read() -> None:
    near, far = socket.socketpair()
    with closing(near), closing(far):
        near.sendall(encode(Packet(Dialect.FROM_6, 2, 1, ROOT)))
        with (
            closing(Session(Stream(far), 0.5, WHAT)) as session,
            pytest.raises(errors.BoardSilent),
        ):
            session.execute("#" * (64 << 20))


@pytest.mark.parametrize(
    "data",
    [
        b"\x12\x52\x51\x0e\x05abcd",  # a string of five bytes, of which four came
        b"\x12\x52\x51\x08\x0e\x05abcd",
        b"\x02\x11\x51\x0d123",
        b"\x12\x52\x51",
    ],
)
def test_strings_that_are_cut_short(data: bytes) -> None:
    with pytest.raises(Malformed, match="cut short"):
        decode(HEADER.pack(len(data), 0), data + b"\n")


def test_compressed_packets() -> None:
    whole = encode(Packet(Dialect.FROM_6, 2, 1, "text" * 1000))[HEADER.size : -1]
    packed = zlib.compress(whole)
    assert decode(HEADER.pack(len(packed), 1), packed + b"\n").content == "text" * 1000
    with pytest.raises(Malformed, match="cut short"):
        decode(HEADER.pack(len(packed), 1), packed[:-1] + b"\n")


@given(st.binary(min_size=HEADER.size, max_size=HEADER.size), st.binary(max_size=200))
def test_any_bytes_decode_or_are_malformed(header: bytes, body: bytes) -> None:
    for ending in (b"", b"\n"):
        for start in (b"", b"\x12", b"\x02\x11"):
            try:
                assert body_size(header) > 0
                packet = decode(header[:4] + b"\0", start + body + ending)
            except Malformed:
                continue
            assert type(packet.kind) is int and type(packet.number) is int


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=20,
)


@given(st.sampled_from(Dialect), st.integers(1, 3), st.integers(0, 2**40), plain)
def test_packets_survive_the_way(dialect: Dialect, kind: int, number: int, content: Any) -> None:
    packet = Packet(dialect, kind, number, content)
    data = encode(packet)
    header, body = data[: HEADER.size], data[HEADER.size :]
    assert body_size(header) == len(body)
    assert decode(header, body) == packet
