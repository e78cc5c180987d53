"""Calls in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rkernel_launcher.discovery.background import in_thread


async def called(function: object) -> object:
    return await in_thread(function)  # type: ignore[arg-type]


def test_what_it_returns_or_raises() -> None:
    assert asyncio.run(called(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(called(lambda: 1 / 0))


def test_the_loop_ends_while_a_call_lasts() -> None:
    begun, end = threading.Event(), threading.Event()
    threads = []

    def hang() -> None:
        threads.append(threading.current_thread())
        begun.set()
        end.wait(60)

    async def impatient() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(in_thread(hang), 0.01)

    asyncio.run(impatient())
    assert begun.wait(60) and not end.is_set()
    end.set()
    (thread,) = threads
    thread.join(60)
    assert not thread.is_alive()
