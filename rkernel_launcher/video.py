"""Frames: what the board shows, as it comes to the PC."""

from __future__ import annotations

from typing import NamedTuple


class Frame(NamedTuple):
    """One picture of a stream, encoded, and what the board says about it."""

    stream: str  # the user's name for it; "" for the only one
    cell: str  # msg_id of the request that runs; "" outside cells
    display: str  # display_id
    mime: str  # image/jpeg or image/png
    width: int
    height: int
    delay: float  # seconds from show() until it came, as far as the board can tell
    data: bytes
