"""Jupyter messages that the launcher itself reads, makes and signs.

Source: "The wire protocol" in https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from board_agent.link.video_format import FIRST, LAST

from .connection_file import Connection
from .video.frames import Frame

MAX_DISPLAYS = 256  # that are live in one cell
_DELIMITER = b"<IDS|MSG>"
PROTOCOL_VERSION = "5.3"


class CellPublisher:
    """Make messages for the cell that runs.

    Args:
        connection: Whose key signs them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cell: dict[str, Any] | None = None
        self._displays: set[str] = set()  # of it, between their first and their last picture
        self._session = uuid.uuid4().hex

    @property
    def cell(self) -> dict[str, Any] | None:
        """The header of the request whose cell runs, if one does."""
        return self._cell

    def observe(self, parts: list[Any]) -> None:
        """Follow what the kernel publishes, to know which cell runs and what it displays.

        Args:
            parts: The frames of a message, the topic first. Only those of a `status` are decoded.
        """
        topic = bytes(parts[0])
        if topic.startswith(FIRST) and len(self._displays) < MAX_DISPLAYS:
            self._displays.add(topic[len(FIRST) :].decode("ascii", "replace"))
        elif topic.startswith(LAST):
            self._displays.discard(topic[len(LAST) :].decode("ascii", "replace"))
        if not topic.endswith(b".status"):
            return
        try:
            start = [bytes(part) for part in parts[:3]].index(_DELIMITER)
            parent, content = (json.loads(bytes(parts[start + n])) for n in (3, 5))
            runs = content["execution_state"] == "busy"
            known = isinstance(parent["msg_id"], str)
            if runs and known and parent["msg_type"] == "execute_request":
                self._cell = parent
                self._displays.clear()
            elif not runs and self._cell and parent["msg_id"] == self._cell["msg_id"]:
                self._cell = None
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            pass  # not a kernel's message: the client judges it

    def stderr(self, text: str) -> list[bytes] | None:
        """Return a message that shows text on stderr of the cell; None if no cell runs."""
        return self._message("stream", {"name": "stderr", "text": text}, b"stream.stderr")

    def frame(self, frame: Frame) -> list[bytes] | None:
        """Return a message that shows a picture in its cell; None if that cell does not run."""
        if self._cell is None or frame.cell != self._cell["msg_id"]:
            return None
        if frame.display not in self._displays:
            return None  # not yet or no more on display: what the kernel itself publishes counts
        content = {
            "data": {frame.mime: base64.b64encode(frame.data).decode()},
            "metadata": {},
            "transient": {"display_id": frame.display},
        }
        return self._message("update_display_data", content, b"display_data")

    def _message(self, kind: str, content: dict[str, Any], topic: bytes) -> list[bytes] | None:
        if self._cell is None:
            return None
        return [topic, *compose(self._connection, self._session, kind, self._cell, content)]


def compose(
    connection: Connection, session: str, kind: str, parent: Any, content: dict[str, Any]
) -> list[bytes]:
    """Return the frames of a new message, the delimiter first.

    Args:
        connection: Whose key signs it.
        session: Our session's id.
        kind: The message's type, such as "stream".
        parent: The header of the request that it belongs to.
        content: What it says.
    """
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "session": session,
        "username": "rkernel",
        "date": datetime.now(timezone.utc).isoformat(),
        "version": PROTOCOL_VERSION,
    }
    frames = [json.dumps(part).encode() for part in (header, parent, {}, content)]
    return [_DELIMITER, sign(connection, frames), *frames]


@dataclass(frozen=True)
class Request:
    """What a client asks.

    Attributes:
        kind: The message's type, such as "execute_request".
        header: The message's header, which answers repeat.
        content: What the message says.
    """

    kind: str
    header: dict[str, Any]
    content: dict[str, Any]


def read_request(connection: Connection, frames: list[bytes]) -> Request | None:
    """Return the request in a message; None unless it makes sense and its signature is right.

    Args:
        connection: Whose key has signed it.
        frames: The message's frames.
    """
    try:
        start = frames.index(_DELIMITER) + 1
        signature, signed = frames[start], frames[start + 1 : start + 5]
        if not hmac.compare_digest(signature, sign(connection, signed)):
            return None
        header, content = json.loads(signed[0]), json.loads(signed[3])
        if isinstance(header["msg_type"], str) and isinstance(content, dict):
            return Request(header["msg_type"], header, content)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        pass  # it is not a client's message
    return None


def sign(connection: Connection, frames: list[bytes], key: str | None = None) -> bytes:
    """Return the signature of a message.

    Args:
        connection: Its scheme, and its key by default.
        frames: The message's four JSON frames: header, parent header, metadata, content.
        key: Another key.

    Returns:
        The hexadecimal digest; empty if the key is empty, which switches signing off.
    """
    secret = (connection.key if key is None else key).encode("utf-8", "replace")
    if not secret:
        return b""
    digest = connection.signature_scheme.removeprefix("hmac-")
    return hmac.new(secret, b"".join(frames), digest).hexdigest().encode()


def answered(frames: list[bytes]) -> str | None:
    """Return the id of the request that a message is the reply to; None if it is no reply.

    Args:
        frames: The message's frames, which the kernel signed.
    """
    try:
        start = frames.index(_DELIMITER) + 2
        header, parent = json.loads(frames[start]), json.loads(frames[start + 1])
        return str(parent["msg_id"]) if header["msg_type"].endswith("_reply") else None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None  # it is not a kernel's message: the client judges it


class Resigner:
    """Sign again what a kernel signed with a key that it had before a takeover.

    Args:
        connection: Whose key signs from now on.
        former_keys: The keys that the kernel had before.
    """

    def __init__(self, connection: Connection, former_keys: Sequence[str]) -> None:
        self._connection = connection
        self._former_keys = former_keys

    def resign(self, parts: list[bytes]) -> list[bytes]:
        """Return a message, signed with the new key if an old key signed it.

        Args:
            parts: Its frames; one that is not a signed message comes back as it is.
        """
        try:
            at = parts.index(_DELIMITER) + 1
            signature, signed = parts[at], parts[at + 1 : at + 5]
        except (ValueError, IndexError):
            return parts
        former = (sign(self._connection, signed, key) for key in self._former_keys)
        if any(hmac.compare_digest(signature, valid) for valid in former):
            parts[at] = sign(self._connection, signed)
        return parts
