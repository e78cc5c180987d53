"""The first stage, on every Python found here, through shells and on boards that are not nice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rkernel_launcher import errors
from rkernel_launcher.transports.rpyc import first_stage
from rkernel_launcher.transports.rpyc.session import Session, over_stream
from rkernel_launcher.transports.rpyc.streams import CHUNK, Ending, ProcessStream
from tests.support.pythons import interpreters, newer_than_3_7

TIMEOUT = 30
OLD = sorted(set(interpreters()) - set(newer_than_3_7()))
SHELLS = list(filter(shutil.which, ["sh", "bash", "dash", "busybox", "zsh"]))
FUNCTIONS = """
import json, os, sys
def version(): return json.dumps("%d.%d" % sys.version_info[:2])
def modules(): return json.dumps(sorted(sys.modules))
def echo(value): return json.dumps([value, sys.getfilesystemencoding()])
def size(data): return json.dumps(len(data))
def die(): os._exit(9)
"""


class Counted(ProcessStream):
    """A stream that counts what is sent to the board, and leaves it time to end by itself."""

    end_seconds = TIMEOUT
    sent = 0

    def write(self, data: bytes, timeout: float) -> None:
        self.sent += len(data)
        super().write(data, timeout)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the board's side, a child of this process, an empty cache."""
    folder = tmp_path / "a cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def streams() -> Iterator[list[ProcessStream]]:
    opened: list[ProcessStream] = []
    yield opened
    for stream in opened:
        stream.close()


def shaken(stream: ProcessStream) -> tuple[dict[str, Any], Session]:
    facts = first_stage.handshake(stream, TIMEOUT)
    session = over_stream(stream, TIMEOUT)
    session.execute(FUNCTIONS)
    return facts, session


def shell(line: str) -> ProcessStream:
    return ProcessStream.start(["sh", "-c", line])


@pytest.mark.parametrize("version", newer_than_3_7())
def test_every_python(version: str, streams: list[ProcessStream]) -> None:
    python = interpreters()[version]
    sent = []
    for _ in ("cold", "warm"):
        stream = Counted.start(first_stage.argv(python))
        streams.append(stream)
        facts, session = shaken(stream)
        with closing(session):
            assert facts["python"].startswith(version + ".") and facts["kept"] is True
            assert session.call("version") == version
            assert session.call("echo", "Grüße, 世界 🙂")[0] == "Grüße, 世界 🙂"
            assert session.call("size", os.urandom(3_000_000)) == 3_000_000
            with pytest.raises(errors.BoardError, match="ZeroDivisionError"):
                session.execute("1 / 0")
            session.execute("import ssl, socket; ssl.create_default_context()")
        assert stream.ending(TIMEOUT).status == 0
        sent.append(stream.sent)
    assert sent[1] < sent[0] - 20_000


@pytest.mark.parametrize("version", OLD)
def test_old_python(version: str, streams: list[ProcessStream]) -> None:
    streams.append(first_stage.start(interpreters()[version]))
    with pytest.raises(errors.OldPython, match=f"is {version}, but rkernel needs 3.8 or newer"):
        first_stage.handshake(streams[0], TIMEOUT)


def test_what_is_loaded_is_little(streams: list[ProcessStream]) -> None:
    streams.append(first_stage.start(sys.executable))
    _, session = shaken(streams[0])
    loaded = set(session.call("modules"))
    assert not loaded & {"ssl", "plumbum", "zipfile", "asyncio", "tempfile", "subprocess"}


# --- the cache --------------------------------------------------------------------------------


def test_cache_is_private_and_used(cache: Path, streams: list[ProcessStream]) -> None:
    streams.append(first_stage.start(sys.executable))
    shaken(streams[0])
    (folder,) = (cache / "rkernel").iterdir()
    (file,) = folder.iterdir()
    modes = [path.stat().st_mode & 0o777 for path in (cache / "rkernel", folder, file)]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("damage", ["zeros", "empty", "cut", "writable"])
