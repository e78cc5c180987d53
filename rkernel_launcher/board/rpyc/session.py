"""A session: run code of ours on a board through the SlaveService there.

The board may be hostile, and rpyc lets both ends ask. So this end is only a client: it has no
service, keeps no table of objects, and answers nothing. What it sends are four requests (get the
root, call its `execute` and `eval`, call a function); what it accepts are the replies to those, of
the one shape that each must have. A reference to an object on the board is an opaque token that is
handed back and never looked into. Anything else ends the session with an error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rpyc.core import consts

from ... import errors
from ...sanitize import escape_controls
from ...transports.stream import CHUNK, Stream
from .packets import HEADER, Dialect, Malformed, Packet, body_size, decode, encode

Plain = str | bytes | int | float | bool | None
_TRACEBACK = 20_000  # Characters of a remote traceback that are kept: its end says what happened.


class _OtherDialect(Exception):
    """The board answered in the dialect that we did not speak."""


class Session:
    """An open session, to be closed.

    Parameters: stream, which the session owns from then on; timeout, how many seconds each request
    may take (may be changed between requests); what is to answer, for people; dialect, what the
    board speaks.
    Errors: of every method, the constructor included: BoardSilent, BoardLost, BoardMisbehaved; each
    of these closes the session, and BoardError does not.
    """

    def __init__(
        self, stream: Stream, timeout: float, what: str, dialect: Dialect = Dialect.FROM_6
    ) -> None:
        self.timeout = timeout
        self._what = what
        self._stream = stream
        self._dialect = dialect
        self._number = 0
        self._handed_over = False
        self._functions: dict[str, tuple[int, Any]] = {}
        try:
            self._root = self._reference(self._request(consts.HANDLE_GETROOT))
        except BaseException:
            self.close()
            raise

    def execute(self, source: str) -> None:
        """Run Python source in the session's namespace on the board.

        Parameters: source. Errors: BoardError when it raises there.
        """
        self._functions.clear()
        if self._ask_root("execute", source) != _value(None):
            raise self._misbehaved("a reply where none is due")

    def call(self, name: str, *args: Plain) -> Any:
        """Call a function that `execute` defined and that returns a JSON string.

        Parameters: name of the function; args for it.
        Returns: what the string says, decoded. Errors: BoardError when it raises there.
        """
        return self._json(self._request(consts.HANDLE_CALL, self._function(name), _value(args)))

    def hand_over(self, line: bytes, name: str, *args: Plain) -> Any:
        """Call a function that gives the session's stream to somebody else, and then says a line.

        Args:
            line: What it says in place of a reply: nothing that can begin a packet.
            name: The function; if it cannot do so, it returns a JSON string.
            *args: Its arguments.

        Returns:
            The stream, which is the caller's from then on; or what that string says.
        """
        function = self._function(name)
        deadline = self._send(consts.HANDLE_CALL, function, _value(args))
        with self._failures():
            begin = self._take(HEADER.size, deadline)
            if begin == line[: HEADER.size]:
                if self._take(len(line) - len(begin), deadline) != line[len(begin) :]:
                    raise Malformed("an unknown line")
                self._handed_over = True
                return self._stream
            reply = self._answer(decode(begin, self._take(body_size(begin), deadline)))
        return self._json(reply)

    def close(self) -> None:
        """End the session: the board sees its stream close and forgets the namespace."""
        if not self._handed_over:
            self._stream.close()

    def _function(self, name: str) -> tuple[int, Any]:
        if name not in self._functions:
            self._functions[name] = self._reference(self._ask_root("eval", name))
        return self._functions[name]

    def _json(self, reply: tuple[Any, Any]) -> Any:
        label, text = reply
        with suppress(ValueError, RecursionError):
            if label == consts.LABEL_VALUE and type(text) is str:
                return json.loads(text)
        raise self._misbehaved("a reply that is no JSON text")

    def _ask_root(self, method: str, text: str) -> Any:
        return self._request(consts.HANDLE_CALLATTR, self._root, _value(method), _value((text,)))

    def _reference(self, boxed: Any) -> tuple[int, Any]:
        """Turn the board's reference to an object of its own into the one that we hand back."""
        label, token = boxed
        if label != consts.LABEL_REMOTE_REF:
            raise self._misbehaved("a value where an object is due")
        return consts.LABEL_LOCAL_REF, token

    def _request(self, handler: int, *args: Any) -> tuple[Any, Any]:
        """Send a request and wait for the boxed value that answers it."""
        deadline = self._send(handler, *args)
        with self._failures():
            header = self._take(HEADER.size, deadline)
            reply = decode(header, self._take(body_size(header), deadline))
        return self._answer(reply)

    def _send(self, handler: int, *args: Any) -> float:
        """Send a request; return when its answer is due."""
        deadline = time.monotonic() + self.timeout
        self._number += 1
        content = (handler, (consts.LABEL_TUPLE, args))
        data = encode(Packet(self._dialect, consts.MSG_REQUEST, self._number, content))
        with self._failures():
            self._stream.write(data, self.timeout)
        return deadline

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Have what goes wrong with the stream end the session, with a named error."""
        try:
            yield
        except TimeoutError:
            self.close()
            raise errors.BoardSilent(seconds=self.timeout) from None
        except OSError as error:
            raise self._lost(str(error)) from error
        except Malformed as error:
            raise self._misbehaved(str(error)) from error

    def _take(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            # One limit for all parts: a board that drips cannot stretch it.
            left = deadline - time.monotonic()
            part = self._stream.read(min(count - len(data), CHUNK), left)
            if not part:
                raise ConnectionResetError("it closed the connection")
            data += part
        return bytes(data)

    def _answer(self, reply: Packet) -> tuple[Any, Any]:
        if reply.dialect is not self._dialect:
            if self._number == 1:
                raise _OtherDialect
            raise self._misbehaved("a packet of another rpyc")
        if reply.kind == consts.MSG_REQUEST:
            if _is_close(reply.content):
                raise self._lost("it closed the session")
            raise self._misbehaved("a request for something of this PC")
        if reply.number != self._number:
            raise self._misbehaved("a reply to another question")
        if reply.kind == consts.MSG_EXCEPTION:
            raise _board_error(reply.content)
        shaped = type(reply.content) is tuple and len(reply.content) == 2
        if reply.kind != consts.MSG_REPLY or not shaped:
            raise self._misbehaved("a reply of another shape")
        label, value = reply.content
        return label, value

    def _lost(self, detail: str) -> errors.BoardLost:
        status, stderr = self._stream.ending(min(self.timeout, 1.0))
        self.close()
        said = stderr.strip().rpartition("\n")[2]
        if status is not None:
            detail = f"its Python ended with status {status}"
        return errors.BoardLost(detail=escape_controls(f"{detail}: {said}" if said else detail))

    def _misbehaved(self, detail: str) -> errors.BoardMisbehaved:
        self.close()
        return errors.BoardMisbehaved(what=self._what, detail=escape_controls(detail))


def over_stream(stream: Stream, timeout: float) -> Session:
    """Open a session with our own first stage, whose rpyc is the one of this PC.

    Parameters: stream, after `bootstrap.handshake`; timeout in seconds for each request.
    Returns: the session, which owns the stream. Errors: BoardSilent, BoardLost, BoardMisbehaved.
    """
    what = "our code on the board"
    try:
        return Session(stream, timeout, what)
    except _OtherDialect:
        raise errors.BoardMisbehaved(what=what, detail="a packet of another rpyc") from None


def over_service(dial: Callable[[], Stream], host: str, port: int, timeout: float) -> Session:
    """Open a session with the board's own SlaveService, of rpyc 4.1 to 6.

    A service that gets a packet of the other dialect says goodbye at once, in its own: then we
    connect again. The old dialect is tried first, since boards seldom have rpyc 6.

    Args:
        dial: Connects to the service.
        host: Its name for people.
        port: The same of its port.
        timeout: Seconds for each request.

    Raises:
        NotRpyc: Something else answers, or nothing does.
        RkernelError: What `dial` raises.
    """
    detail = ""
    for dialect in (Dialect.UP_TO_5, Dialect.FROM_6):
        try:
            return Session(dial(), timeout, "a board's rpyc service", dialect)
        except _OtherDialect:
            detail = "it changed its dialect"
        except errors.BoardLost as error:  # Perhaps its way of not understanding us.
            detail = str(error.facts["detail"])
        except errors.BoardSilent:
            raise errors.NotRpyc(host=host, port=port, detail="it says nothing") from None
        except errors.BoardBroken as error:
            detail = str(error.facts["detail"])
            raise errors.NotRpyc(host=host, port=port, detail=detail) from error
    raise errors.NotRpyc(host=host, port=port, detail=detail)


def _value(value: Any) -> tuple[int, Any]:
    return consts.LABEL_VALUE, value


def _is_close(content: Any) -> bool:
    return type(content) is tuple and content[:1] == (consts.HANDLE_CLOSE,)


def _board_error(content: Any) -> errors.BoardError:
    """Tell what was raised on the board: rpyc sends names, arguments, attributes, traceback."""
    trace = content[3] if type(content) is tuple and len(content) == 4 else ""
    text = escape_controls(trace[-_TRACEBACK:].strip()) if type(trace) is str else ""
    detail = text.rpartition("\n")[2] or "an exception without a traceback"
    return errors.BoardError(detail=detail, traceback=text)
