"""The subscription to a kernel's iopub: what the kernel receives, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

from board_agent.link.events import Data
from board_agent.link.link import Link
from board_agent.zmtp.wire import SUBSCRIBE, Wire, encode
from rkernel_launcher.launcher.iopub_subscription import IopubSubscription


class Kernel:
    """A kernel at the other end of a link, which publishes nothing by itself."""

    def __init__(self) -> None:
        self.wire = Wire(b"XPUB")
        self.subscribed: list[bytes] = []
        self.published: list[list[bytes]] = []
        self.reasons: list[Exception] = []
        self.ready = 0
        self.end = IopubSubscription(self._on_ready, self.published.append, self.reasons.append)
        self._near, self._far = Link(), Link(accepts_streams=True)
        self._number = self._near.open("iopub")
        self.end.attach(self._near, self._number, lambda: None, lambda end: None)

    def _on_ready(self) -> None:
        self.ready += 1

    def hear(self) -> None:
        """Take what the subscription has sent."""
        for event in self._far.receive_data(self._near.data_to_send()):
            if isinstance(event, Data):
                for [message] in self.wire.receive_data(event.data):
                    self.subscribed.append(message)

    def say(self, frames: Sequence[bytes] = (), size: int = 1 << 16) -> None:
        """Send what ZMTP wants, and a message, in pieces of a size."""
        data = self.wire.data_to_send() + (b"".join(encode(frames)) if frames else b"")
        for start in range(0, len(data), size):
            self.end.receive_data(data[start : start + size])


def opened(kernel: Kernel) -> None:
    kernel.hear()
    kernel.say()
    kernel.hear()
    kernel.say()
    kernel.hear()


def test_it_subscribes_to_all_and_hears_all() -> None:
    kernel = Kernel()
    opened(kernel)
    assert (kernel.subscribed, kernel.ready) == ([SUBSCRIBE], 1)
    kernel.say([b"topic", b"content"], size=1)
    assert kernel.published == [[b"topic", b"content"]]
    assert not kernel.reasons


def test_who_subscribes_before_the_kernel_answers_is_passed_on_after_it() -> None:
    kernel = Kernel()
    kernel.end.pass_up([SUBSCRIBE + b"early"])
    kernel.hear()
    kernel.end.update()  # as when the link has been cut meanwhile
    kernel.hear()
    kernel.say(size=1)
    kernel.end.update()
    opened(kernel)
    assert kernel.subscribed == [SUBSCRIBE, SUBSCRIBE + b"early"]
    kernel.end.pass_up([SUBSCRIBE + b"late"])
    kernel.hear()
    assert kernel.subscribed[2:] == [SUBSCRIBE + b"late"]


def test_what_is_not_zmtp_is_told() -> None:
    kernel = Kernel()
    kernel.end.receive_data(b"HTTP/1.1 400 Bad Request\r\n")
    [reason] = kernel.reasons
    assert str(reason) == "this is not ZMTP"
    assert kernel.ready == 0
