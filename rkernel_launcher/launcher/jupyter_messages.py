"""Jupyter messages that the launcher itself reads, makes and signs on iopub.

Source: "The wire protocol" in https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from board_agent.link.video_format import FIRST, LAST

from .connection_file import Connection
from .video.frames import Frame

MAX_DISPLAYS = 256  # that are live in one cell
_DELIMITER = b"<IDS|MSG>"


class CellPublisher:
    """Speak in the cell that runs.

    Parameters: connection, whose key signs what is said.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cell: Any = None  # header of the request that runs
        self._displays: set[str] = set()  # of it, between their first and their last picture
        self._session: Any = None

    @property
    def in_cell(self) -> bool:
        """Whether a cell runs."""
        return self._cell is not None

    def observe(self, parts: list[Any]) -> None:
        """Follow what the kernel publishes: only what tells whether a cell runs is looked into."""
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
            pass  # not as a kernel says it: that is for the client to judge

    def stderr(self, text: str) -> list[bytes] | None:
        """Return a message that shows text on stderr of the cell; None when none runs."""
        return self._message("stream", {"name": "stderr", "text": text}, b"stream.stderr")

    def frame(self, frame: Frame) -> list[bytes] | None:
        """Return a message that shows a picture in its cell; None when that does not run."""
        if self._cell is None or frame.cell != self._cell["msg_id"]:
            return None
        if frame.display not in self._displays:
            return None  # not yet, or not any more: what the kernel itself publishes counts
        content = {
            "data": {frame.mime: base64.b64encode(frame.data).decode()},
            "metadata": {},
            "transient": {"display_id": frame.display},
        }
        return self._message("update_display_data", content, b"display_data")

    def _message(self, kind: str, content: dict[str, Any], topic: bytes) -> list[bytes] | None:
        if self._cell is None:
            return None
        if self._session is None:
            from jupyter_client.session import Session  # 0.3 s, which few launchers have to spend

            key, scheme = self._connection.key.encode(), self._connection.signature_scheme
            self._session = Session(key=key, signature_scheme=scheme)
        try:
            message = self._session.msg(kind, content, parent={"header": self._cell})
            return [bytes(part) for part in self._session.serialize(message, ident=topic)]
        except (ValueError, TypeError, RecursionError):  # the board's idea of a header, or a name
            return None


class Resigner:
    """Sign anew what a kernel signed with a key that it had before.

    Parameters: connection, whose key is to be used; former_keys.
    """

    def __init__(self, connection: Connection, former_keys: list[str]) -> None:
        self._digest = connection.signature_scheme.removeprefix("hmac-")
        self._key = connection.key.encode()
        self._former_keys = [key.encode("utf-8", "replace") for key in former_keys]

    def resign(self, parts: list[bytes]) -> list[bytes]:
        """Return a message with a signature of the new key if that of an old one fits."""
        try:
            at = parts.index(_DELIMITER) + 1
            signature, signed = parts[at], parts[at + 1 : at + 5]
        except (ValueError, IndexError):
            return parts
        if any(hmac.compare_digest(signature, self._sign(k, signed)) for k in self._former_keys):
            parts[at] = self._sign(self._key, signed)
        return parts

    def _sign(self, key: bytes, frames: list[bytes]) -> bytes:
        if not key:
            return b""
        return hmac.new(key, b"".join(frames), self._digest).hexdigest().encode()
