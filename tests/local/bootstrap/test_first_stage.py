"""The first stage, on every Python found here, through shells and on boards that are not nice."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from rkernel_launcher import errors
from rkernel_launcher.board import bootstrap
from rkernel_launcher.board.rpyc.session import Session
from rkernel_launcher.transports import process
from rkernel_launcher.transports.stream import CHUNK, Start, Stream
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


class Counted(Stream):
    """A stream that counts what is sent to the board."""

    sent = 0

    @classmethod
    def start(cls, words: Sequence[str], first: bytes, timeout: float) -> Counted:
        stream = process.start(words, first, timeout)
        counted = cls(stream._sock, stream._end, stream.ending)
        counted.sent = len(first)
        return counted

    def write(self, data: bytes, timeout: float) -> None:
        self.sent += len(data)
        super().write(data, timeout)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the board's side, a child of this process, an empty cache."""
    folder = tmp_path / "a cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


class Sessions:
    """Sessions that end with the test, and their streams."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []

    def open(self, start: Start = process.start, python: str = sys.executable) -> Session:
        """Open a session with a board, and define functions there."""
        session = bootstrap.open_session(self.kept(start), python, TIMEOUT)
        session.execute(FUNCTIONS)
        return session

    def kept(self, start: Start) -> Start:
        """Return a way to start a program that also keeps its stream, to close it."""

        def begin(words: Sequence[str], first: bytes, timeout: float) -> Stream:
            self.streams.append(start(words, first, timeout))
            return self.streams[-1]

        return begin

    @property
    def sent(self) -> list[int]:
        """How many bytes went to the board, for each session."""
        return [stream.sent for stream in self.streams if isinstance(stream, Counted)]


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    opened = Sessions()
    yield opened
    for stream in opened.streams:
        stream.close()


def shell(before: str, name: str = "sh") -> Start:
    """Run a program at the end of a line of a shell, as a login over ssh does."""
    argv = [name, *(["sh"] if name == "busybox" else []), "-c"]

    def start(words: Sequence[str], first: bytes, timeout: float) -> Stream:
        return process.start([*argv, before + "exec " + shlex.join(words)], first, timeout)

    return start


def as_nobody(words: Sequence[str], first: bytes, timeout: float) -> Stream:
    """Run a program as a user who may write nowhere."""
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
    return process.start(argv, first, timeout)


def instead(line: str) -> Start:
    """Run a line of a shell in place of the program."""
    return lambda words, first, timeout: process.start(["sh", "-c", line], first, timeout)


@pytest.mark.parametrize("version", newer_than_3_7())
def test_every_python(version: str, sessions: Sessions) -> None:
    for _ in ("cold", "warm"):
        with closing(sessions.open(Counted.start, interpreters()[version])) as session:
            assert session.call("version") == version
            assert session.call("echo", "Grüße, 世界 🙂")[0] == "Grüße, 世界 🙂"
            assert session.call("size", os.urandom(3_000_000)) == 3_000_000
            with pytest.raises(errors.BoardError, match="ZeroDivisionError"):
                session.execute("1 / 0")
            session.execute("import ssl, socket; ssl.create_default_context()")
        assert sessions.streams[-1].ending(TIMEOUT).status == 0
    cold, warm = sessions.sent
    assert warm < cold - 20_000


@pytest.mark.parametrize("version", OLD)
def test_old_python(version: str, sessions: Sessions) -> None:
    with pytest.raises(errors.OldPython, match=f"is {version}, but rkernel needs 3.8 or newer"):
        sessions.open(python=interpreters()[version])


def test_what_is_loaded_is_little(sessions: Sessions) -> None:
    loaded = set(sessions.open().call("modules"))
    assert "rpyc.core.protocol" in loaded
    assert not loaded & {"ssl", "plumbum", "zipfile", "asyncio", "tempfile", "subprocess"}


# --- the cache --------------------------------------------------------------------------------


def test_cache_is_private_and_used(cache: Path, sessions: Sessions) -> None:
    sessions.open()
    (folder,) = (cache / "rkernel").iterdir()
    (file,) = folder.iterdir()
    modes = [path.stat().st_mode & 0o777 for path in (cache / "rkernel", folder, file)]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("damage", ["zeros", "empty", "cut", "writable"])
def test_damaged_cache_is_made_anew(damage: str, cache: Path, sessions: Sessions) -> None:
    sessions.open(Counted.start)
    (file,) = cache.glob("rkernel/*/*")
    data = file.read_bytes()
    if damage == "writable":
        file.chmod(0o666)
    else:
        file.write_bytes({"zeros": bytes(len(data)), "empty": b"", "cut": data[:-1]}[damage])
    sessions.open(Counted.start)
    sessions.open(Counted.start)
    make, mend, use = sessions.sent
    assert make == mend > use + 20_000


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
@pytest.mark.parametrize("place", ["a file", "/proc"])
def test_without_any_place_for_a_cache(
    variable: str,
    place: str,
    sessions: Sessions,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv(variable, str(tmp_path / place))
    for _ in range(2):
        assert sessions.open(Counted.start).call("size", "abc") == 3
    assert sessions.sent[0] == sessions.sent[1] > 20_000
    assert not cache.exists()


def test_cache_that_cannot_be_written_to_its_end(cache: Path, sessions: Sessions) -> None:
    assert sessions.open(shell("ulimit -f 8; ")).call("size", "abc") == 3
    assert not list(cache.glob("rkernel/*/*"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_user_whose_home_is_read_only(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    python = "/usr/bin/python3"  # The others may lie in a folder that only root can enter.
    if not Path(python).exists():
        pytest.skip(f"no {python}")
    monkeypatch.setenv("HOME", "/")
    monkeypatch.delenv("XDG_CACHE_HOME")
    session = sessions.open(as_nobody, python)
    assert session.call("size", "abc") == 3


# --- what else comes over the stream ----------------------------------------------------------


@pytest.mark.parametrize("name", SHELLS)
def test_shells_and_what_they_print_first(name: str, sessions: Sessions) -> None:
    before = "echo Welcome; echo rkernel-first-stage; printf 'no end of line'; "
    assert sessions.open(shell(before, name)).call("size", "abc") == 3


def test_python_in_a_folder_with_an_odd_name(sessions: Sessions, tmp_path: Path) -> None:
    folder = tmp_path / "it's a $HOME folder"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    assert sessions.open(shell(""), str(folder / "python3")).call("size", "abc") == 3


def test_echo_of_what_we_send() -> None:
    with pytest.raises(errors.BoardSilent):  # Our own line is not taken for an answer.
        bootstrap.open_session(instead("cat"), "python3", 0.5)


def test_stray_output_stays_out_of_the_stream(sessions: Sessions) -> None:
    session = sessions.open()
    session.execute("print('x' * 1_000_000); os.write(1, b'y' * 1_000_000)")
    session.execute("import subprocess; subprocess.check_call(['echo', 'z'])")
    with pytest.raises(errors.BoardError, match="EOFError"):
        session.execute("input()")
    assert session.call("size", "abc") == 3


def test_shell_that_prints_without_end() -> None:
    endless = "while :; do echo yes yes yes yes yes yes yes yes yes yes yes; done"
    with pytest.raises(errors.FirstStageFailed, match="prints without end"):
        bootstrap.open_session(instead(endless), "python3", TIMEOUT)


# --- no first stage ---------------------------------------------------------------------------


def test_no_python(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for python in ("no-such-python", "/no/such/python3", str(tmp_path), str(tmp_path / "text")):
        with pytest.raises(errors.NoPython, match="--python"):
            bootstrap.open_session(shell(""), python, TIMEOUT)


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
def test_other_endings(line: str, said: str) -> None:
    with pytest.raises(errors.FirstStageFailed, match=said):
        bootstrap.open_session(instead(line), "python3", TIMEOUT)


def test_board_that_never_answers() -> None:
    with pytest.raises(errors.BoardSilent):
        bootstrap.open_session(instead("exec cat >/dev/null"), "python3", 0.5)


def test_board_dies_in_a_call(sessions: Sessions) -> None:
    session = sessions.open()
    with pytest.raises(errors.BoardLost, match="status 9"):
        session.call("die")


def test_launcher_goes_away_in_mid_request(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", TIMEOUT)  # as if the program were on another machine
    session = sessions.open()
    session.timeout = 0.3
    with pytest.raises(errors.BoardSilent):  # Which closes its stdin.
        session.execute("import threading; threading.Event().wait()")
    assert sessions.streams[0].ending(TIMEOUT).status == 1


@pytest.mark.parametrize("sent", [b"", b"\0\0\1"], ids=["idle", "in mid request"])
def test_launcher_falls_silent(
    sent: bytes, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "PEER_TIMEOUT", 0.2)
    monkeypatch.setattr(bootstrap, "_stage", bootstrap._stage.__wrapped__)  # not what is cached
    bootstrap.open_session(sessions.kept(process.start), sys.executable, TIMEOUT)
    (stream,) = sessions.streams
    stream.write(sent, TIMEOUT)
    assert stream.ending(TIMEOUT).status == 1


def test_launcher_goes_away_in_mid_handshake(cache: Path) -> None:
    words = [sys.executable, "-S", "-c", bootstrap._ONE_LINE]
    stream = process.start(words, bootstrap._stage(), TIMEOUT)
    while b'"need": true' not in stream.read(CHUNK, TIMEOUT):
        pass
    stream.close()
    status, stderr = stream.ending(TIMEOUT)
    assert status == 1 and "the launcher went away" in stderr
    assert not cache.exists()
