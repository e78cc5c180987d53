"""Calls that block, such as the system's look-up of a name: in a thread that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_T = TypeVar("_T")


def in_thread(function: Callable[[], _T]) -> asyncio.Future[_T]:
    """Call a function in a thread of its own.

    Unlike `asyncio.to_thread`, this lets the event loop and the program end while the call lasts.

    Args:
        function: What to call.

    Returns:
        A future of the running event loop, which gets what the function returns or raises.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return future
