"""The streams to programs over ssh, by both clients."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
import time
from pathlib import Path

import pytest

from rkernel_launcher import errors
from tests.support import sshd
from tests.support.ssh_pc import LIMIT, Pc


@pytest.fixture(autouse=True)
def logs_in(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())


def read_all(stream: object) -> bytes:
    return b"".join(iter(lambda: stream.read(1 << 16, LIMIT), b""))  # type: ignore[attr-defined]


def test_bytes_of_every_kind_both_ways_at_once(pc: Pc, server: sshd.Server) -> None:
    data = os.urandom(3_000_000) + bytes(range(256)) + b"\n~.\n"
    stream = pc.start(pc.target(server))
    writer = threading.Thread(target=stream.write, args=(data, LIMIT))
    writer.start()
    got = b""
    while len(got) < len(data) + 5:
        got += stream.read(1 << 16, LIMIT)
    writer.join(LIMIT)
    assert hashlib.sha256(got).digest() == hashlib.sha256(b"here\n" + data).digest()
    stream.close()


def test_a_program_may_end_without_an_answer(pc: Pc, server: sshd.Server) -> None:
    words = ("sh", "-c", "echo Goodbye >&2; exit 7")
    stream = pc.start(pc.target(server), words=words, first=b"x" * 100)
    assert stream.read(100, LIMIT) == b""
    ending = stream.ending(LIMIT)
    assert ending.status == 7 and "Goodbye\n" in ending.stderr
    stream.close()


def test_a_program_that_is_not_there(pc: Pc, server: sshd.Server) -> None:
    stream = pc.start(pc.target(server), words=("no-such-program",))
    ending = stream.ending(LIMIT)
    assert ending.status == 127 and "not found" in ending.stderr
    stream.close()


def test_of_what_goes_to_stderr_the_last_is_kept_and_nothing_waits(
    pc: Pc, server: sshd.Server
) -> None:
    script = "head -c 5000000 /dev/zero | tr '\\0' x >&2; echo end >&2; echo here"
    stream = pc.start(pc.target(server), words=("sh", "-c", script))
    assert read_all(stream) == b"here\n"
    said = stream.ending(LIMIT).stderr
    assert "xxxend\n" in said and len(said) <= 1 << 14
    stream.close()


def test_a_program_that_says_nothing_is_given_up(pc: Pc, server: sshd.Server) -> None:
    with pytest.raises(errors.BoardSilent):
        pc.start(pc.target(server), words=("sleep", "60"), timeout=2.0)


def test_the_home_of_the_host_is_meant_by_a_tilde(pc: Pc, server: sshd.Server) -> None:
    program = server.folder / "a program"  # sshd gives its folder as HOME
    program.write_text('#!/bin/sh\necho "$1" "$2"\n')
    program.chmod(0o700)
    stream = pc.start(pc.target(server), words=("~/a program", "it's", "$HOME"))
    assert read_all(stream) == b"it's $HOME\n"
    stream.close()


def test_what_was_written_last_arrives_and_the_program_ends(
    pc: Pc, server: sshd.Server, tmp_path: Path
) -> None:
    data = os.urandom(500_000)
    script = f"echo here; cat > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/whole"
    stream = pc.start(pc.target(server), words=("sh", "-c", script), first=b"")
    stream.write(data, LIMIT)
    stream.close()
    stream.close()
    deadline = time.monotonic() + LIMIT
    while not (tmp_path / "whole").exists():
        assert time.monotonic() < deadline, "the program did not end"
        time.sleep(0.01)
    assert (tmp_path / "whole").read_bytes() == data


def test_the_loss_of_the_connection_is_the_end_of_the_stream(pc: Pc, server: sshd.Server) -> None:
    stream = pc.start(pc.target(server))
    assert stream.read(100, LIMIT) == b"here\n"
    server.drop()
    assert stream.read(100, LIMIT) == b""
    assert stream.ending(LIMIT).status in (None, 255)
    stream.close()


def test_a_program_may_close_its_output_and_still_read(pc: Pc, server: sshd.Server) -> None:
    script = "echo here; exec >&-; read line; echo $line >&2"
    stream = pc.start(pc.target(server), words=("sh", "-c", script), first=b"")
    assert stream.read(100, LIMIT) == b"here\n"
    stream.write(b"heard\n", LIMIT)
    assert stream.read(100, LIMIT) == b""
    assert "heard\n" in stream.ending(LIMIT).stderr
    stream.close()


def test_a_stream_can_be_waited_for(pc: Pc, server: sshd.Server) -> None:
    stream = pc.start(pc.target(server))
    assert select.select([stream], [], [], LIMIT)[0] == [stream]
    stream.setblocking(False)
    assert stream.recv(100) == b"here\n"
    with pytest.raises(BlockingIOError):
        stream.recv(100)
    assert stream.send(b"x") == 1
    stream.close()


def threads() -> set[Path]:
    """Return the threads of this process, by their folders in /proc."""
    return set(Path("/proc/self/task").iterdir())


def wakeups(others: set[Path]) -> int:
    """Return how often threads of this process, but for others, have given up the processor."""
    total = 0
    for thread in threads() - others:
        lines = (thread / "status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        total += int(fields["voluntary_ctxt_switches"])
    return total


def test_an_idle_stream_sleeps_and_still_closes_at_once(pc: Pc, server: sshd.Server) -> None:
    # Of the emulated boards that other tests have left running, each has stock paramiko's threads.
    others = threads() - {Path("/proc/self/task", str(threading.get_native_id()))}
    stream = pc.start(pc.target(server))
    assert stream.read(100, LIMIT) == b"here\n"
    before = wakeups(others)
    assert select.select([stream], [], [], 3.0)[0] == []
    assert wakeups(others) - before <= 5  # paramiko by itself looks ten times a second
    begun = time.monotonic()
    stream.close()
    assert stream.ending(LIMIT) is not None
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("engine", ["paramiko"])
def test_the_digest_is_the_cheapest_of_the_strong_ones(pc: Pc, server: sshd.Server) -> None:
    from rkernel_launcher.transports.paramiko.connection import connect
    from rkernel_launcher.transports.paramiko.settings import resolve

    connection = connect(resolve(pc.target(server)), None)
    assert connection.local_mac == "hmac-sha2-256-etm@openssh.com"
    assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert connection.local_compression == "none"
    connection.close()
