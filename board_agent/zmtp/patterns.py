"""Which peer gets which message, and whose message is next: the patterns of ZeroMQ, without I/O.

Sources: https://rfc.zeromq.org/spec/28/ (ROUTER, DEALER), 29 (PUB, XPUB, SUB), 30 (PUSH, PULL) and
31 (PAIR); where these leave a choice, what libzmq does.
"""

import os
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Set, Tuple, Type

from .wire import CANCEL, SUBSCRIBE

Frames = List[bytes]


class Unreachable(Exception):
    """A router that has to report it knows no such peer."""


class Pipe:
    """What waits between a socket and one of its peers.

    Args:
        limit: Messages that may wait to be sent; 0 for any number.
        port: What carries them.
    """

    __slots__ = ("blocked", "identity", "inbox", "limit", "listed", "outbox", "port", "topics")

    def __init__(self, limit: int, port: Any) -> None:
        self.inbox: Deque[Frames] = deque()
        self.outbox: Deque[Any] = deque()  # as the port wants them
        self.limit = limit
        self.port = port
        self.identity = b""
        self.topics: Set[bytes] = set()  # what the peer subscribed to
        self.listed = False  # among those that have something to receive
        self.blocked = False  # somebody waits for it to have room

    @property
    def full(self) -> bool:
        """Whether as many messages wait to be sent as may."""
        return 0 < self.limit <= len(self.outbox)


class Pattern:
    """The base: any number of pipes, from which messages are taken in turn."""

    sends = receives = True
    early = False  # messages may wait for a peer before it is there

    __slots__ = ("_ready", "pipes")

    def __init__(self) -> None:
        self.pipes: Deque[Pipe] = deque()
        self._ready: Deque[Pipe] = deque()

    def attach(self, pipe: Pipe) -> List[Pipe]:
        """Take a pipe in; return those that have to close for it, which may be itself."""
        self.pipes.append(pipe)
        return []

    def opening(self) -> List[Frames]:
        """Return the messages that a new peer gets first."""
        return []

    def detach(self, pipe: Pipe) -> bool:
        """Send nothing to a pipe any more; return whether more can be received now.

        What came from the pipe stays.
        """
        if pipe in self.pipes:
            self.pipes.remove(pipe)
        return False

    def deliver(self, pipe: Pipe, frames: Frames) -> bool:
        """Take a message from a peer; return whether more can be received now."""
        pipe.inbox.append(frames)
        if not pipe.listed:
            self._ready.append(pipe)
            pipe.listed = True
        return True

    @property
    def readable(self) -> bool:
        """Whether there is something to receive."""
        return bool(self._ready)

    @property
    def writable(self) -> bool:
        """Whether a message that is sent now would not have to wait."""
        return self.sends

    def receive(self) -> Optional[Tuple[Frames, Pipe]]:
        """Return the next message and where it came from; None if there is none."""
        while self._ready:
            pipe = self._ready.popleft()
            pipe.listed = False
            if pipe.inbox:
                frames = pipe.inbox.popleft()
                if pipe.inbox:
                    self._ready.append(pipe)
                    pipe.listed = True
                return frames, pipe
        return None

    def select_pipe(self, frames: Frames) -> Optional[Tuple[List[Pipe], Frames]]:
        """Return the pipes that a message goes to, and what of it; None if it has to wait.

        Raises:
            Unreachable: Its peer is not known, and the sender wants to know that.
        """
        raise NotImplementedError


class Dealer(Pattern):
    """Send each message to the next peer that has room: DEALER, and half of it PUSH."""

    early = True

    __slots__ = ()

    @property
    def writable(self) -> bool:
        """Whether a peer has room."""
        if all(pipe.full for pipe in self.pipes):
            for pipe in self.pipes:
                pipe.blocked = True
            return False
        return True

    def select_pipe(self, frames: Frames) -> Optional[Tuple[List[Pipe], Frames]]:
        """Return the next pipe that has room."""
        pipes = self.pipes
        for _ in range(len(pipes)):
            pipe = pipes[0]
            pipes.rotate(-1)
            if not pipe.full:
                return [pipe], frames
            pipe.blocked = True
        return None


class Push(Dealer):
    """A dealer that receives nothing."""

    receives = False

    __slots__ = ()

    def deliver(self, pipe: Pipe, frames: Frames) -> bool:
        """Drop what a peer has no business to send."""
        return False


class Pair(Dealer):
    """Talk to one peer, and to no other while it is there."""

    __slots__ = ()

    def attach(self, pipe: Pipe) -> List[Pipe]:
        """Take the first pipe in and refuse another."""
        return [pipe] if self.pipes else super().attach(pipe)


class Pull(Pattern):
    """Receives only."""

    sends = False

    __slots__ = ()


