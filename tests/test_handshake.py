"""The proof that both ends hold the same token, in parts of any size, and against strangers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from board_agent.handshake import (
    HELLO,
    MAGIC,
    NONCE,
    PROOF,
    VERSION,
    Handshake,
    HandshakeError,
    NotOurs,
    OtherVersion,
    WrongToken,
)

TOKEN = b"t" * 32


@dataclass
class Pair:
    """A launcher and an agent, and what each has sent."""

    launcher: Handshake = field(default_factory=lambda: Handshake(TOKEN, launcher=True))
    agent: Handshake = field(default_factory=lambda: Handshake(TOKEN, launcher=False))

    def shake(self, size: int = 1 << 20) -> list[bytes]:
        """Pass what each sends, in parts of `size` bytes, until both are silent."""
        said = [b"", b""]
        ends = (self.launcher, self.agent)
        while True:
            out = [end.take() for end in ends]
            if not any(out):
                return said
            for side, data in enumerate(out):
                said[side] += data
                for start in range(0, len(data), size):
                    ends[1 - side].receive(data[start : start + size])


@given(size=st.integers(1, HELLO + PROOF))
@example(size=1)
def test_ends_with_one_token_agree(size: int) -> None:
    pair = Pair()
    launcher_said, agent_said = pair.shake(size)
    assert pair.launcher.done and pair.agent.done
    assert len(launcher_said) == len(agent_said) == HELLO + PROOF
    assert pair.launcher.rest() == pair.agent.rest() == b""
    assert TOKEN not in launcher_said + agent_said


def test_the_agent_speaks_second_and_proves_itself_last() -> None:
    pair = Pair()
    assert pair.agent.take() == b""
    hello = pair.launcher.take()
    pair.agent.receive(hello[:-1])
    assert pair.agent.take() == b""
    pair.agent.receive(hello[-1:])
    answer = pair.agent.take()
    assert len(answer) == HELLO and not pair.agent.done
    pair.launcher.receive(answer)
    pair.agent.receive(pair.launcher.take())
    assert pair.agent.done and not pair.launcher.done
    proof = pair.agent.take()
    assert len(proof) == PROOF
    pair.launcher.receive(proof)
    assert pair.launcher.done


def test_hello_is_as_documented() -> None:
    hello = Handshake(TOKEN, launcher=True).take()
    assert hello[: len(MAGIC) + 1] == b"rkernel" + bytes([VERSION])
    assert len(hello) == HELLO == len(MAGIC) + 1 + NONCE
    assert hello != Handshake(TOKEN, launcher=True).take(), "a nonce is used once"


def test_what_comes_behind_the_proof_belongs_to_the_link() -> None:
    pair = Pair()
    pair.agent.receive(pair.launcher.take())
    pair.launcher.receive(pair.agent.take())
    pair.agent.receive(pair.launcher.take() + b"frames")
    assert pair.agent.done and pair.agent.rest() == b"frames"
    pair.launcher.receive(pair.agent.take() + b"more")
    assert pair.launcher.done and pair.launcher.rest() == b"more"


def test_a_launcher_with_another_token_learns_nothing() -> None:
    pair = Pair(launcher=Handshake(b"x" * 32, launcher=True))
    with pytest.raises(WrongToken):
        pair.shake()
    assert pair.agent.take() == b"" and not pair.agent.done


def test_an_agent_with_another_token_is_found_out() -> None:
    """One that cannot check the launcher's proof, and so goes on without."""
    launcher = Handshake(TOKEN, launcher=True)
    launcher.take()
    launcher.receive(Handshake(b"x" * 32, launcher=True).take())  # any hello
    with pytest.raises(WrongToken):
        launcher.receive(bytes(PROOF))
    assert not launcher.done


def test_a_launcher_does_not_take_its_own_words_for_an_agent() -> None:
    """An echo service has the same nonces and, without a role in it, would have the same proof."""
    launcher = Handshake(TOKEN, launcher=True)
    launcher.receive(launcher.take())
    with pytest.raises(WrongToken):
        launcher.receive(launcher.take())


def test_a_proof_is_good_for_one_connection_only() -> None:
    pair = Pair()
    recorded, _ = pair.shake()
    again = Handshake(TOKEN, launcher=False)
    with pytest.raises(WrongToken):
        again.receive(recorded)


@pytest.mark.parametrize("launcher", [True, False])
@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/1.1\r\n", b"rkernex", b"\0"]
)
def test_a_stranger_is_known_by_its_first_wrong_byte(data: bytes, launcher: bool) -> None:
    shake = Handshake(TOKEN, launcher)
    shake.take()
    with pytest.raises(NotOurs):
        shake.receive(data)
    assert shake.take() == b""


def test_a_peer_that_has_said_too_little_is_waited_for() -> None:
    agent = Handshake(TOKEN, launcher=False)
    for byte in MAGIC:
        agent.receive(bytes([byte]))
    assert not agent.done and agent.take() == b""


@pytest.mark.parametrize("version", [0, VERSION + 1, 255])
def test_another_version_is_told_apart_and_told_ours(version: int) -> None:
    hello = MAGIC + bytes([version])  # the rest of a hello may be anything in another version
    agent = Handshake(TOKEN, launcher=False)
    with pytest.raises(OtherVersion) as caught:
        agent.receive(hello)
    assert caught.value.version == version
    answer = agent.take()
    assert answer[: len(MAGIC) + 1] == MAGIC + bytes([VERSION])
    launcher = Handshake(TOKEN, launcher=True)
    launcher.take()
    with pytest.raises(OtherVersion) as caught:
        launcher.receive(hello)
    assert caught.value.version == version
    assert launcher.take() == b""


@given(parts=st.lists(st.binary(max_size=60), max_size=8), launcher=st.booleans())
def test_any_bytes_are_refused_or_waited_for(parts: list[bytes], launcher: bool) -> None:
    shake = Handshake(TOKEN, launcher)
    try:
        for part in parts:
            shake.receive(part)
    except HandshakeError:
        pass
    assert not shake.done


@given(position=st.integers(0, HELLO + PROOF - 1), flip=st.integers(1, 255), side=st.integers(0, 1))
def test_any_byte_that_was_changed_on_the_way_is_noticed(
    position: int, flip: int, side: int
) -> None:
    pair = Pair()
    ends = (pair.launcher, pair.agent)
    said = [0, 0]
    with pytest.raises(HandshakeError):
        for sender in itertools.cycle([0, 1]):
            data = bytearray(ends[sender].take())
            if sender == side and said[side] <= position < said[side] + len(data):
                data[position - said[side]] ^= flip
            said[sender] += len(data)
            ends[1 - sender].receive(bytes(data))
            assert said[sender] <= HELLO + PROOF, "the change went unnoticed"
            if not data:
                assert not (pair.launcher.done and pair.agent.done)
                break
