"""Two drivers over real sockets, with real local connections on their streams."""

from __future__ import annotations

import array
import errno
import json
import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from board_agent.agent.iopub_recorder import IopubRecorder
from board_agent.agent.spool import Spool
from board_agent.link import driver as driver_module
from board_agent.link import event_loop
from board_agent.link.driver import MAX_QUEUED, LinkDriver
from board_agent.link.event_loop import Loop
from board_agent.link.events import Data
from board_agent.link.forwarder import Forwarder
from board_agent.link.frames import ACK, HEADER, PING, ProtocolError
from board_agent.link.link import CHUNK, MAX_UNACKED_URGENT, WINDOW, Link
from board_agent.link.messages import Note
from board_agent.link.stream_end import StreamEnd
from board_agent.link.transport import SocketTransport

LIMIT = 30.0
MEGABYTE = 1 << 20
Connect = Callable[[], tuple[socket.socket, socket.socket]]


class Client:
    """What is at the far end of a local connection: the frontend, or the kernel."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.received = bytearray()
        self.sent = 0
        self.over = False  # the driver has closed its direction
        self.listening = True
        self.echo = False
        self.on_data: Callable[[], None] | None = None
        self._loop = loop
        self._sock = sock
        self._out = bytearray()
        self._ending = False
        sock.setblocking(False)
        self._watch()

    def send(self, data: bytes) -> None:
        self._out += data
        self._watch()

    def end(self) -> None:
        """Send no more."""
        self._ending = True
        self._watch()

    def listen(self, listening: bool) -> None:
        self.listening = listening
        self._watch()

    def close(self) -> None:
        self._loop.watch(self._sock, None, None)
        self._sock.close()

    def _watch(self) -> None:
        if self._ending and not self._out:
            self._ending = False
            self._sock.shutdown(socket.SHUT_WR)
        listening = self.listening and not self.over
        self._loop.watch(
            self._sock, self._read if listening else None, self._write if self._out else None
        )

    def _read(self) -> None:
        try:
            data = self._sock.recv(MEGABYTE)
        except ConnectionResetError:
            data = b""
        self.received += data
        self.over = not data
        if self.echo:
            self._out += data
            self._ending = self._ending or self.over
        if self.on_data:
            self.on_data()
        self._watch()

    def _write(self) -> None:
        try:
            count = self._sock.send(self._out[:MEGABYTE])
        except BrokenPipeError:
            count = len(self._out)
        self.sent += count
        del self._out[:count]
        self._watch()


def say(driver: LinkDriver, content: dict[str, Any]) -> None:
    """Send a message of the test's own, in the text of a note."""
    driver.send(Note(json.dumps(content)))


def heard(content: dict[str, Any]) -> dict[str, Any]:
    """Return what the other end said; a note of the code's own as it is."""
    with suppress(KeyError, ValueError):
        return dict(json.loads(content["text"]))
    return content


def paused(driver: LinkDriver) -> list[StreamEnd]:
    """Return the ends that wait for room."""
    return [end for end in driver.ends.values() if end.waits_for_room]


class Side:
    """One driver, and what it said; with no transport if that is None."""

    def __init__(self, pair: Pair, transport: Any, link: Link) -> None:
        self.messages: list[dict[str, Any]] = []
        self.reasons: list[Exception] = []
        self.on_message: Callable[[dict[str, Any]], None] = self.messages.append
        self.driver = LinkDriver(
            pair.loop,
            link,
            on_message=lambda content: self.on_message(heard(content)),
            on_disconnect=self.reasons.append,
            on_open=pair.opened,
        )
        if transport is not None:
            self.driver.resume(SocketTransport(transport), 0)

    @property
    def held(self) -> int:
        """The bytes of others that are in memory here."""
        waiting = sum(len(data) for end in self.driver.ends.values() for data in end._waiting)
        return waiting + self.driver.link.queued_bytes + len(self.driver._out)

    @property
    def kept(self) -> int:
        """The bytes of memory that are kept to be sent again."""
        return self.driver.link.unacked_bytes


