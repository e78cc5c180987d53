"""What a port says first: real banners, every beginning of them, and bytes that are hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rkernel_launcher.board.rpyc.packets import HEADER, Dialect, Packet, encode
from rkernel_launcher.discovery.greetings import (
    MAX_BYTES,
    RPYC_QUESTION,
    is_rpyc,
    ssh_software,
    system_of,
)

BANNERS = {
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n": "Debian",
    b"SSH-2.0-OpenSSH_8.4p1 Raspbian-5+b1\r\n": "Raspbian",
    b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3ubuntu13\r\n": "Ubuntu",
    b"SSH-2.0-OpenSSH_9.9\n": "OpenSSH",
    b"SSH-2.0-dropbear_2022.83\r\n": "dropbear",
    b"SSH-2.0-dropbear\r\n": "dropbear",
    b"SSH-1.99-Cisco-1.25\n": "Cisco-1.25",
    b"Welcome\r\nto SSH-2.0 of mine\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2\r\nmore": "Debian",
}
HOSTILE = (
    b"SSH-2.0-\x1b[31mred\r\n",
    b"SSH-2.0-OpenSSH_9 \x07\r\n",
    b"SSH-2.0-\xff\xfe\r\n",
    b"SSH-2.0-" + b"x" * 300 + b"\r\n",
    b"SSH-2.0-\r\n",
    b"SSH-3.0-OpenSSH\r\n",
    b"HTTP/1.1 400 Bad Request\r\nX: SSH-2.0-y\r\n",
    b"x" * MAX_BYTES + b"\nSSH-2.0-OpenSSH_9.2\r\n",
)
ANSWERS = [encode(Packet(dialect, kind, 1, None)) for dialect in Dialect for kind in (1, 2, 3)]


@pytest.mark.parametrize(("said", "system"), BANNERS.items())
def test_a_banner_tells_the_system(said: bytes, system: str) -> None:
    software = ssh_software(said)
    assert software is not None and system_of(software) == system


@pytest.mark.parametrize("said", BANNERS)
def test_a_part_of_a_banner_tells_nothing_yet(said: bytes) -> None:
    end = said.rindex(b"\n") + 1
    assert [ssh_software(said[:size]) for size in range(end)] == [None] * end


@pytest.mark.parametrize("said", HOSTILE)
def test_no_banner(said: bytes) -> None:
    assert ssh_software(said) is None


@given(st.binary() | st.binary().map(lambda data: b"SSH-2.0-" + data + b"\r\n"))
def test_what_comes_of_a_banner_is_safe_to_show(said: bytes) -> None:
    software = ssh_software(said)
    if software is not None:
        assert software.isascii() and software.isprintable()
        assert len(software) <= 255 and system_of(software) in software


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_of_rpyc(answer: bytes) -> None:
    assert [is_rpyc(answer[:size]) for size in range(len(answer))] == [None] * len(answer)
    assert is_rpyc(answer) is True
    assert is_rpyc(answer + b"more") is True


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0\0\0\0\0",
        b"\xff\xff\xff\xff\0more",
        HEADER.pack(8, 1) + b"compressed",
        HEADER.pack(4, 0) + b"\x01abc\n",
        HEADER.pack(MAX_BYTES, 0),
    ],
)
def test_no_answer_of_rpyc(said: bytes) -> None:
    assert is_rpyc(said) is False


@given(st.binary() | st.binary().map(lambda data: HEADER.pack(len(data), 0) + data + b"\n"))
def test_any_bytes_have_an_answer(said: bytes) -> None:
    assert is_rpyc(said) in (None, True, False)


def test_the_question_is_a_packet_of_the_old_dialect() -> None:
    assert is_rpyc(RPYC_QUESTION) is True
    assert RPYC_QUESTION[HEADER.size :].startswith(b"\x12")
