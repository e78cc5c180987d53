"""The driver's tests again, over TCP, where a connection that breaks takes with it what it held."""

from __future__ import annotations

import socket

import pytest

from tests.unit.link.test_driver import (  # noqa: F401
    Connect,
    lone,
    loop,
    pair,
    test_a_connection_that_breaks_is_told_once,
    test_a_connection_that_breaks_while_sending_is_told_once,
    test_a_local_connection_that_breaks_ends_its_stream_only,
    test_a_peer_that_breaks_the_protocol_is_left,
    test_a_peer_that_closes_is_told_once,
    test_a_peer_that_sends_but_does_not_read_is_not_listened_to_for_ever,
    test_a_reader_that_stops_holds_up_its_own_stream_only,
    test_a_stream_that_is_refused_closes_its_connection_only,
    test_all_arrives_once_and_in_order_over_many_connections,
    test_half_a_connection_may_end_while_the_other_goes_on,
    test_many_streams_echo_at_once,
    test_messages_come_in_order,
    test_the_last_bytes_come_before_the_end_even_to_a_slow_reader,
    test_what_came_before_the_end_is_still_told,
)


@pytest.fixture
def connect() -> Connect:
    return _tcp_pair


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    return one, other