class Pair:
    """A launcher's driver and an agent's on one loop."""

    def __init__(self, loop: Loop, ends: tuple[Any, Any]) -> None:
        self.loop = loop
        self.refuse: Callable[[int], bool] = lambda number: False
        self.kernel: dict[int, Client] = {}  # by stream
        self.clients: list[Client] = []
        self.launcher = Side(self, ends[0], Link())
        self.agent = Side(self, ends[1], Link(accepts_streams=True))

    def connect(self, channel: str = "shell") -> Client:
        """Give a frontend's connection to a channel."""
        ours, theirs = socket.socketpair()
        self.launcher.driver.open(channel, Forwarder(self.loop, theirs))
        return self.client(ours)

    def connected(self, channel: str = "shell") -> tuple[Client, Client]:
        """Give a frontend's connection to a channel, and the kernel's end of it."""
        client = self.connect(channel)
        known = len(self.kernel)
        self.until(lambda: len(self.kernel) > known, "the stream is open")
        return client, self.kernel[max(self.kernel)]

    def client(self, sock: socket.socket) -> Client:
        self.clients.append(Client(self.loop, sock))
        return self.clients[-1]

    def opened(self, number: int, channel: str) -> None:
        if self.refuse(number):
            self.agent.driver.link.reset(number)
            return
        ours, theirs = socket.socketpair()
        self.kernel[number] = self.client(ours)
        recorder = IopubRecorder() if channel == "iopub" else None
        self.agent.driver.attach(number, Forwarder(self.loop, theirs, recorder))

    def resume(self, ends: tuple[Any, Any]) -> None:
        """Go on over a new connection, as after the handshake."""
        received = [side.driver.link.last_received for side in (self.launcher, self.agent)]
        self.launcher.driver.resume(SocketTransport(ends[0]), received[1])
        self.agent.driver.resume(SocketTransport(ends[1]), received[0])

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Run the loop until something holds; the test fails when that takes too long."""
        run_until(self.loop, condition, what)

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *exception: object) -> None:
        for side in (self.launcher, self.agent):
            side.driver.close()
        for client in self.clients:
            client.close()


def run_until(loop: Loop, condition: Callable[[], bool], what: str) -> None:
    late = []
    cancel = loop.call_later(LIMIT, lambda: (late.append(what), loop.stop()))

    def look() -> None:
        if condition():
            loop.stop()
        else:
            loop.call_later(0.001, look)

    look()
    if not condition():
        loop.run()
    cancel()
    assert not late, f"waited for {LIMIT:.0f} s until {what}"


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def connect() -> Connect:
    """Give what makes a connection; tests/local runs these tests over TCP."""
    return socket.socketpair


def unblocked(ends: tuple[socket.socket, socket.socket]) -> tuple[socket.socket, socket.socket]:
    for end in ends:
        end.setblocking(False)
    return ends


@pytest.fixture
def pair(loop: Loop, connect: Connect) -> Iterator[Pair]:
    with Pair(loop, unblocked(connect())) as made:
        yield made


def pattern(count: int, seed: int = 0) -> bytes:
    """Bytes that tell where in a stream they belong."""
    return array.array("Q", range(seed << 32, (seed << 32) + count // 8)).tobytes()


# --- what is carried -----------------------------------------------------------------------------


def test_many_streams_echo_at_once(pair: Pair) -> None:
    clients = [pair.connect(channel) for channel in ("shell", "control", "stdin", "iopub") * 6]
    pair.until(lambda: len(pair.kernel) == len(clients), "all streams are open")
    for kernel in pair.kernel.values():
        kernel.echo = True
    for seed, client in enumerate(clients):
        client.send(pattern(40_000 * (1 + seed % 3), seed))
        client.end()
    pair.until(lambda: all(client.over for client in clients), "all echoes have come")
    for seed, client in enumerate(clients):
        assert client.received == pattern(40_000 * (1 + seed % 3), seed)
    for side in (pair.launcher, pair.agent):
        assert not side.driver.ends and not side.reasons
        assert not side.driver.link._streams


@pytest.mark.parametrize("first", [0, 1], ids=["frontend", "kernel"])
def test_half_a_connection_may_end_while_the_other_goes_on(pair: Pair, first: int) -> None:
    ends = pair.connected()
    early, late = ends[first], ends[1 - first]
    early.send(b"all I have to say")
    early.end()
    pair.until(lambda: late.over, "the end has come")
    assert late.received == b"all I have to say"
    late.send(pattern(3 * WINDOW))
    pair.until(lambda: len(early.received) == 3 * WINDOW, "the answer has come")
    assert not early.over
    late.end()
    pair.until(lambda: early.over, "the other end has come")
    assert early.received == pattern(3 * WINDOW)
    pair.until(lambda: not pair.agent.driver.ends, "the agent has closed its connection")
    assert not pair.launcher.driver.ends


def test_the_last_bytes_come_before_the_end_even_to_a_slow_reader(pair: Pair) -> None:
    frontend, kernel = pair.connected("iopub")
    frontend.listen(False)
    kernel.send(pattern(2 * MEGABYTE))
    kernel.end()
    pair.until(lambda: pair.launcher.held >= WINDOW // 2, "the launcher's end holds some")
    assert not pair.launcher.driver.idle
    frontend.listen(True)
    pair.until(lambda: frontend.over, "the end has come")
    assert frontend.received == pattern(2 * MEGABYTE)
    assert pair.launcher.driver.idle


def test_messages_come_in_order(pair: Pair) -> None:
    for number in range(300):
        say(pair.launcher.driver, {"number": number, "text": "x" * (number % 7 * 1000)})
        say(pair.agent.driver, {"answer": number})
    pair.until(lambda: len(pair.agent.messages) == 300, "all messages have come")
    pair.until(lambda: len(pair.launcher.messages) == 300, "all answers have come")
    assert [message["number"] for message in pair.agent.messages] == list(range(300))
    assert [message["answer"] for message in pair.launcher.messages] == list(range(300))


class Crumbs:
    """A socket that takes and gives one byte at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.fileno = sock.fileno
        self.setblocking = sock.setblocking
        self.close = sock.close

    def send(self, data: bytes) -> int:
        return self._sock.send(data[:1])

    def recv(self, count: int) -> bytes:
        return self._sock.recv(1)


