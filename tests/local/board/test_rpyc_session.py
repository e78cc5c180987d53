"""Sessions with real SlaveServices, of every rpyc that boards carry, and failures to get one."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from rkernel_launcher import errors
from rkernel_launcher.board.rpyc import packets
from rkernel_launcher.board.rpyc.session import Session
from rkernel_launcher.transports import rpyc
from tests.support.pythons import rpyc_folder
from tests.support.rpyc_sessions import over_tcp

VERSIONS = ["4.1.5", "5.0.1", "5.3.1", "6.0.2"]

# As in the readme of MaixPy3's notebooks, on a port of its own, which it prints.
SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import rpyc
from rpyc.utils.server import ThreadedServer
from rpyc.core.service import SlaveService
assert rpyc.__file__.startswith(sys.argv[1]), rpyc.__file__
server = ThreadedServer(SlaveService, hostname="127.0.0.1", port=0, reuse_addr=True)
print(server.port, flush=True)
server.start()
"""

FUNCTIONS = """
import hashlib, json, os, threading
def digest(data): return json.dumps([len(data), hashlib.sha256(data).hexdigest()])
def echo(*values): return json.dumps([[type(value).__name__, value] for value in values])
def text(count): return json.dumps("ä" * count)
def noise(size): return json.dumps(os.urandom(size).hex())
def fail(text): raise ValueError(text)
def hang(): threading.Event().wait()
def die(): os._exit(3)
def fruit(): return ["not", "text"]
"""


@contextmanager
def served(version: str) -> Iterator[int]:
    """Run a SlaveService of that rpyc; give its port, once it listens."""
    python, folder = rpyc_folder(version)
    argv = [python, "-I", "-c", SERVER, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            wait_for_listener(port)
            yield port
        finally:
            process.kill()


def wait_for_listener(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nothing listened on port {port} within 20 s")


@pytest.fixture(scope="module", params=VERSIONS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with served(request.param) as port:
        yield port


@pytest.fixture
def session(port: int) -> Iterator[Session]:
    with closing(over_tcp("127.0.0.1", port, 20)) as session:
        session.execute(FUNCTIONS)
        yield session


def test_arguments_and_replies(session: Session) -> None:
    values = ["Grüße, 世界 🙂", "", 0, -(2**70), True, None, 1.5]
    assert session.call("echo", *values) == [[type(value).__name__, value] for value in values]


def test_large_bytes_both_ways(session: Session) -> None:
    data = hashlib.shake_128(b"seed").digest(3_000_000)
    assert session.call("digest", data) == [len(data), hashlib.sha256(data).hexdigest()]
    assert session.call("text", 3_000_000) == "ä" * 3_000_000


def test_namespace_lasts_and_functions_can_be_replaced(session: Session) -> None:
    session.execute("kept = 'once'\ndef ask(): return json.dumps(kept)")
    assert session.call("ask") == "once"
    session.execute("def ask(): return json.dumps(kept + ' more')")
    assert session.call("ask") == "once more"


def test_exception_is_told_and_the_session_lives_on(session: Session) -> None:
    with pytest.raises(errors.BoardError) as raised:
        session.call("fail", "Straße \x1b[31m\x9b\u202e gesperrt")
    trace = str(raised.value.facts["traceback"])
    assert "ValueError: Straße \\x1b[31m\\x9b\\u202e gesperrt" in str(raised.value)
    assert trace.startswith("Traceback") and "\n" in trace and ", in fail" in trace
    with pytest.raises(errors.BoardError, match="SyntaxError"):
        session.execute("this is no Python")
    with pytest.raises(errors.BoardError, match="NameError"):
        session.call("absent")
    assert session.call("echo", 1) == [["int", 1]]


def test_sessions_have_namespaces_of_their_own(session: Session, port: int) -> None:
    with closing(over_tcp("127.0.0.1", port, 20)) as other, pytest.raises(errors.BoardError):
        other.call("echo")
    assert session.call("echo") == []


def test_call_that_hangs(session: Session) -> None:
    session.timeout = 0.3
    began = time.monotonic()
    with pytest.raises(errors.BoardSilent):
        session.call("hang")
    assert 0.3 <= time.monotonic() - began < 5
    with pytest.raises(errors.BoardLost):  # A late answer could be taken for another's.
        session.execute("")


def test_only_text_is_taken(session: Session) -> None:
    with pytest.raises(errors.BoardMisbehaved):
        session.call("fruit")


@pytest.mark.parametrize("version", VERSIONS)
def test_board_dies_in_a_call(version: str) -> None:
    with served(version) as port, closing(over_tcp("127.0.0.1", port, 20)) as session:
        session.execute(FUNCTIONS)
        with pytest.raises(errors.BoardLost):
            session.call("die")


@pytest.mark.parametrize(("name", "size"), [("noise", 1 << 20), ("text", 3 << 20)])
def test_reply_larger_than_the_limit(
    session: Session, name: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets, "MAX_BYTES", 1 << 20)  # The real one takes long to fill.
    with pytest.raises(errors.BoardMisbehaved, match="bytes"):
        session.call(name, size)


# --- no session -------------------------------------------------------------------------------


def test_unknown_host() -> None:
    with pytest.raises(errors.UnknownHost):
        over_tcp("no-such-board.invalid", 18812, 5)
    with pytest.raises(errors.UnknownHost):
        over_tcp("a..b", 18812, 5)


def test_refused_port() -> None:
    with closing(socket.socket()) as bound:  # Bound, so that nobody else can listen there.
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(errors.PortRefused, match="refused"):
            over_tcp("127.0.0.1", bound.getsockname()[1], 5)


@pytest.mark.skipif(sys.platform != "linux", reason="how a full backlog shows differs by system")
def test_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpyc, "CONNECT_SECONDS", 0.5)
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full,
        closing(socket.create_connection(full.getsockname())),
        pytest.raises(errors.ConnectTimeout),
    ):
        over_tcp("127.0.0.1", full.getsockname()[1], 0.5)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen, and do that with every connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive(), "the listener did not end within 10 s"


def wait_for_close(connection: socket.socket) -> None:
    with suppress(ConnectionError):  # A reset is a close too.
        while connection.recv(1 << 16):
            pass


def greet(greeting: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(greeting)
        wait_for_close(connection)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(greet(b"SSH-2.0-dropbear_2022.83\r\n"), id="ssh"),
        pytest.param(greet(b"\0" * 100), id="zeros"),
        pytest.param(greet(b"\0\0\0\x05\0hello\n"), id="framed garbage"),
        pytest.param(lambda connection: None, id="closes"),
    ],
)
def test_port_of_another_service(answer: Callable[[socket.socket], None]) -> None:
    with answering(answer) as port, pytest.raises(errors.NotRpyc, match="not as an rpyc service"):
        over_tcp("127.0.0.1", port, 5)


def test_port_that_says_nothing() -> None:
    began = time.monotonic()
    with answering(wait_for_close) as port, pytest.raises(errors.NotRpyc, match="says nothing"):
        over_tcp("127.0.0.1", port, 0.5)
    assert time.monotonic() - began < 5


def test_port_of_a_web_server() -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(errors.NotRpyc):
                over_tcp("127.0.0.1", server.server_port, 5)
        finally:
            server.shutdown()
            thread.join()


def test_facts_name_the_host_and_the_port() -> None:
    with answering(lambda connection: None) as port, pytest.raises(errors.NotRpyc) as raised:
        over_tcp("127.0.0.1", port, 5)
    assert f"127.0.0.1 answers on port {port}" in str(raised.value)
    assert json.dumps(str(raised.value)).isascii()
