"""Outages where a board has 64 MB and python3 alone: what it lacks may be on its way just then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from rkernel_launcher.board.bundle import build, upload
from rkernel_launcher.errors import BoardLost, RkernelError
from tests.support.armv7l import Armv7l, leading_to
from tests.support.boards import wait_until
from tests.support.commands import Run
from tests.support.kernels import Message, started
from tests.support.network import Network

PLACE = "/home/student/.cache/rkernel"  # where what is sent for student is put
ADD = ("add", "--host", "student@far", "--name", "pulled")


@pytest.fixture
def archive(small: Armv7l, monkeypatch: pytest.MonkeyPatch) -> build.Archive:
    """Give what is sent to the board."""
    monkeypatch.setenv("XDG_CACHE_HOME", small.environment["XDG_CACHE_HOME"])
    return build.build("3.11")


def test_an_upload_goes_on_where_the_network_was_pulled(
    small: Armv7l, archive: build.Archive
) -> None:
    """A network that is gone, and says so or not, ends `rkernel add`; one that comes back does not.

    Each attempt sends what is left; it takes all of them.
    """
    size = len(archive.content)
    with leading_to(small) as network:
        with pulled(small, network, size // 4) as run:
            network.reset()
            assert_ended(run, BoardLost)
        with pulled(small, network, size // 2) as run:
            network.hole()
            assert_ended(run, BoardLost, "Timeout, server")
        assert not (small.specs / "pulled").exists()

        have, before = come(small), network.sent
        with pulled(small, network, 3 * size // 4) as run:
            network.hole()
            time.sleep(10)  # that is what an outage is
            network.restore()
            assert_ended(run)
        assert network.sent - before < size - have + upload.PIECE  # with all else that was said
        assert_whole(small, archive)


def test_no_line_is_lost_when_the_link_is_cut(small: Armv7l) -> None:
    lines = 200
    with leading_to(small) as network:
        argv = small.argv()
        argv[argv.index("--host") + 1] = "far"
        with started(small, argv=argv) as kernel:
            code = f"import time\nfor i in range({lines}): print(i, flush=True); time.sleep(0.05)"
            number = kernel.send(code)
            begun = kernel.until_printed("50\n")
            network.reset()
            wait_until(lambda: not network.connections, "the network is gone", 5)
            time.sleep(4)  # that is what an outage is
            network.restore()
            published = kernel.finish(number).published
            texts = [m["content"]["text"] for m in [*begun, *published] if streamed(m)]
            assert "".join(texts) == "".join(f"{i}\n" for i in range(lines))
            assert "the link is back" in kernel.log()


@contextmanager
def pulled(board: Armv7l, network: Network, size: int) -> Iterator[Future[Run]]:
    """Have an `rkernel add` send a bundle until so many bytes of it have come."""
    with ThreadPoolExecutor(1) as other:
        network.restore(lost=True)
        network.slow(1 << 18)  # so that there is a middle
        run = other.submit(board.rkernel, *ADD)
        wait_until(lambda: come(board) > size, f"{size} bytes of it have come", board.limit)
        yield run


def assert_ended(
    run: Future[Run], error: type[RkernelError] | None = None, words: str = ""
) -> None:
    """Fail unless a command ends well, or with an error's advice and some words."""
    said = run.result()
    assert said.returncode == (1 if error else 0), said.stderr
    assert (error.remedy in said.stderr) if error else said.stderr == "", said.stderr
    assert words in said.stderr


def come(board: Armv7l) -> int:
    """Return how many bytes of a bundle the board has put by."""
    return int(board.shell(f"cat {PLACE}/bundle-*.part 2>/dev/null | wc -c"))


def assert_whole(board: Armv7l, archive: build.Archive) -> None:
    """Fail unless the board has the bundle and nothing else of it; have all removed."""
    assert board.shell(f"cd {PLACE}; ls -d bundle-*") == f"{archive.name}\n"
    assert board.rkernel("remove", "pulled", "--purge").returncode == 0
    assert board.shell("find /home/student -path '*rkernel*'") == ""


def streamed(message: Message) -> bool:
    return message["msg_type"] == "stream" and message["content"]["name"] == "stdout"