def test_a_transport_may_take_and_give_one_byte_at_a_time(loop: Loop) -> None:
    ends = unblocked(socket.socketpair())
    with Pair(loop, (Crumbs(ends[0]), Crumbs(ends[1]))) as pair:
        frontend, kernel = pair.connected()
        kernel.echo = True
        say(pair.launcher.driver, {"type": "interrupt"})
        frontend.send(pattern(4000))
        frontend.end()
        pair.until(lambda: frontend.over, "the echo has come")
        assert frontend.received == pattern(4000)
        assert pair.agent.messages == [{"type": "interrupt"}]


# --- what is held back ---------------------------------------------------------------------------


@pytest.mark.parametrize("stuck", [0, 1], ids=["frontend", "kernel"])
def test_a_reader_that_stops_holds_up_its_own_stream_only(pair: Pair, stuck: int) -> None:
    ends = pair.connected()
    reader, writer = ends[stuck], ends[1 - stuck]
    others = [pair.connected(channel) for channel in ("shell", "iopub", "control")]

    def echo_elsewhere() -> None:
        """Have a megabyte go each way on each other stream: all that could move has moved then."""
        for frontend, kernel in others:
            kernel.echo = True
            frontend.received.clear()
            frontend.send(pattern(MEGABYTE))
        pair.until(
            lambda: all(len(frontend.received) == MEGABYTE for frontend, _ in others),
            "the other streams echo",
        )

    reader.listen(False)
    writer.send(pattern(8 * MEGABYTE))
    echo_elsewhere()
    sent = writer.sent
    assert WINDOW <= sent < 3 * MEGABYTE
    for side in (pair.launcher, pair.agent):
        assert side.held <= WINDOW + CHUNK
        assert side.kept <= MAX_UNACKED_URGENT + 2 * CHUNK
    echo_elsewhere()
    assert writer.sent == sent, "nobody reads what cannot be passed on"
    reader.listen(True)
    pair.until(lambda: len(reader.received) == 8 * MEGABYTE, "all has come")
    assert reader.received == pattern(8 * MEGABYTE)


