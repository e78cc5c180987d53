"""Jupyter messages that the launcher itself reads, makes and signs on iopub.

Source: "The wire protocol" in https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from board_agent.link.video_format import FIRST, LAST

from .connection_file import Connection
from .video.frames import Frame

MAX_DISPLAYS = 256  # that are live in one cell
_DELIMITER = b"<IDS|MSG>"
_PROTOCOL_VERSION = "5.3"


class CellPublisher:
    """Make messages for the cell that runs.

    Args:
        connection: Whose key signs them.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cell: Any = None  # header of the request that runs
        self._displays: set[str] = set()  # of it, between their first and their last picture
        self._session = uuid.uuid4().hex

    @property
    def in_cell(self) -> bool:
        """Whether a cell runs."""
        return self._cell is not None

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
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self._session,
            "username": "rkernel",
            "date": datetime.now(timezone.utc).isoformat(),
            "version": _PROTOCOL_VERSION,
        }
        frames = [json.dumps(part).encode() for part in (header, self._cell, {}, content)]
        return [topic, _DELIMITER, sign(self._connection, frames), *frames]


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
