"""The stand-in for pyzmq and the real one, each with the other, and the same with itself.

Every test also runs between two real ones: what it says of ZeroMQ is true of libzmq.
"""

from __future__ import annotations

import errno
import gc
import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zmq

from board_agent.zmtp.wire import GREETING, Wire, encode
from tests.support.boards import ROOT
from tests.support.ports import unused_port

STAND_INS = ROOT / "board_agent" / "stand_ins"
LIMIT = 3000  # milliseconds, for whatever is waited for
SHORT = 100  # for what must not come
PLACE = f"tcp://127.0.0.1:{unused_port()}"


def stand_in() -> ModuleType:
    """Import the stand-in under a name of its own, beside the real one."""
    path = STAND_INS / "zmq" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "zmq_stand_in", path, submodule_search_locations=[str(path.parent)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zmq_stand_in"] = module
    spec.loader.exec_module(module)
    return module


ours = stand_in()
MODULES = {"ours": ours, "libzmq": zmq}


class Pairs:
    """Makes sockets of two kinds of ZeroMQ, `one` and `other`."""

    def __init__(self, one: ModuleType, other: ModuleType, folder: Path) -> None:
        self.one, self.other = one, other
        self.folder = folder
        self.contexts = {module: module.Context() for module in {one, other}}
        self.sockets: list[Any] = []
        self.count = 0

    def make(self, module: ModuleType, kind: str, **options: Any) -> Any:
        made = self.contexts[module].socket(getattr(module, kind))
        self.sockets.append(made)
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = LIMIT
        for name, value in options.items():
            if name == "subscribe":
                made.setsockopt(module.SUBSCRIBE, value)
            else:
                made.setsockopt(getattr(module, name.upper()), value)
        return made

    def bound(self, kind: str, transport: str = "ipc", **options: Any) -> Any:
        """Make a socket of `one`, and bind it."""
        made = self.make(self.one, kind, **options)
        self.count += 1
        made.bind(
            "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{self.folder}/{self.count}"
        )
        return made

    def connected(self, kind: str, to: Any, **options: Any) -> Any:
        """Make a socket of `other`, and connect it."""
        made = self.make(self.other, kind, **options)
        made.connect(endpoint(to))
        return made

    def close(self) -> None:
        for made in self.sockets:
            made.close(0)
        for context in self.contexts.values():
            context.term()
        self.sockets.clear()
        self.contexts.clear()


def endpoint(bound: Any) -> str:
    return bound.getsockopt(32).decode()  # LAST_ENDPOINT


def descriptors() -> set[str]:
    return {f"{fd.name} {fd.readlink()}" for fd in Path("/proc/self/fd").iterdir() if fd.exists()}


def left_since(before: set[str]) -> set[str]:
    gc.collect()
    return {fd for fd in descriptors() - before if "anon_inode" not in fd}  # those are libzmq's


@pytest.fixture(params=["ours-libzmq", "libzmq-ours", "ours-ours", "libzmq-libzmq"])
def pairs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pairs]:
    one, other = (MODULES[name] for name in request.param.split("-"))
    ours.Context().term()  # there is a reactor now, and stays
    before = descriptors()
    with closing(Pairs(one, other, tmp_path)) as made:
        yield made
    wait_until(lambda: not left_since(before), f"closed: {left_since(before)}")


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT / 1000
    while not condition():
        assert time.monotonic() < end, f"not in {LIMIT} ms: {what}"
        time.sleep(0.005)


def nothing(receiver: Any, what: str = "") -> None:
    assert not receiver.poll(SHORT), what or receiver.recv_multipart()


TRANSPORTS = pytest.mark.parametrize("transport", ["ipc", "tcp"])


# --- pairs of patterns ----------------------------------------------------------------------------


@TRANSPORTS
def test_router_and_dealer(pairs: Pairs, transport: str) -> None:
    router = pairs.bound("ROUTER", transport)
    dealer = pairs.connected("DEALER", router, identity=b"somebody")
    for message in ([b"one"], [b"", b"two", b"parts"], [b"x" * 300, b"", b"y" * 100000, b""]):
        dealer.send_multipart(message)
        assert router.recv_multipart() == [b"somebody", *message]
        router.send_multipart([b"somebody", *message])
        assert dealer.recv_multipart() == message