@pytest.mark.parametrize("down", [True, False], ids=["to the launcher", "to the agent"])
def test_a_message_passes_what_waits_on_a_stream(loop: Loop, down: bool) -> None:
    """Only what the transport has taken already, and the frame on its way, come before it."""
    ends = unblocked(socket.socketpair())
    for end in ends:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, 4096)
    with Pair(loop, ends) as pair:
        frontend, kernel = pair.connected("iopub" if down else "files")
        writer, reader = (kernel, frontend) if down else (frontend, kernel)
        sender, receiver = (pair.agent, pair.launcher) if down else (pair.launcher, pair.agent)
        total = 5 * MEGABYTE
        noise = random.Random(1).randbytes(total)  # which does not get smaller on its way
        writer.send(noise)
        came_after: list[int] = []
        asked_at: list[int] = []

        def ask() -> None:
            full = paused(sender.driver) and sender.driver._out
            if len(reader.received) > MEGABYTE and full and not asked_at:
                asked_at.append(len(reader.received))
                say(sender.driver, {"type": "interrupt"})

        def asked(content: dict[str, Any]) -> None:
            came_after.append(len(reader.received))

        reader.on_data = ask
        receiver.on_message = asked
        pair.until(lambda: len(reader.received) == total, "all has come")
        assert reader.received == noise
        [before], [after] = asked_at, came_after
        assert after - before < 2 * CHUNK, "less than a frame and what waits behind it"


def test_a_stream_that_waited_for_another_goes_on_by_itself(loop: Loop) -> None:
    """It waits for room here, not for the peer: no credit will come to wake it."""
    ours, theirs = unblocked(socket.socketpair())
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with Pair(loop, (ours, None)) as pair, theirs:
        large, small = pair.connect(), pair.connect()
        large.send(random.Random(1).randbytes(WINDOW))
        pair.until(lambda: paused(pair.launcher.driver), "the first stream waits")
        small.send(b"a few words")
        pair.until(lambda: len(paused(pair.launcher.driver)) == 2, "the second waits for it")
        received = {1: b"", 2: b""}
        peer = Link(accepts_streams=True)

        def read() -> None:
            for event in peer.receive_data(theirs.recv(MEGABYTE)):
                if isinstance(event, Data):
                    received[event.stream] += event.data

        loop.watch(theirs, read, None)
        pair.until(lambda: received[2] == b"a few words", "the second goes on")
        loop.watch(theirs, None, None)


def test_a_peer_that_sends_but_does_not_read_is_not_listened_to_for_ever(
    loop: Loop, connect: Connect
) -> None:
    ours, theirs = unblocked(connect())
    with Pair(loop, (None, ours)) as pair:
        pair.agent.on_message = lambda content: say(pair.agent.driver, {"x": "y" * 100_000})
        request = Link()
        taken = 0
        wire = b""

        def flood() -> None:
            nonlocal taken, wire
            if not wire:
                request.message({"type": "more"})
                wire = request.data_to_send()
            count = theirs.send(wire)
            taken += count
            wire = wire[count:]

        loop.watch(theirs, None, flood)
        pair.until(lambda: pair.agent.driver._watched == (False, True), "the agent stops reading")
        assert pair.agent.held < MAX_QUEUED + driver_module.RECEIVE_SIZE // 25 * 100_100
        loop.watch(theirs, None, None)
        theirs.close()


# --- when the connection is lost -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "reset", "replaced"])
def test_all_arrives_once_and_in_order_over_many_connections(
    loop: Loop, connect: Connect, how: str
) -> None:
    with Pair(loop, unblocked(connect())) as pair:
        frontend, kernel = pair.connected()
        kernel.echo = True
        total = 24 * WINDOW
        frontend.send(pattern(total))
        for step in range(1, 9):
            say(pair.launcher.driver, {"number": step})
            pair.until(lambda s=step: len(frontend.received) >= s * 2 * WINDOW, "more has come")
            say(pair.launcher.driver, {"late": step})
            if how == "closed":
                pair.launcher.driver.suspend()
                pair.until(lambda: not pair.agent.driver.connected, "the agent has noticed")
            elif how == "reset":
                sock = pair.agent.driver._transport._sock
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                pair.agent.driver.suspend()
                pair.until(lambda: not pair.launcher.driver.connected, "the launcher has noticed")
            pair.resume(unblocked(connect()))
        frontend.end()
        pair.until(lambda: frontend.over, "the end has come")
        assert frontend.received == pattern(total)
        said = [kind for step in range(1, 9) for kind in ({"number": step}, {"late": step})]
        assert pair.agent.messages == said
        assert not pair.launcher.driver.ends and not pair.agent.driver.ends
        say(pair.launcher.driver, {})
        say(pair.agent.driver, {})
        pair.until(lambda: len(pair.agent.messages) == 17, "the last has come")