def test_damaged_cache_is_made_anew(damage: str, cache: Path, streams: list[ProcessStream]) -> None:
    for _ in ("make", "mend", "use"):
        streams.append(Counted.start(first_stage.argv(sys.executable)))
        shaken(streams[-1])
        if len(streams) == 1:
            (file,) = cache.glob("rkernel/*/*")
            data = file.read_bytes()
            if damage == "writable":
                file.chmod(0o666)
            else:
                file.write_bytes(
                    {"zeros": bytes(len(data)), "empty": b"", "cut": data[:-1]}[damage]
                )
    make, mend, use = (stream.sent for stream in streams if isinstance(stream, Counted))
    assert make == mend > use + 20_000


def test_without_any_place_for_a_cache(
    streams: list[ProcessStream], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for name, value in [("XDG_CACHE_HOME", str(file)), ("XDG_CACHE_HOME", "/proc")]:
        monkeypatch.setenv(name, value)
        streams.append(first_stage.start(sys.executable))
        facts, session = shaken(streams[-1])
        assert facts["kept"] is False and session.call("size", "abc") == 3
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(file))
    streams.append(first_stage.start(sys.executable))
    assert shaken(streams[-1])[0]["kept"] is False


def test_cache_that_cannot_be_written_to_its_end(cache: Path, streams: list[ProcessStream]) -> None:
    streams.append(shell("ulimit -f 8 && exec " + first_stage.command(sys.executable)))
    facts, session = shaken(streams[0])
    assert facts["kept"] is False and session.call("size", "abc") == 3
    assert not list(cache.glob("rkernel/*/*"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_user_whose_home_is_read_only(
    streams: list[ProcessStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    python = "/usr/bin/python3"  # The others may lie in a folder that only root can enter.
    if not Path(python).exists():
        pytest.skip(f"no {python}")
    monkeypatch.setenv("HOME", "/")
    monkeypatch.delenv("XDG_CACHE_HOME")
    pipe = subprocess.PIPE
    argv = first_stage.argv(python)
    process = subprocess.Popen(
        argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, user=65534, group=65534, cwd="/"
    )
    streams.append(ProcessStream(process))
    assert shaken(streams[0])[0]["kept"] is False


# --- what else comes over the stream ----------------------------------------------------------


@pytest.mark.parametrize("name", SHELLS)
def test_shells_and_what_they_print_first(name: str, streams: list[ProcessStream]) -> None:
    line = "echo Welcome; echo rkernel-first-stage; printf 'no end of line'; "
    argv = [name, *(["sh"] if name == "busybox" else []), "-c"]
    streams.append(ProcessStream.start([*argv, line + first_stage.command(sys.executable)]))
    assert shaken(streams[0])[1].call("size", "abc") == 3


def test_python_in_a_folder_with_an_odd_name(streams: list[ProcessStream], tmp_path: Path) -> None:
    folder = tmp_path / "it's a $HOME folder"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    streams.append(shell(first_stage.command(str(folder / "python3"))))
    assert shaken(streams[0])[1].call("size", "abc") == 3


def test_echo_of_what_we_send(streams: list[ProcessStream]) -> None:
    streams.append(shell("cat"))
    with pytest.raises(errors.BoardSilent):  # Our own line is not taken for an answer.
        first_stage.handshake(streams[0], 0.5)


def test_stray_output_stays_out_of_the_stream(streams: list[ProcessStream]) -> None:
    streams.append(first_stage.start(sys.executable))
    _, session = shaken(streams[0])
    session.execute("print('x' * 1_000_000); os.write(1, b'y' * 1_000_000)")
    session.execute("import subprocess; subprocess.check_call(['echo', 'z'])")
    with pytest.raises(errors.BoardError, match="EOFError"):
        session.execute("input()")
    assert session.call("size", "abc") == 3


def test_shell_that_prints_without_end(streams: list[ProcessStream]) -> None:
    streams.append(shell("while :; do echo yes yes yes yes yes yes yes yes yes yes yes; done"))
    with pytest.raises(errors.FirstStageFailed, match="prints without end"):
        first_stage.handshake(streams[0], TIMEOUT)


# --- no first stage ---------------------------------------------------------------------------


def test_no_python(streams: list[ProcessStream], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for python in ("no-such-python", "/no/such/python3", str(tmp_path), str(tmp_path / "text")):
        streams.append(shell(first_stage.command(python)))
        with pytest.raises(errors.NoPython, match="--python"):
            first_stage.handshake(streams[-1], TIMEOUT)
        with pytest.raises(errors.NoPython, match="--python"):
            first_stage.start(python)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cat >/dev/null & echo 'This account is closed.'; exit 1", "This account is closed."),
        ("echo 'oops \033[31m' >&2; exit 3", r"oops \\x1b\[31m"),
        ("exit 0", "ended with status 0"),
        ("echo; echo 'rkernel-first-stage: {}'; sleep 0.1", "it said {}"),
        ("echo 'rkernel-first-stage: [1'; sleep 0.1", r"it said \[1"),
    ],
)
def test_other_endings(line: str, said: str, streams: list[ProcessStream]) -> None:
    streams.append(shell(line))
    with pytest.raises(errors.FirstStageFailed, match=said):
        first_stage.handshake(streams[0], TIMEOUT)


def test_board_that_never_answers(streams: list[ProcessStream]) -> None:
    streams.append(ProcessStream.start([sys.executable, "-c", "import sys; sys.stdin.read()"]))
    with pytest.raises(errors.BoardSilent):
        first_stage.handshake(streams[0], 0.5)


def test_board_dies_in_a_call(streams: list[ProcessStream]) -> None:
    streams.append(first_stage.start(sys.executable))
    _, session = shaken(streams[0])
    with pytest.raises(errors.BoardLost, match="status 9"):
        session.call("die")


def test_launcher_goes_away_in_mid_request(streams: list[ProcessStream]) -> None:
    stream = Counted.start(first_stage.argv(sys.executable))
    streams.append(stream)
    _, session = shaken(stream)
    session.timeout = 0.3
    with pytest.raises(errors.BoardSilent):  # Which closes its stdin.
        session.execute("import threading; threading.Event().wait()")
    assert stream.ending(TIMEOUT).status == 1


@pytest.mark.parametrize("sent", [b"", b"\0\0\1"], ids=["idle", "in mid request"])
def test_launcher_falls_silent(
    sent: bytes, streams: list[ProcessStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_stage, "PEER_TIMEOUT", 0.2)
    monkeypatch.setattr(first_stage, "_stage", first_stage._stage.__wrapped__)  # not what is cached
    stream = first_stage.start(sys.executable)
    streams.append(stream)
    first_stage.handshake(stream, TIMEOUT)
    stream.write(sent, TIMEOUT)
    assert stream.ending(TIMEOUT).status == 1


def test_launcher_goes_away_in_mid_handshake(cache: Path, streams: list[ProcessStream]) -> None:
    stream = first_stage.start(sys.executable)
    streams.append(stream)
    stream.write(first_stage._stage(), TIMEOUT)
    while b'"need": true' not in stream.read(CHUNK, TIMEOUT):
        pass
    stream.close()
    status, stderr = stream.ending(TIMEOUT)
    assert status == 1 and "the launcher went away" in stderr
    assert not cache.exists()


def test_reading_past_the_end_of_a_process() -> None:
    stream = ProcessStream.start([sys.executable, "-c", "print('ab', end='')"])
    assert [stream.read(1, TIMEOUT) for _ in range(4)] == [b"a", b"b", b"", b""]
    assert stream.ending(TIMEOUT) == Ending(0, "")
    stream.close()
    stream.close()


def test_process_that_ignores_its_stdin_is_ended() -> None:
    line = "import signal, time; print('up', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", line], bufsize=0, stdin=-1, stdout=-1)
    stream = ProcessStream(process)
    assert stream.read(2, TIMEOUT) == b"up"
    with pytest.raises(TimeoutError):
        stream.write(bytes(1 << 20), 0.2)
    stream.end_seconds = 0.1
    stream.close()
    assert process.returncode is not None and process.returncode != 0
