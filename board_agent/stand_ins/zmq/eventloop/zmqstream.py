"""A socket whose messages tornado's event loop hands to callbacks."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from typing import Any

from tornado.ioloop import IOLoop
from tornado.log import gen_log

from ..constants import EVENTS, NOBLOCK, POLLIN, POLLOUT
from ..error import Again, ContextTerminated, ZMQError, not_there


class ZMQStream:
    """A socket in an event loop, that of the thread that makes it if none is named.

    The loop watches the socket's descriptor, which only says that something may have changed. The
    loop's next round handles what was not handled then.
    """

    def __init__(self, socket: Any, io_loop: Any = None) -> None:
        self.socket = socket
        self.io_loop = io_loop or IOLoop.current()
        self._callback = None
        self._copy = False
        self._on_send = None
        self._on_close = None
        self._queue: deque[tuple[Any, dict[str, Any]]] = deque()
        self._looking = False
        self._descriptor = socket.fileno()
        self.bind, self.connect = socket.bind, socket.connect
        self.bind_to_random_port = socket.bind_to_random_port
        self.getsockopt, self.setsockopt = socket.getsockopt, socket.setsockopt
        self.getsockopt_string = socket.getsockopt_string
        self.setsockopt_string = socket.setsockopt_string
        self.io_loop.add_handler(socket, self._handle, self.io_loop.READ)
        self._look_again()

    def __getattr__(self, name: Any) -> None:
        raise not_there("ZMQStream.%s" % name)

    # --- receiving ------------------------------------------------------------------------------

    def on_recv(self, callback: Any, copy: Any = True) -> None:
        """Call `callback` with each message: a list of bytes, or of Frames if not `copy`."""
        self._check()
        self._callback, self._copy = callback, copy
        self._look_again()

    def on_recv_stream(self, callback: Any, copy: Any = True) -> None:
        """Call `callback` with this stream and each message, as `on_recv` does."""
        self.on_recv(callback and (lambda message: callback(self, message)), copy)

    def stop_on_recv(self) -> None:
        """Receive no messages any more."""
        self.on_recv(None)

    def receiving(self) -> Any:
        """Return whether messages are received."""
        return self._callback is not None

    def _receive(self) -> None:
        try:
            message = self.socket.recv_multipart(NOBLOCK, copy=self._copy)
        except Again:
            return
        if self._callback is not None:
            self._run(self._callback, message)

    # --- sending --------------------------------------------------------------------------------

    def send(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a message of one part; the rest as for `send_multipart`."""
        self.send_multipart([msg], *args, **kwargs)

    def send_multipart(
        self,
        msg: Any,
        flags: Any = 0,
        copy: Any = True,
        track: Any = False,
        callback: Any = None,
        **kwargs: Any,
    ) -> None:
        """Send a message in the loop's next round; `callback` is as for `on_send`."""
        if callback is not None:
            self._on_send = callback
        self._queue.append((msg, dict(kwargs, flags=flags, copy=copy, track=track)))
        self._look_again()

    def on_send(self, callback: Any) -> None:
        """Call `callback` with each message that was sent, and its tracker or error."""
        self._check()
        self._on_send = callback

    def on_send_stream(self, callback: Any) -> None:
        """Call `callback` with this stream first, as `on_send` does."""
        self.on_send(callback and (lambda message, status: callback(self, message, status)))

    def stop_on_send(self) -> None:
        """Call nothing any more for what is sent."""
        self.on_send(None)

    def sending(self) -> Any:
        """Return whether something waits to be sent."""
        return bool(self._queue)

    def _send(self) -> None:
        message, options = self._queue.popleft()
        try:
            status = self.socket.send_multipart(message, **options)
        except ZMQError as error:
            gen_log.error("SEND Error: %s", error)
            status = error
        if self._on_send is not None:
            self._run(self._on_send, message, status)

    # --- events ---------------------------------------------------------------------------------

    def flush(self, flag: Any = POLLIN | POLLOUT, limit: Any = None) -> Any:
        """Handle at once what there is, of the events of `flag`, and `limit` times at most.

        Messages that nobody takes are dropped, as pyzmq does.

        Returns:
            How many messages were handled.
        """
        self._check()
        count = 0
        while self.socket is not None and not (limit and count >= limit):
            events = self._events() & flag
            if not events:
                break
            count += self._dispatch(events)
        self._look_again()
        return count

    def _dispatch(self, events: Any) -> Any:
        """Handle one message each way; return how many."""
        count = 0
        if events & POLLIN:
            self._receive()
            count += 1
        if events & POLLOUT and self._queue and self.socket is not None:
            self._send()
            count += 1
        return count

    def _handle(self, fd: Any = None, events: Any = 0) -> None:
        if self.closed():
            return
        try:
            wanted = self._wanted()
        except ContextTerminated:
            self.close()
            return
        try:
            self._dispatch(wanted)
        finally:
            self._look_again()

    def _events(self) -> Any:
        events = self.socket.getsockopt(EVENTS)
        return events if self._queue else events & ~POLLOUT

    def _wanted(self) -> Any:
        events = self._events()
        return events if self._callback is not None else events & ~POLLIN

    def _look_again(self) -> None:
        """Come back if something is left to do; the descriptor does not tell again."""
        try:
            wanted = not self._looking and not self.closed() and self._wanted()
        except ContextTerminated:
            return
        if wanted:
            self._looking = True
            self.io_loop.add_callback(self._look)

    def _look(self) -> None:
        self._looking = False
        self._handle()

    def _run(self, callback: Any, *arguments: Any) -> None:
        try:
            result = callback(*arguments)
        except Exception:
            gen_log.error("Uncaught exception in ZMQStream callback", exc_info=True)
            raise
        if inspect.isawaitable(result):
            asyncio.ensure_future(result).add_done_callback(_report)

    # --- the end --------------------------------------------------------------------------------

    def set_close_callback(self, callback: Any) -> None:
        """Call `callback` when the stream is closed."""
        self._on_close = callback

    def close(self, linger: Any = None) -> None:
        """Close the stream and its socket."""
        if self.socket is None:
            return
        socket, self.socket = self.socket, None
        self.io_loop.remove_handler(self._descriptor)
        socket.close(linger)
        if self._on_close is not None:
            self._run(self._on_close)

    def closed(self) -> Any:
        """Return whether it is closed."""
        if self.socket is not None and self.socket.closed:
            self.close()
        return self.socket is None

    def _check(self) -> None:
        if self.socket is None:
            raise OSError("Stream is closed")


def _report(future: Any) -> None:
    if not future.cancelled() and future.exception() is not None:
        gen_log.error("Uncaught exception in ZMQStream callback", exc_info=future.exception())