def test_what_is_said_while_there_is_no_connection_is_bounded_and_kept(loop: Loop) -> None:
    with Pair(loop, unblocked(socket.socketpair())) as pair:
        frontend, kernel = pair.connected()
        pair.launcher.driver.suspend()
        pair.until(lambda: not pair.agent.driver.connected, "the agent has noticed")
        kernel.send(pattern(8 * MEGABYTE))
        frontend.send(b"to whom it may concern")
        pair.until(lambda: bool(paused(pair.agent.driver)), "the kernel waits")
        assert pair.agent.kept + pair.agent.held <= MAX_UNACKED_URGENT + 2 * CHUNK
        say(pair.agent.driver, {"type": "ended"})
        pair.resume(unblocked(socket.socketpair()))
        pair.until(lambda: len(frontend.received) == 8 * MEGABYTE, "all has come")
        assert frontend.received == pattern(8 * MEGABYTE)
        assert kernel.received == b"to whom it may concern"
        assert pair.launcher.messages == [{"type": "ended"}]


def test_what_was_spooled_comes_also_if_nothing_follows(loop: Loop) -> None:
    """Nothing that the kernel says then makes the agent look."""
    with Pair(loop, unblocked(socket.socketpair())) as pair:
        frontend, kernel = pair.connected("iopub")
        pair.launcher.driver.suspend()
        pair.until(lambda: not pair.agent.driver.connected, "the agent has noticed")
        [forwarder] = pair.agent.driver.ends.values()
        noise = random.Random(1).randbytes(CHUNK + 1000)  # a little more than may be queued
        kernel.send(noise)
        pair.until(lambda: forwarder._keeps, "something is spooled")
        pair.resume(unblocked(socket.socketpair()))
        pair.until(lambda: len(frontend.received) == len(noise), "all has come")
        assert frontend.received == noise