class Router(Pattern):
    """Send each message to the peer whose identity is its first frame."""

    __slots__ = ("_by_identity", "_count", "handover", "mandatory")

    def __init__(self) -> None:
        super().__init__()
        self.handover = False  # a peer's identity passes to who claims it next
        self.mandatory = False  # not knowing a peer is an error
        self._by_identity: Dict[bytes, Pipe] = {}
        self._count = int.from_bytes(os.urandom(4), "big")

    def attach(self, pipe: Pipe) -> List[Pipe]:
        """Take a pipe in under its identity, or under one that is made up."""
        known = self._by_identity.get(pipe.identity) if pipe.identity else None
        if known and not self.handover:
            return [pipe]
        if not pipe.identity:
            self._count = (self._count + 1) & 0xFFFFFFFF
            pipe.identity = b"\0" + self._count.to_bytes(4, "big")
        self._by_identity[pipe.identity] = pipe
        super().attach(pipe)
        return [known] if known else []

    def detach(self, pipe: Pipe) -> bool:
        """Forget the peer."""
        if self._by_identity.get(pipe.identity) is pipe:
            del self._by_identity[pipe.identity]
        return super().detach(pipe)

    def deliver(self, pipe: Pipe, frames: Frames) -> bool:
        """Take a message, and put the sender's identity before it."""
        return super().deliver(pipe, [pipe.identity, *frames])

    def select_pipe(self, frames: Frames) -> Optional[Tuple[List[Pipe], Frames]]:
        """Return the pipe that the first frame names; none when it is unknown or full."""
        pipe = self._by_identity.get(frames[0])
        if pipe is None:
            if self.mandatory:
                raise Unreachable
            return [], []
        if pipe.full:
            pipe.blocked = self.mandatory
            return None if self.mandatory else ([], [])
        return ([pipe] if len(frames) > 1 else []), frames[1:]


class XPub(Pattern):
    """Send each message to all who subscribed to how it begins; receive subscriptions."""

    __slots__ = ("nodrop", "verbose")

    def __init__(self) -> None:
        super().__init__()
        self.nodrop = False  # a message waits for the slowest
        self.verbose = False  # every subscription is received, not just the first to a topic

    def deliver(self, pipe: Pipe, frames: Frames) -> bool:
        """Take a subscription; nothing else is expected."""
        first = frames[0]
        kind, topic = first[:1], first[1:]
        if len(frames) > 1 or kind not in (SUBSCRIBE, CANCEL):
            return False
        known = topic in pipe.topics
        if kind == SUBSCRIBE:
            first_of_all = not self._wanted(topic)
            pipe.topics.add(topic)
            return (first_of_all or self.verbose) and self._tell(pipe, first)
        pipe.topics.discard(topic)
        return known and not self._wanted(topic) and self._tell(pipe, first)

    def detach(self, pipe: Pipe) -> bool:
        """Forget what the peer subscribed to."""
        super().detach(pipe)
        gone, pipe.topics = pipe.topics, set()
        receivable = [self._tell(pipe, CANCEL + topic) for topic in gone if not self._wanted(topic)]
        return any(receivable)

    def _wanted(self, topic: bytes) -> bool:
        return any(topic in pipe.topics for pipe in self.pipes)

    def _tell(self, pipe: Pipe, subscription: bytes) -> bool:
        return super().deliver(pipe, [subscription])

    def select_pipe(self, frames: Frames) -> Optional[Tuple[List[Pipe], Frames]]:
        """Return the pipes of all who subscribed, as far as they have room."""
        first = frames[0]
        pipes = [pipe for pipe in self.pipes if first.startswith(tuple(pipe.topics))]
        full = [pipe for pipe in pipes if pipe.full]
        if full and self.nodrop:
            for pipe in full:
                pipe.blocked = True
            return None
        return [pipe for pipe in pipes if pipe not in full], frames


class Pub(XPub):
    """Do as XPub, but receive nothing: subscriptions stay within."""

    receives = False

    __slots__ = ()

    def _tell(self, pipe: Pipe, subscription: bytes) -> bool:
        return False


class Sub(Pattern):
    """Receive what it subscribed to."""

    sends = False

    __slots__ = ("_topics",)

    def __init__(self) -> None:
        super().__init__()
        self._topics: Dict[bytes, int] = {}

    def subscribe(self, topic: bytes) -> List[Frames]:
        """Subscribe; return the messages for all peers."""
        self._topics[topic] = count = self._topics.get(topic, 0) + 1
        return [[SUBSCRIBE + topic]] if count == 1 else []

    def cancel(self, topic: bytes) -> List[Frames]:
        """Take one subscription back; return the messages for all peers."""
        count = self._topics.pop(topic, 0)
        if count > 1:
            self._topics[topic] = count - 1
        return [[CANCEL + topic]] if count == 1 else []

    def opening(self) -> List[Frames]:
        """Return the subscriptions, as messages."""
        return [[SUBSCRIBE + topic] for topic in self._topics]

    def deliver(self, pipe: Pipe, frames: Frames) -> bool:
        """Take a message if it is subscribed to; the peer may not know yet that it is not."""
        wanted = frames[0].startswith(tuple(self._topics))
        return wanted and super().deliver(pipe, frames)


PATTERNS: Dict[bytes, Type[Pattern]] = {
    b"PAIR": Pair,
    b"PUB": Pub,
    b"SUB": Sub,
    b"DEALER": Dealer,
    b"ROUTER": Router,
    b"PULL": Pull,
    b"PUSH": Push,
    b"STREAM": Pull,  # never connected
    b"XPUB": XPub,
}
