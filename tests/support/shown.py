"""The pictures among what a kernel publishes."""

from __future__ import annotations

import base64
import io
import statistics
from typing import Any

from PIL import Image, ImageStat

from tests.support.kernels import Message


def data(content: dict[str, Any]) -> bytes:
    (text,) = content["data"].values()
    return base64.b64decode(text)


def picture(content: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(data(content)))


def level(content: dict[str, Any]) -> int:
    """Return the grey of a picture."""
    return round(statistics.mean(ImageStat.Stat(picture(content)).mean))


def displays(messages: list[Message]) -> list[dict[str, Any]]:
    """Return the pictures among messages, checked: shown first, then updated, one type."""
    found = [m for m in messages if m["msg_type"] in ("display_data", "update_display_data")]
    streams: dict[str, list[Message]] = {}
    for message in found:
        streams.setdefault(message["content"]["transient"]["display_id"], []).append(message)
    for of_stream in streams.values():
        kinds = [message["msg_type"] for message in of_stream]
        assert kinds == ["display_data"] + ["update_display_data"] * (len(kinds) - 1)
        assert len({tuple(message["content"]["data"]) for message in of_stream}) == 1
        assert all(message["content"]["metadata"] == {} for message in of_stream)
    return [message["content"] for message in found]