def test_a_disk_that_fails_costs_its_stream_only(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Spool, size: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with Pair(loop, unblocked(socket.socketpair())) as pair:
        frontend, kernel = pair.connected("iopub")
        other, other_kernel = pair.connected("shell")
        pair.launcher.driver.suspend()
        pair.until(lambda: not pair.agent.driver.connected, "the agent has noticed")
        forwarder = pair.agent.driver.ends[1]
        kernel.send(random.Random(1).randbytes(2 * CHUNK))
        pair.until(lambda: forwarder._keeps, "something is spooled")
        monkeypatch.setattr(Spool, "popleft", fail)
        pair.resume(unblocked(socket.socketpair()))
        pair.until(lambda: frontend.over, "the stream is over")
        [note] = pair.launcher.messages
        assert note["type"] == "note" and "Input/output error" in note["text"]
        other_kernel.send(b"unharmed")
        pair.until(lambda: other.received == b"unharmed", "the other stream goes on")


def test_a_number_that_cannot_be_is_refused(lone: Lone) -> None:
    ours, theirs = unblocked(socket.socketpair())
    with ours, theirs, pytest.raises(ProtocolError, match="frame 2 acknowledged, of 1"):
        lone.driver.resume(SocketTransport(ours), 2)


# --- how it ends ---------------------------------------------------------------------------------


class Clock:
    """A clock that stands still while a loop has something to do, and else goes to what is next.

    So a test of what happens when does not ask how busy this machine is.
    """

    def __init__(self, loop: Loop) -> None:
        self._now = 0.0
        self._select = loop._selector.select
        loop._selector.select = self._wait  # type: ignore[method-assign]

    def monotonic(self) -> float:
        return self._now

    def _wait(self, seconds: float) -> list[Any]:
        ready = self._select(0)
        self._now += 0 if ready else seconds
        return ready


@pytest.fixture
def clock(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the loop and its drivers live by such a clock, and by shorter times than usual."""
    made = Clock(loop)
    monkeypatch.setattr(event_loop, "time", made)
    monkeypatch.setattr(driver_module, "time", made)
    monkeypatch.setattr(driver_module, "PEER_TIMEOUT", 0.2)
    monkeypatch.setattr(driver_module, "PING_TIMEOUT", 0.03)


class Lone:
    """A driver whose peer is the test itself."""

    def __init__(self, loop: Loop, ends: tuple[socket.socket, socket.socket]) -> None:
        self.loop = loop
        self.messages: list[dict[str, Any]] = []
        self.reasons: list[Exception] = []
        self.doubts: list[bool] = []
        ours, self.peer = unblocked(ends)
        self.driver = LinkDriver(
            loop,
            Link(accepts_streams=True),
            on_message=self.messages.append,
            on_disconnect=self.reasons.append,
            on_open=lambda number, channel: None,
            on_ping_overdue=lambda: self.doubts.append(self.driver.ping_overdue),
        )
        self.driver.resume(SocketTransport(ours), 0)
        self.local, theirs = socket.socketpair()
        self.local.setblocking(False)
        forwarder = Forwarder(loop, theirs)
        self.driver.open("shell", forwarder)
        self.stream = forwarder.number
        loop.defer(loop.stop)
        loop.run()

    def until_lost(self) -> Exception:
        """Wait for the end of the connection, and return the reason that the driver gave."""
        run_until(self.loop, lambda: bool(self.reasons), "the connection is lost")
        assert not self.driver.closed and not self.driver.connected and not self.driver.ping_overdue
        with pytest.raises(BlockingIOError):
            self.local.recv(1)
        self.driver.suspend()
        say(self.driver, {"type": "for later"})
        self.driver.close()
        self.driver.close()
        assert self.driver.closed and not self.driver.ends
        assert self.local.recv(1) == b"", "the local connection is closed"
        [reason] = self.reasons
        return reason

    def __enter__(self) -> Lone:
        return self

    def __exit__(self, *exception: object) -> None:
        self.driver.close()
        self.peer.close()
        self.local.close()


class Counted:
    """A socket that counts how often something is sent."""

    def __init__(self, sock: socket.socket) -> None:
        self.sends = 0
        self.fileno = sock.fileno
        self.setblocking = sock.setblocking
        self.close = sock.close
        self.recv = sock.recv
        self._sock = sock

    def send(self, data: bytes) -> int:
        self.sends += 1
        return self._sock.send(data)


@pytest.fixture
def lone(loop: Loop, connect: Connect) -> Iterator[Lone]:
    with Lone(loop, connect()) as made:
        yield made


@pytest.mark.usefixtures("clock")
def test_a_silent_peer_is_asked_and_then_given_up(loop: Loop) -> None:
    with Lone(loop, socket.socketpair()) as lone:
        reason = lone.until_lost()
        assert isinstance(reason, TimeoutError)
        assert str(reason).startswith("nothing was heard for")
        assert lone.peer.recv(1000).count(HEADER.pack(0, PING, 0, 0, 0)) >= 2
        assert lone.doubts and all(lone.doubts), "it was told as long as there was hope"


@pytest.mark.usefixtures("clock")
def test_two_ends_that_have_nothing_to_say_stay_together(loop: Loop) -> None:
    ours, theirs = unblocked(socket.socketpair())
    counted = Counted(ours)
    with Pair(loop, (counted, theirs)) as pair:
        pair.until(lambda: counted.sends > 10, "the launcher's end has given many signs of life")
        assert pair.launcher.driver.connected and pair.agent.driver.connected


@pytest.mark.usefixtures("clock")
def test_a_peer_that_never_stops_talking_is_given_a_sign_of_life(loop: Loop) -> None:
    """It hears nothing else, and what it asks may be long under way behind what it says."""
    with Lone(loop, socket.socketpair()) as lone:
        lone.peer.recv(1000)  # the stream's opening
        talker = Link()

        def talk() -> None:
            talker.message({})
            lone.peer.send(talker.data_to_send())
            cancel.append(loop.call_later(0.01, talk))

        heard: list[bytes] = []
        cancel: list[Callable[[], None]] = []
        talk()
        loop.watch(lone.peer, lambda: heard.append(lone.peer.recv(1000)), None)
        run_until(loop, lambda: len(heard) >= 3, "signs of life have come")
        loop.watch(lone.peer, None, None)
        cancel[-1]()
        kinds = {HEADER.unpack_from(sign)[1] for sign in heard}
        assert kinds == {ACK}
        acknowledged = [HEADER.unpack_from(sign)[4] for sign in heard]
        assert 0 < acknowledged[0] < acknowledged[1] < acknowledged[2]


def test_a_peer_that_breaks_the_protocol_is_left(lone: Lone) -> None:
    lone.peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    reason = lone.until_lost()
    assert isinstance(reason, ProtocolError) and str(reason).startswith("a frame of ")
    run_until(lone.loop, lambda: _gone(lone.peer), "the transport is closed")


def _gone(sock: socket.socket) -> bool:
    try:
        while sock.recv(1000):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_a_peer_that_closes_is_told_once(lone: Lone) -> None:
    lone.peer.shutdown(socket.SHUT_WR)
    assert str(lone.until_lost()) == "the other end closed the connection"


def test_a_connection_that_breaks_is_told_once(lone: Lone) -> None:
    lone.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lone.peer.close()
    assert isinstance(lone.until_lost(), ConnectionResetError)


def test_a_connection_that_breaks_while_sending_is_told_once(lone: Lone) -> None:
    lone.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lone.peer.close()
    say(lone.driver, {"text": "x" * 100_000})
    assert isinstance(lone.until_lost(), OSError)


def test_what_came_before_the_end_is_still_told(lone: Lone) -> None:
    said = Link()
    said.message({"type": "ended"})
    lone.peer.send(said.data_to_send())
    lone.peer.shutdown(socket.SHUT_WR)
    lone.until_lost()
    assert lone.messages == [{"type": "ended"}]


def test_no_stream_is_opened_on_a_driver_that_closed_a_moment_ago(loop: Loop) -> None:
    """One batch of frames may hold the message that ends the driver, and another stream."""
    with Pair(loop, unblocked(socket.socketpair())) as pair:
        pair.agent.on_message = lambda content: pair.agent.driver.close()
        link = Link()
        link.message({"type": "end"})
        link.open("shell")
        pair.agent.driver.receive_data(link.data_to_send())
        assert not pair.agent.reasons, "it is no loss"
        assert not pair.kernel and not pair.agent.driver.ends


@pytest.mark.parametrize("breaks", [0, 1], ids=["frontend", "kernel"])
def test_a_local_connection_that_breaks_ends_its_stream_only(pair: Pair, breaks: int) -> None:
    ends = pair.connected()
    good = pair.connected()
    broken, other = ends[breaks], ends[1 - breaks]
    broken.listen(False)
    other.send(pattern(MEGABYTE))
    pair.until(lambda: other.sent > WINDOW, "something waits to be read")
    broken.close()  # with bytes unread, which the driver finds out as it writes more
    pair.until(lambda: other.over, "the other end is told")
    good[1].echo = True
    good[0].send(b"still there")
    pair.until(lambda: good[0].received == b"still there", "the other stream echoes")
    assert len(pair.launcher.driver.ends) == len(pair.agent.driver.ends) == 1
    assert len(pair.launcher.driver.link._streams) == 1


def test_a_stream_that_is_refused_closes_its_connection_only(pair: Pair) -> None:
    pair.refuse = lambda number: number == 2
    good = pair.connected()
    refused = pair.connect("files")
    refused.send(b"to nobody")
    pair.until(lambda: refused.over, "the connection is closed")
    assert not refused.received
    good[1].echo = True
    good[0].send(b"still there")
    pair.until(lambda: good[0].received == b"still there", "the other stream echoes")
    assert len(pair.launcher.driver.link._streams) == len(pair.agent.driver.link._streams) == 1