@TRANSPORTS
def test_dealer_bound_and_router_connected(pairs: Pairs, transport: str) -> None:
    dealer = pairs.bound("DEALER", transport, identity=b"bound")
    router = pairs.connected("ROUTER", dealer)
    dealer.send(b"first")
    assert router.recv_multipart() == [b"bound", b"first"]
    router.send_multipart([b"bound", b"answer"])
    assert dealer.recv() == b"answer"


def test_two_peers_of_a_router_without_identities(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER")
    dealers = [pairs.connected("DEALER", router) for _ in range(2)]
    for number, dealer in enumerate(dealers):
        dealer.send(b"%d" % number)
    for _ in dealers:
        identity, text = router.recv_multipart()
        assert len(identity) == 5 and identity[:1] == b"\0"
        router.send_multipart([identity, b"to " + text])
    assert [dealer.recv() for dealer in dealers] == [b"to 0", b"to 1"]


@TRANSPORTS
def test_dealers_take_turns_and_their_peers_too(pairs: Pairs, transport: str) -> None:
    dealers = [pairs.bound("DEALER", transport) for _ in range(2)]
    fan = pairs.make(pairs.other, "DEALER")
    for dealer in dealers:
        fan.connect(endpoint(dealer))
        dealer.send(b"hello")
    for _ in dealers:
        assert fan.recv() == b"hello"
    for number in range(6):
        fan.send(b"%d" % number)
    got = [[dealer.recv() for _ in range(3)] for dealer in dealers]
    assert sorted(got) == [[b"0", b"2", b"4"], [b"1", b"3", b"5"]]
    for _ in range(3):
        for name, dealer in zip((b"a", b"b"), dealers, strict=True):
            dealer.send(name)
    assert sorted(fan.recv() for _ in range(6)) == [b"a"] * 3 + [b"b"] * 3


def test_the_heartbeat_of_a_kernel(pairs: Pairs) -> None:
    """As ipykernel does it: a router that echoes, in a thread, until its context ends."""
    if pairs.other is ours:
        pytest.skip("frontends have libzmq")
    context = pairs.one.Context()
    ready, ended = threading.Event(), []
    beat = context.socket(pairs.one.ROUTER)

    def run() -> None:
        beat.linger = 1000
        beat.bind(f"ipc://{pairs.folder}/beat")
        ready.set()
        try:
            pairs.one.device(pairs.one.QUEUE, beat, beat)
        except pairs.one.ZMQError as error:
            ended.append(error.errno)
            beat.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    request = pairs.make(zmq, "REQ")
    request.connect(f"ipc://{pairs.folder}/beat")
    for _ in range(3):
        request.send(b"ping")
        assert request.recv() == b"ping"
    context.term()
    thread.join(10)
    assert ended == [pairs.one.ETERM]


@TRANSPORTS
def test_push_and_pull(pairs: Pairs, transport: str) -> None:
    pull = pairs.bound("PULL", transport)
    pushes = [pairs.connected("PUSH", pull) for _ in range(3)]
    for push in pushes:
        for number in range(10):
            push.send_multipart([b"%d" % number, b"more"])
    got = [pull.recv_multipart() for _ in range(30)]
    assert sorted(got) == sorted([[b"%d" % number, b"more"] for number in range(10)] * 3)


def test_bound_push_shares_out(pairs: Pairs) -> None:
    push = pairs.bound("PUSH")
    assert not push.poll(0, pairs.one.POLLOUT)
    pull = pairs.connected("PULL", push)
    assert push.poll(LIMIT, pairs.one.POLLOUT)
    push.send(b"work")
    assert pull.recv() == b"work"


def test_pair(pairs: Pairs) -> None:
    here = pairs.bound("PAIR")
    there = pairs.connected("PAIR", here)
    there.send(b"to here")
    assert here.recv() == b"to here"
    stranger = pairs.connected("PAIR", here)
    stranger.send(b"me too")
    nothing(here)
    here.send(b"to there")
    assert there.recv() == b"to there"


@pytest.mark.parametrize(("first", "second"), [("PUSH", "PULL"), ("PAIR", "PAIR")])
def test_inproc(pairs: Pairs, first: str, second: str) -> None:
    module = pairs.one
    receiver = pairs.make(module, second)
    receiver.bind("inproc://here")
    with pytest.raises(module.ZMQError) as taken:
        pairs.make(module, second).bind("inproc://here")
    assert taken.value.errno == errno.EADDRINUSE
    sender = pairs.make(module, first)
    sender.connect("inproc://here")
    sent = [[b"%d" % number, b"x"] for number in range(100)]

    def send() -> None:
        for message in sent:
            sender.send_multipart(message)

    thread = threading.Thread(target=send)
    thread.start()
    assert [receiver.recv_multipart() for _ in sent] == sent
    thread.join(10)
    sender.send(b"last")
    sender.close()
    assert receiver.recv() == b"last"


def test_inproc_router_and_dealer(pairs: Pairs) -> None:
    router = pairs.make(pairs.one, "ROUTER")
    router.bind("inproc://router")
    dealer = pairs.make(pairs.one, "DEALER", identity=b"me")
    dealer.connect("inproc://router")
    dealer.send(b"question")
    assert router.recv_multipart() == [b"me", b"question"]
    router.send_multipart([b"me", b"answer"])
    assert dealer.recv() == b"answer"


# --- subscriptions --------------------------------------------------------------------------------


@TRANSPORTS
@pytest.mark.parametrize("kind", ["PUB", "XPUB"])
def test_subscribers_get_what_begins_with_their_topics(
    pairs: Pairs, kind: str, transport: str
) -> None:
    pub = pairs.bound(kind, transport)
    subs = []
    for topics in ([b""], [b"a", b"bc"], [b"ab"]):
        sub = pairs.connected("SUB", pub)
        for topic in topics:
            sub.setsockopt(pairs.other.SUBSCRIBE, topic)
        subs.append(sub)
    for sub in subs:
        listen(pub, sub)
    for message in ([b"a", b"1"], [b"abc", b"2"], [b"b", b"3"], [b"bcd", b"4"], [b"", b"5"]):
        pub.send_multipart(message)
    pub.send_multipart([b"ab-end"])

    def until_end(sub: Any) -> list[bytes]:
        got = []
        while (message := sub.recv_multipart())[0] != b"ab-end":
            got += message[1:]  # those of one frame are the probes of others
        return got

    assert until_end(subs[0]) == [b"1", b"2", b"3", b"4", b"5"]
    assert until_end(subs[1]) == [b"1", b"2", b"4"]
    assert until_end(subs[2]) == [b"2"]


def listen(pub: Any, sub: Any) -> None:
    """Wait until a subscriber hears a publisher; nothing else is to be on its way."""
    probe = os.urandom(8)
    sub.setsockopt(6, probe)

    def heard() -> bool:
        pub.send(probe)
        return bool(sub.poll(20))

    wait_until(heard, "a subscription")
    while sub.poll(SHORT):
        sub.recv_multipart()
    sub.setsockopt(7, probe)


def test_subscriptions_are_received_when_they_matter(pairs: Pairs) -> None:
    xpub = pairs.bound("XPUB")
    one = pairs.connected("SUB", xpub, subscribe=b"topic")
    assert xpub.recv() == b"\1topic"
    other = pairs.connected("SUB", xpub, subscribe=b"topic")
    nothing(xpub, "the topic is known")
    other.setsockopt(pairs.other.SUBSCRIBE, b"news")
    assert xpub.recv() == b"\1news"
    one.setsockopt(pairs.other.UNSUBSCRIBE, b"topic")
    nothing(xpub, "there is another")
    other.setsockopt(pairs.other.UNSUBSCRIBE, b"topic")
    assert xpub.recv() == b"\0topic"
    other.close()
    assert xpub.recv() == b"\0news"
    xpub.send(b"topic")
    nothing(one)


def test_a_verbose_publisher_hears_every_subscription(pairs: Pairs) -> None:
    xpub = pairs.bound("XPUB", xpub_verbose=1)
    for _ in range(3):
        pairs.connected("SUB", xpub, subscribe=b"")
        assert xpub.recv() == b"\1"


def test_a_subscription_counts(pairs: Pairs) -> None:
    xpub = pairs.bound("XPUB")
    sub = pairs.connected("SUB", xpub)
    for _ in range(2):
        sub.setsockopt(pairs.other.SUBSCRIBE, b"a")
    assert xpub.recv() == b"\1a"
    sub.setsockopt(pairs.other.UNSUBSCRIBE, b"a")
    nothing(xpub, "one is left")
    xpub.send(b"abc")
    assert sub.recv() == b"abc"
    sub.setsockopt(pairs.other.UNSUBSCRIBE, b"a")
    assert xpub.recv() == b"\0a"


# --- large and many -------------------------------------------------------------------------------


@TRANSPORTS
def test_a_frame_of_20_mb_each_way(pairs: Pairs, transport: str) -> None:
    router = pairs.bound("ROUTER", transport)
    dealer = pairs.connected("DEALER", router, identity=b"d")
    large = os.urandom(1 << 16) * 320
    dealer.send_multipart([b"before", large, b"after"])
    assert router.recv_multipart() == [b"d", b"before", large, b"after"]
    router.send_multipart([b"d", large])
    assert dealer.recv() == large


def test_many_connections(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER")
    dealers = [pairs.connected("DEALER", router, identity=b"%d" % n) for n in range(100)]
    for dealer in dealers:
        dealer.send(b"hello")
    for _ in dealers:
        identity, _ = router.recv_multipart()
        router.send_multipart([identity, b"hello " + identity])
    assert [dealer.recv() for dealer in dealers] == [b"hello %d" % n for n in range(100)]


def test_many_messages_keep_their_order(pairs: Pairs) -> None:
    pull = pairs.bound("PULL")
    push = pairs.connected("PUSH", pull)
    count = 20000

    def send() -> None:
        for number in range(count):
            push.send(b"%d" % number)

    thread = threading.Thread(target=send)
    thread.start()
    assert [int(pull.recv()) for _ in range(count)] == list(range(count))
    thread.join(10)


# --- those who come and go ------------------------------------------------------------------------


def bind_again(bound: Any) -> None:
    """Bind where another was bound before; libzmq lets go of it in its own time."""

    def tried() -> bool:
        try:
            bound.bind(PLACE)
        except Exception as error:
            assert error.errno == errno.EADDRINUSE  # type: ignore[attr-defined]
            return False
        return True

    wait_until(tried, f"{PLACE} is free")


def test_a_dealer_connects_before_anybody_is_there_and_again(pairs: Pairs) -> None:
    dealer = pairs.make(pairs.other, "DEALER", identity=b"d")
    dealer.connect(PLACE)
    dealer.send(b"early")
    for text in (b"early", b"again"):
        router = pairs.make(pairs.one, "ROUTER")
        bind_again(router)

        def arrived(router: Any = router, text: bytes = text) -> bool:
            if text == b"again":  # the first few may be lost in a connection that just ended
                dealer.send(text)
            return bool(router.poll(20))

        wait_until(arrived, "a message")
        assert router.recv_multipart() == [b"d", text]
        router.send_multipart([b"d", b"back"])
        assert dealer.recv() == b"back"
        router.close(0)


def test_subscriptions_outlive_the_publisher(pairs: Pairs) -> None:
    sub = pairs.make(pairs.other, "SUB", subscribe=b"a")
    sub.connect(PLACE)
    for number in range(2):
        xpub = pairs.make(pairs.one, "XPUB")
        bind_again(xpub)
        # libzmq subscribes again when the socket is used next
        wait_until(lambda xpub=xpub: not sub.poll(0) and xpub.poll(20), "subscribed")
        assert xpub.recv() == b"\1a"
        xpub.send(b"a%d" % number)
        assert sub.recv() == b"a%d" % number
        xpub.close(0)


def test_what_a_peer_said_before_it_left_is_received(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER")
    dealer = pairs.connected("DEALER", router, identity=b"d", linger=LIMIT)
    for number in range(10):
        dealer.send(b"%d" % number)
    dealer.close(LIMIT)
    assert [router.recv_multipart() for _ in range(10)] == [[b"d", b"%d" % n] for n in range(10)]


def test_an_identity_is_handed_over_to_who_claims_it_next(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER", router_handover=1)
    first = pairs.connected("DEALER", router, identity=b"same", reconnect_ivl=LIMIT)
    first.send(b"first")
    assert router.recv_multipart() == [b"same", b"first"]
    second = pairs.connected("DEALER", router, identity=b"same")
    second.send(b"second")
    assert router.recv_multipart() == [b"same", b"second"]
    router.send_multipart([b"same", b"answer"])
    assert second.recv() == b"answer"
    nothing(first)


def test_an_identity_that_is_taken_is_not_handed_over_unasked(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER")
    first = pairs.connected("DEALER", router, identity=b"same")
    first.send(b"first")
    assert router.recv_multipart() == [b"same", b"first"]
    second = pairs.connected("DEALER", router, identity=b"same")
    second.send(b"second")
    nothing(router)
    router.send_multipart([b"same", b"answer"])
    assert first.recv() == b"answer"


def test_sending_to_nobody(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER")
    router.send_multipart([b"nobody", b"dropped"])
    router.setsockopt(pairs.one.ROUTER_MANDATORY, 1)
    with pytest.raises(pairs.one.ZMQError) as error:
        router.send_multipart([b"nobody", b"complained of"])
    assert error.value.errno == errno.EHOSTUNREACH


# --- high-water marks -----------------------------------------------------------------------------

LARGE = bytes(1 << 18)


def fill(sender: Any, module: ModuleType, to: list[bytes]) -> int:
    """Send until there is no room for a while; return how many messages that took."""
    patience, sender.sndtimeo = sender.sndtimeo, SHORT
    for count in range(100):
        try:
            sender.send_multipart([*to, b"%d" % count, LARGE])
        except module.Again:
            sender.sndtimeo = patience
            return count
    raise AssertionError("there is always room")


def test_a_publisher_waits_for_the_slowest(pairs: Pairs) -> None:
    xpub = pairs.bound("XPUB", sndhwm=4, xpub_nodrop=1)
    sub = pairs.connected("SUB", xpub, rcvhwm=1, subscribe=b"")
    xpub.recv()
    count = fill(xpub, pairs.one, [])
    assert 4 <= count < 60
    blocked = threading.Thread(target=xpub.send_multipart, args=([b"%d" % count, LARGE],))
    blocked.start()
    assert [int(sub.recv_multipart()[0]) for _ in range(count + 1)] == list(range(count + 1))
    blocked.join(10)
    assert not blocked.is_alive()


def test_a_publisher_drops_what_the_slowest_has_no_room_for(pairs: Pairs) -> None:
    pub = pairs.bound("XPUB", sndhwm=4)
    sub = pairs.connected("SUB", pub, rcvhwm=1, subscribe=b"")
    pub.recv()
    for number in range(500):
        pub.send_multipart([b"%d" % number, LARGE], pairs.one.NOBLOCK)
    got = []
    while sub.poll(SHORT):
        got.append(int(sub.recv_multipart()[0]))
    assert got[:4] == [0, 1, 2, 3] and got == sorted(got) and len(got) < 60


def test_a_dealer_waits_for_room(pairs: Pairs) -> None:
    dealer = pairs.bound("DEALER", sndhwm=4, sndtimeo=SHORT)
    with pytest.raises(pairs.one.Again):
        dealer.send(b"to nobody")
    other = pairs.connected("DEALER", dealer, rcvhwm=1)
    assert dealer.poll(LIMIT, pairs.one.POLLOUT)
    count = fill(dealer, pairs.one, [])
    assert not dealer.poll(0, pairs.one.POLLOUT)
    with pytest.raises(pairs.one.Again):
        dealer.send(LARGE)
    assert [int(other.recv_multipart()[0]) for _ in range(count)] == list(range(count))
    assert dealer.poll(LIMIT, pairs.one.POLLOUT)


def test_a_router_drops_or_waits(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER", sndhwm=4)
    dealer = pairs.connected("DEALER", router, identity=b"d", rcvhwm=1)
    dealer.send(b"here")
    router.recv_multipart()
    router.setsockopt(pairs.one.ROUTER_MANDATORY, 1)
    count = fill(router, pairs.one, [b"d"])
    router.setsockopt(pairs.one.ROUTER_MANDATORY, 0)
    for _ in range(20):
        router.send_multipart([b"d", b"dropped"], pairs.one.NOBLOCK)
    assert [int(dealer.recv_multipart()[0]) for _ in range(count)] == list(range(count))
    nothing(dealer)
    router.send_multipart([b"d", b"second"])
    assert dealer.recv() == b"second"


def test_inproc_has_a_high_water_mark_too(pairs: Pairs) -> None:
    pull = pairs.make(pairs.one, "PULL", rcvhwm=3)
    pull.bind("inproc://small")
    push = pairs.make(pairs.one, "PUSH", sndhwm=2)
    push.connect("inproc://small")
    assert fill(push, pairs.one, []) == 5
    blocked = threading.Thread(target=push.send_multipart, args=([b"5"],))
    blocked.start()
    assert [int(pull.recv_multipart()[0]) for _ in range(6)] == list(range(6))
    blocked.join(10)
    assert not blocked.is_alive()


# --- ends -----------------------------------------------------------------------------------------


def test_what_is_left_to_send_lingers(pairs: Pairs) -> None:
    context = pairs.other.Context()
    pull = pairs.bound("PULL", rcvhwm=1)
    push = context.socket(pairs.other.PUSH)
    push.connect(endpoint(pull))
    for number in range(100):
        push.send_multipart([b"%d" % number, LARGE])
    push.close(LIMIT)
    ending = threading.Thread(target=context.term)
    ending.start()
    assert [int(pull.recv_multipart()[0]) for _ in range(100)] == list(range(100))
    ending.join(10)
    assert not ending.is_alive()


@pytest.mark.parametrize("there", [True, False])
def test_it_lingers_no_longer_than_it_may(pairs: Pairs, there: bool) -> None:
    context = pairs.other.Context()
    pull = pairs.bound("PULL", rcvhwm=1)
    push = context.socket(pairs.other.PUSH)
    push.connect(endpoint(pull) if there else f"ipc://{pairs.folder}/nobody")
    for _ in range(20):
        push.send(LARGE)
    start = time.monotonic()
    push.close(200)
    context.term()
    assert 0.15 < time.monotonic() - start < 5


def test_what_is_connected_only_then_gets_it_all_the_same(pairs: Pairs) -> None:
    context = pairs.other.Context()
    push = context.socket(pairs.other.PUSH)
    push.connect(f"ipc://{pairs.folder}/late")
    push.send(b"patient")
    push.close(LIMIT)
    pull = pairs.make(pairs.one, "PULL")
    pull.bind(f"ipc://{pairs.folder}/late")
    assert pull.recv() == b"patient"
    context.term()


def test_the_end_of_a_context_wakes_those_who_wait(pairs: Pairs) -> None:
    module = pairs.one
    context = module.Context()
    waiting, ended = context.socket(module.PULL), []
    waiting.bind("inproc://waiting")

    def wait() -> None:
        try:
            waiting.recv()
        except module.ContextTerminated as error:
            ended.append(error.errno)
            waiting.close()

    thread = threading.Thread(target=wait)
    thread.start()
    context.term()
    thread.join(10)
    assert ended == [module.ETERM]
    with pytest.raises(module.ZMQError):
        context.socket(module.PULL)


def test_a_closed_socket_says_so(pairs: Pairs) -> None:
    module = pairs.one
    closed = pairs.make(module, "PULL")
    closed.close()
    assert closed.closed
    with pytest.raises(module.ZMQError) as error:
        closed.recv(module.NOBLOCK)
    assert error.value.errno == module.ENOTSOCK
    with pytest.raises(module.ZMQError) as error:
        closed.getsockopt(module.EVENTS)
    assert error.value.errno == module.ENOTSOCK


# --- bad peers, met by a plain socket -------------------------------------------------------------


def dial(bound: Any) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(LIMIT / 1000)
    sock.connect(endpoint(bound)[len("ipc://") :])
    return sock


def opening(kind: bytes = b"DEALER", identity: bytes = b"") -> bytes:
    wire = Wire(kind, identity)
    wire.receive_data(GREETING)
    return wire.data_to_send()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        GREETING,
        opening() + b"\1\3abc\2" + (1 << 20).to_bytes(8, "big") + b"half of it",
        opening() + b"\x7f\0",
        opening(b"SUB"),
        opening() + b"\1\4part",
    ],
)
def test_a_bad_peer_harms_nobody(pairs: Pairs, said: bytes) -> None:
    router = pairs.bound("ROUTER")
    dealer = pairs.connected("DEALER", router, identity=b"good")
    with dial(router) as sock:
        sock.sendall(said)
        dealer.send(b"while it is there")
        assert router.recv_multipart() == [b"good", b"while it is there"]
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass
    dealer.send(b"after")
    assert router.recv_multipart() == [b"good", b"after"]
    nothing(router)


def test_a_peer_that_never_reads_costs_others_nothing(pairs: Pairs) -> None:
    if pairs.one is zmq:
        pytest.skip("on a busy machine it costs them some messages")
    xpub = pairs.bound("XPUB", sndhwm=50)
    sub = pairs.connected("SUB", xpub, subscribe=b"")
    xpub.recv()
    with dial(xpub) as sock:
        wire = Wire(b"SUB")
        while wire.peer is None:
            sock.sendall(wire.data_to_send())
            wire.receive_data(sock.recv(4096))
        sock.sendall(wire.data_to_send())
        sock.sendall(b"".join(encode([b"\1a"])))
        assert xpub.recv() == b"\1a"
        for number in range(200):
            xpub.send_multipart([b"a%d" % number, LARGE])
            assert sub.recv_multipart()[0] == b"a%d" % number


def test_libzmq_hears_the_heartbeat(pairs: Pairs) -> None:
    """It pings; a peer that does not answer in time is disconnected."""
    if pairs.other is ours:
        pytest.skip("it does not ping")
    router = pairs.bound("ROUTER")
    dealer = pairs.connected("DEALER", router, heartbeat_ivl=20, heartbeat_timeout=300)
    monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    try:
        dealer.send(b"hello")
        identity, _ = router.recv_multipart()
        assert not monitor.poll(800), "it was disconnected"
        router.send_multipart([identity, b"still here"])
        assert dealer.recv() == b"still here"
    finally:
        dealer.disable_monitor()
        monitor.close(0)


# --- descriptors ----------------------------------------------------------------------------------


def test_a_descriptor_tells_when_to_look(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER")
    dealer = pairs.connected("DEALER", router)
    poller = pairs.one.Poller()
    poller.register(router, pairs.one.POLLIN)
    reader, writer = os.pipe()
    try:
        poller.register(reader, pairs.one.POLLIN)
        assert poller.poll(0) == []
        dealer.send(b"hello")
        assert poller.poll(LIMIT) == [(router, pairs.one.POLLIN)]
        os.write(writer, b"x")
        assert dict(poller.poll(LIMIT)) == {router: 1, reader: 1}
        router.recv_multipart()
        assert poller.poll(LIMIT) == [(reader, 1)]
        assert pairs.one.select([router], [], [router], 0.05) == ([], [], [])
        dealer.send(b"again")
        assert pairs.one.select([router], [], [router], 10) == ([router], [], [])
    finally:
        os.close(reader)
        os.close(writer)


def test_frames_and_their_trackers(pairs: Pairs) -> None:
    router = pairs.bound("ROUTER")
    dealer = pairs.connected("DEALER", router)
    changing = bytearray(b"a" * 100000)
    tracker = dealer.send_multipart([memoryview(changing), b"end"], copy=False, track=True)
    tracker.wait(LIMIT / 1000)
    assert tracker.done
    _, frame, end = router.recv_multipart(copy=False)
    assert frame.bytes == bytes(changing) == bytes(frame.buffer) == bytes(memoryview(frame))
    assert type(frame.bytes) is bytes
    assert (len(frame), frame.more, end.more) == (100000, True, False)
    dealer.send(b"part", pairs.other.SNDMORE)
    dealer.send_multipart([frame if pairs.one is pairs.other else frame.bytes, b"whole"])
    router.recv()
    assert router.recv() == b"part" and router.getsockopt(pairs.one.RCVMORE)
    assert router.recv_multipart() == [frame.bytes, b"whole"]
    with pytest.raises(TypeError):
        dealer.send("text")
    dealer.send_json({"a": 1})
    router.recv()
    assert router.recv_json() == {"a": 1}
    dealer.send_string("Grüße")
    router.recv()
    assert router.recv_string() == "Grüße"


def test_options_and_endpoints(pairs: Pairs) -> None:
    module = pairs.one
    router = pairs.bound("ROUTER", "tcp")
    port = int(endpoint(router).rpartition(":")[2])
    assert (router.type, router.TYPE, router.getsockopt(module.TYPE)) == (module.ROUTER,) * 3
    router.linger = 123
    assert router.linger == router.getsockopt(module.LINGER) == 123
    router.identity = b"me"
    assert router.identity == router.getsockopt_string(module.IDENTITY).encode() == b"me"
    with pytest.raises(module.ZMQError) as error:
        pairs.make(module, "ROUTER").bind(f"tcp://127.0.0.1:{port}")
    assert error.value.errno == errno.EADDRINUSE
    other = pairs.make(module, "ROUTER")
    random = other.bind_to_random_port("tcp://127.0.0.1")
    assert endpoint(other) == f"tcp://127.0.0.1:{random}"
    for wrong in ("tcp://127.0.0.1", "nonsense", f"ipc://{pairs.folder}/{'x' * 200}"):
        with pytest.raises(module.ZMQError):
            other.bind(wrong)


# --- what only ours has, or has not ---------------------------------------------------------------


@pytest.fixture
def context() -> Iterator[Any]:
    with ExitStack() as stack:
        made = ours.Context()
        stack.callback(made.destroy, 0)
        yield made


@pytest.mark.parametrize(
    ("what", "use"),
    [
        ("a socket of type 3", lambda context: context.socket(zmq.REQ)),
        ("a socket of type 99", lambda context: context.socket(99)),
        ("option 8 of a ROUTER", lambda c: c.socket(zmq.ROUTER).setsockopt(zmq.RATE, 1)),
        ("option 8 of a ROUTER", lambda c: c.socket(zmq.ROUTER).getsockopt(zmq.RATE)),
        ("option 56 of a PUB", lambda c: c.socket(zmq.PUB).setsockopt(zmq.ROUTER_HANDOVER, 1)),
        ("zmq.Socket.monitor", lambda context: context.socket(zmq.ROUTER).monitor("x")),
        ("zmq.Socket.curve_server", lambda c: setattr(c.socket(zmq.ROUTER), "curve_server", 1)),
        ("zmq.Context.shadow", lambda context: context.shadow()),
        ("zmq.green", lambda context: ours.green),
        ("zmq.curve_keypair", lambda context: ours.curve_keypair()),
        ("pgm://x", lambda context: context.socket(zmq.ROUTER).bind("pgm://x")),
        ("a STREAM socket", lambda c: c.socket(zmq.STREAM).connect("tcp://127.0.0.1:1")),
    ],
)
def test_what_is_not_there_says_so(context: Any, what: str, use: Callable[[Any], Any]) -> None:
    with pytest.raises(NotImplementedError, match=what):
        use(context)


def test_what_is_not_there_can_be_asked_for() -> None:
    assert not hasattr(ours, "green") and getattr(ours, "CURVE_SERVER", None) is None


def test_sockets_that_nobody_closed_are_closed(context: Any, tmp_path: Path) -> None:
    made = context.socket(ours.PULL)
    made.bind(f"ipc://{tmp_path}/forgotten")
    del made

    def gone() -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(f"{tmp_path}/forgotten") == errno.ECONNREFUSED

    wait_until(gone, "nobody listens")


FORKED = f"""
import os, sys
sys.path[:0] = [{str(STAND_INS)!r}, {str(ROOT)!r}]
import zmq
context = zmq.Context()
pull = context.socket(zmq.PULL)
port = pull.bind_to_random_port("tcp://127.0.0.1")
beside = context.socket(zmq.PUSH)
beside.connect("tcp://127.0.0.1:%d" % port)
beside.send(b"parent")
assert pull.recv() == b"parent"
child = os.fork()
if not child:
    try:
        beside.send(b"not mine")
    except zmq.ZMQError as error:
        assert error.errno == zmq.ENOTSOCK
    new = zmq.Context()
    push = new.socket(zmq.PUSH)
    push.linger = 3000
    push.connect("tcp://127.0.0.1:%d" % port)
    push.send_multipart([b"child", b"x" * 1000000])
    push.close()
    new.term()
    beside.close()
    context.term()
    os._exit(0)
assert pull.recv_multipart() == [b"child", b"x" * 1000000]
assert os.waitpid(child, 0)[1] == 0
beside.send(b"parent again")
assert pull.recv() == b"parent again"
context.destroy()
print("forked")
"""


def test_a_child_of_a_fork_has_sockets_of_its_own() -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.stdout, run.returncode) == ("forked\n", 0), run.stderr
