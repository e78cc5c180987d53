"""The stream over an SSH channel, with a real sshd that serves one connection and ends."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import paramiko
import psutil
import pytest
from rkernel_launcher.transports.rpyc.session import over_stream
from rkernel_launcher.transports.rpyc.streams import ChannelStream

from rkernel_launcher import errors
from rkernel_launcher.transports.rpyc import first_stage

TIMEOUT = 30
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd")


@pytest.fixture
def transport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[paramiko.Transport]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert SSHD is not None
    keys = [paramiko.ECDSAKey.generate() for _ in ("host", "user")]
    keys[0].write_private_key_file(str(tmp_path / "host"))
    public = f"{keys[1].get_name()} {keys[1].get_base64()}\n"
    (tmp_path / "authorized").write_text(public)
    (tmp_path / "config").write_text(
        f"HostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\nStrictModes no\n"
        f"PermitRootLogin yes\nPidFile none\nSetEnv XDG_CACHE_HOME={tmp_path}/cache\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it; a service makes it.
    near, far = socket.socketpair()
    argv = [SSHD, "-i", "-e", "-f", str(tmp_path / "config")]
    with (
        open(tmp_path / "log", "wb") as log,  # noqa: PTH123
        subprocess.Popen(argv, stdin=far, stdout=far, stderr=log) as sshd,
    ):
        far.close()
        with closing(paramiko.Transport(near)) as transport:
            transport.start_client(timeout=TIMEOUT)
            transport.auth_publickey(os.environ.get("USER") or "root", keys[1])
            yield transport
        sshd.wait(TIMEOUT)


def run(transport: paramiko.Transport, line: str) -> ChannelStream:
    channel = transport.open_session(timeout=TIMEOUT)
    channel.exec_command(line)
    return ChannelStream(channel)


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline, f"process {pid} still ran after {TIMEOUT} s"
        time.sleep(0.02)


def test_session_over_ssh(transport: paramiko.Transport) -> None:
    data = os.urandom(3_000_000)
    for _ in ("cold", "warm"):
        stream = run(transport, first_stage.command(sys.executable))
        facts = first_stage.handshake(stream, TIMEOUT)
        assert facts == {"python": "{}.{}.{}".format(*sys.version_info), "kept": True}
        with closing(over_stream(stream, TIMEOUT)) as session:
            # More than a channel's window, so that stderr which nobody reads would stop it all.
            session.execute(
                "import json, os, hashlib, threading\nfor _ in range(80): print('x' * 65536)"
            )
            session.execute("def sha(data): return json.dumps(hashlib.sha256(data).hexdigest())")
            session.execute("def text(n): return json.dumps('é' * n)")
            assert len(session.call("sha", data)) == 64
            assert session.call("text", 1_000_000) == "é" * 1_000_000
            with pytest.raises(errors.BoardError, match="KeyError: 'ä'"):
                session.execute("{}['ä']")


def test_time_out_and_end_over_ssh(transport: paramiko.Transport) -> None:
    stream = run(transport, first_stage.command(sys.executable))
    first_stage.handshake(stream, TIMEOUT)
    with closing(over_stream(stream, TIMEOUT)) as session:
        session.execute("import json, os\ndef pid(): return json.dumps(os.getpid())")
        pid = session.call("pid")
        session.timeout = 0.3
        with pytest.raises(errors.BoardSilent):
            session.execute("import threading; threading.Event().wait()")
    wait_for_end(pid)
    stream = run(transport, first_stage.command(sys.executable))
    first_stage.handshake(stream, TIMEOUT)
    with (
        closing(over_stream(stream, TIMEOUT)) as session,
        pytest.raises(errors.BoardLost, match="status 7: Goodbye"),
    ):
        session.execute("import os; os.write(2, b'Goodbye\\n'); os._exit(7)")


def test_no_python_over_ssh(transport: paramiko.Transport) -> None:
    stream = run(transport, first_stage.command("no-such-python"))
    with closing(stream), pytest.raises(errors.NoPython, match="not found"):
        first_stage.handshake(stream, TIMEOUT)


def test_connection_lost_over_ssh(transport: paramiko.Transport) -> None:
    stream = run(transport, first_stage.command(sys.executable))
    first_stage.handshake(stream, TIMEOUT)
    with closing(over_stream(stream, TIMEOUT)) as session:
        transport.sock.close()
        with pytest.raises(errors.BoardLost):
            session.execute("")
