"""The bad network itself: each thing that it can do to a connection, seen from the client."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.network import Network

LIMIT = 5.0  # seconds for what takes a moment
SILENCE = 0.2  # seconds in which something would have come


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = b""
        self.resets = threading.Semaphore(0)
        self.ends = threading.Semaphore(0)
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(LIMIT)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._sockets.append(sock)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            while data := sock.recv(1 << 16):
                self.received += data
                sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            self.ends.release()
        except OSError:
            self.resets.release()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def network(echo: Echo) -> Iterator[Network]:
    with Network("127.0.0.1", echo.port) as found:
        yield found


@contextlib.contextmanager
def connected(network: Network) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", network.port), LIMIT) as sock:
        yield sock


def answer(sock: socket.socket, said: bytes) -> bytes:
    sock.sendall(said)
    return read(sock, len(said))


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"it ended after {data!r}"
        data += piece
    return data


def is_silent(sock: socket.socket) -> bool:
    sock.settimeout(SILENCE)
    try:
        return not sock.recv(1) and pytest.fail("it was closed")
    except TimeoutError:
        return True
    finally:
        sock.settimeout(LIMIT)


def assert_reset(sock: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


def assert_refused(network: Network) -> None:
    with pytest.raises(ConnectionRefusedError), connected(network):
        pass


def until(network: Network, count: int) -> None:
    deadline = time.monotonic() + LIMIT
    while network.connections != count:
        assert time.monotonic() < deadline, f"there are {network.connections} connections"
        time.sleep(0.01)


def test_it_carries_all_bytes_in_order_and_the_end(network: Network, echo: Echo) -> None:
    said = bytes(range(256)) * 8192
    with connected(network) as sock:
        sender = threading.Thread(target=sock.sendall, args=(said,))
        sender.start()
        assert read(sock, len(said)) == said
        sender.join(LIMIT)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert echo.ends.acquire(timeout=LIMIT)
    until(network, 0)
    assert network.sent == len(said)


def test_a_server_that_is_not_there_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        Network("127.0.0.1", port) as network,
        pytest.raises(ConnectionResetError),  # of connect, if the reset is that quick
        connected(network) as sock,
    ):
        sock.recv(1)


def test_a_reset_hits_both_ends_and_refuses_until_it_is_over(network: Network, echo: Echo) -> None:
    with connected(network) as one, connected(network) as other:
        assert answer(one, b"1") == b"1"
        assert answer(other, b"2") == b"2"
        network.reset()
        assert_reset(one)
        assert_reset(other)
    assert echo.resets.acquire(timeout=LIMIT)
    assert echo.resets.acquire(timeout=LIMIT)
    assert_refused(network)
    assert_refused(network)
    network.restore()
    with connected(network) as sock:
        assert answer(sock, b"3") == b"3"


def test_the_port_stays_taken_while_it_refuses(network: Network) -> None:
    network.reset()
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", network.port))


def test_a_blip_resets_once(network: Network) -> None:
    with connected(network) as sock:
        assert answer(sock, b"1") == b"1"
        network.blip()
        assert_reset(sock)
    with connected(network) as sock:
        assert answer(sock, b"2") == b"2"


def test_what_a_hole_holds_flows_on(network: Network, echo: Echo) -> None:
    with connected(network) as sock:
        assert answer(sock, b"1") == b"1"
        network.hole()
        sock.sendall(b"held")
        assert is_silent(sock)
        assert echo.received == b"1"
        network.restore()
        assert read(sock, 4) == b"held"


def test_a_hole_does_not_answer_new_connections(network: Network) -> None:
    network.hole()
    with connected(network) as sock:
        sock.sendall(b"new")
        assert is_silent(sock)
        assert network.connections == 0
        network.restore()
        assert read(sock, 3) == b"new"


def test_a_hole_of_one_way_holds_what_clients_send(network: Network, echo: Echo) -> None:
    with connected(network) as sock:
        assert answer(sock, b"1") == b"1"
        network.hole(down=False)
        sock.sendall(b"held")
        assert is_silent(sock)
        assert echo.received == b"1"
        network.restore()
        assert read(sock, 4) == b"held"


def test_a_hole_of_one_way_lets_clients_be_heard(network: Network, echo: Echo) -> None:
    with connected(network) as sock:
        assert answer(sock, b"1") == b"1"
        network.hole(up=False)
        sock.sendall(b"heard")
        assert is_silent(sock)
        assert echo.received == b"1heard"
        network.restore()
        assert read(sock, 5) == b"heard"


def test_a_lost_connection_is_silent_to_its_client_and_reset_for_its_server(
    network: Network, echo: Echo
) -> None:
    with connected(network) as sock:
        assert answer(sock, b"1") == b"1"
        network.hole()
        sock.sendall(b"lost")
        network.restore(lost=True)
        assert echo.resets.acquire(timeout=LIMIT)
        sock.sendall(b"more")
        assert is_silent(sock)
        with connected(network) as new:
            assert answer(new, b"2") == b"2"
    assert echo.received == b"12"


def test_a_lost_connection_can_be_silent_to_its_server_too(network: Network, echo: Echo) -> None:
    with connected(network) as sock:
        assert answer(sock, b"1") == b"1"
        network.hole()
        network.restore(lost=True, told=False)
        sock.sendall(b"lost")
        assert is_silent(sock)
    assert not echo.resets.acquire(timeout=SILENCE)
    assert not echo.ends.acquire(timeout=0)


def test_a_slow_network_takes_its_time(network: Network) -> None:
    said = bytes(20_000)
    with connected(network) as sock:
        network.slow(bytes_per_second=40_000, delay_seconds=0.1)
        start = time.monotonic()
        sock.sendall(said)
        first = sock.recv(1)
        assert time.monotonic() - start >= 0.2
        assert first + read(sock, len(said) - 1) == said
        assert 0.7 <= time.monotonic() - start < 0.7 + LIMIT


def test_what_is_on_a_slow_line_comes_at_once_when_it_is_restored(network: Network) -> None:
    with connected(network) as sock:
        network.slow(bytes_per_second=1e6, delay_seconds=60.0)
        sock.sendall(b"late")
        assert is_silent(sock)
        network.restore()
        assert read(sock, 4) == b"late"


@pytest.mark.parametrize("mode", ["hole", "slow", "backpressure"])
def test_it_does_not_wait_busily(network: Network, mode: str) -> None:
    with connected(network) as sock:
        if mode == "backpressure":  # nobody reads the answers
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.send(bytes(1 << 16))
        elif mode == "hole":
            network.hole()
            sock.sendall(b"held")
        else:
            network.slow(1000, 60.0)
            sock.sendall(b"late")
        time.sleep(SILENCE)  # for what is under way
        usage = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(2 * SILENCE)
        later = resource.getrusage(resource.RUSAGE_SELF)
    assert later.ru_utime + later.ru_stime - usage.ru_utime - usage.ru_stime < SILENCE


def test_the_end_closes_all_connections(echo: Echo) -> None:
    with Network("127.0.0.1", echo.port) as network, connected(network) as sock:
        assert answer(sock, b"1") == b"1"
        network.close()
        assert_reset(sock)
        assert_refused(network)
    assert echo.resets.acquire(timeout=LIMIT)
