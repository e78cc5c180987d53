"""The proof that both ends hold the same token, in parts of any size, and against strangers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from board_agent.link.handshake import (
    HELLO,
    MAGIC,
    NEW,
    NO_MEMORY,
    NONCE,
    PROOF,
    RESUME_REPLY,
    RESUME_REQUEST,
    RESUMED,
    SESSION,
    VERSION,
    AgentHandshake,
    HandshakeError,
    LauncherHandshake,
    NotOurs,
    OtherVersion,
    WrongToken,
)

TOKEN = b"t" * 32
NUMBER = bytes(range(SESSION))  # of a session


def launching(token: bytes = TOKEN, received: int = 7) -> LauncherHandshake:
    return LauncherHandshake(token, NUMBER, received)


@dataclass
class Pair:
    """A launcher and an agent, and what each has sent."""

    launcher: LauncherHandshake = field(default_factory=launching)
    agent: AgentHandshake = field(default_factory=lambda: AgentHandshake(TOKEN))
    answer: tuple[int, int] = (RESUMED, 9)
    accepted: bool = False

    @property
    def done(self) -> bool:
        return self.agent.request is not None and self.launcher.reply is not None

    def shake(self, size: int = 1 << 20) -> list[bytes]:
        """Pass what each sends, in parts of `size` bytes, until both are silent."""
        said = [b"", b""]
        while any(out := [self.launcher.data_to_send(), self.agent.data_to_send()]):
            for side, data in enumerate(out):
                said[side] += data
                for start in range(0, len(data), size):
                    self.pass_on(side, data[start : start + size])
        return said

    def pass_on(self, sender: int, data: bytes) -> None:
        """Give the other end what one says; the agent accepts a claim at once."""
        (self.agent if sender == 0 else self.launcher).receive_data(data)
        if self.agent.request is not None and not self.accepted:
            self.accepted = True
            self.agent.accept(*self.answer)


NUMBERS = st.integers(0, 2**64 - 1)


@given(
    size=st.integers(1, HELLO + RESUME_REQUEST.size + PROOF),
    session=st.binary(min_size=SESSION, max_size=SESSION),
    received=NUMBERS,
    answer=st.tuples(st.integers(NEW, NO_MEMORY), NUMBERS),
)
@example(size=1, session=NUMBER, received=0, answer=(NEW, 0))
def test_ends_with_one_token_agree(
    size: int, session: bytes, received: int, answer: tuple[int, int]
) -> None:
    pair = Pair(LauncherHandshake(TOKEN, session, received), answer=answer)
    launcher_said, agent_said = pair.shake(size)
    assert pair.agent.request == (session, received)
    assert pair.launcher.reply == answer
    assert len(launcher_said) == HELLO + RESUME_REQUEST.size + PROOF
    assert len(agent_said) == HELLO + RESUME_REPLY.size + PROOF
    assert pair.launcher.trailing_data() == pair.agent.trailing_data() == b""
    assert TOKEN not in launcher_said + agent_said


def test_the_agent_speaks_second_and_proves_itself_last() -> None:
    pair = Pair()
    assert pair.agent.data_to_send() == b""
    hello = pair.launcher.data_to_send()
    pair.agent.receive_data(hello[:-1])
    assert pair.agent.data_to_send() == b""
    pair.agent.receive_data(hello[-1:])
    answer = pair.agent.data_to_send()
    assert len(answer) == HELLO
    pair.launcher.receive_data(answer)
    claim = pair.launcher.data_to_send()
    pair.agent.receive_data(claim[:-1])
    assert pair.agent.request is None, "nothing is believed before its proof is whole"
    pair.agent.receive_data(claim[-1:])
    assert pair.agent.request is not None and pair.agent.data_to_send() == b""
    pair.agent.accept(RESUMED, 9)
    proof = pair.agent.data_to_send()
    assert len(proof) == RESUME_REPLY.size + PROOF
    pair.launcher.receive_data(proof[:-1])
    assert pair.launcher.reply is None
    pair.launcher.receive_data(proof[-1:])
    assert pair.launcher.reply == (RESUMED, 9)


def test_hello_is_as_documented() -> None:
    hello = launching().data_to_send()
    assert hello[: len(MAGIC) + 1] == b"rkernel" + bytes([VERSION])
    assert len(hello) == HELLO == len(MAGIC) + 1 + NONCE
    assert hello != launching().data_to_send(), "a nonce is used once"


def test_what_comes_behind_the_proof_belongs_to_the_link() -> None:
    pair = Pair()
    pair.pass_on(0, pair.launcher.data_to_send())
    pair.pass_on(1, pair.agent.data_to_send())
    pair.pass_on(0, pair.launcher.data_to_send() + b"frames")
    assert pair.agent.request is not None and pair.agent.trailing_data() == b"frames"
    pair.pass_on(1, pair.agent.data_to_send() + b"more")
    assert pair.launcher.reply is not None and pair.launcher.trailing_data() == b"more"


def test_a_launcher_with_another_token_learns_nothing() -> None:
    pair = Pair(launcher=launching(b"x" * 32))
    with pytest.raises(WrongToken):
        pair.shake()
    assert pair.agent.data_to_send() == b"" and pair.agent.request is None


def test_an_agent_with_another_token_is_found_out() -> None:
    """One that cannot check the launcher's proof, and so goes on without."""
    launcher = launching()
    launcher.data_to_send()
    launcher.receive_data(launching(b"x" * 32).data_to_send())  # any hello
    with pytest.raises(WrongToken):
        launcher.receive_data(bytes(RESUME_REPLY.size + PROOF))
    assert launcher.reply is None


def test_a_launcher_does_not_take_its_own_words_for_an_agent() -> None:
    """An echo service has the same nonces and, without a role in it, would have the same proof."""
    launcher = launching()
    launcher.receive_data(launcher.data_to_send())
    with pytest.raises(WrongToken):
        launcher.receive_data(launcher.data_to_send())


def test_a_proof_is_good_for_one_connection_only() -> None:
    pair = Pair()
    recorded, answers = pair.shake()
    with pytest.raises(WrongToken):
        AgentHandshake(TOKEN).receive_data(recorded)
    launcher = launching()
    launcher.data_to_send()
    with pytest.raises(WrongToken):
        launcher.receive_data(answers)


def test_an_answer_is_good_for_its_claim_only() -> None:
    """The agent's proof covers what was claimed, not just the nonces."""
    pair = Pair()
    pair.pass_on(0, pair.launcher.data_to_send())
    pair.pass_on(1, pair.agent.data_to_send())
    pair.pass_on(0, pair.launcher.data_to_send())
    pair.launcher._request = RESUME_REQUEST.pack(NUMBER, 8)  # as if it had claimed something else
    with pytest.raises(WrongToken):
        pair.pass_on(1, pair.agent.data_to_send())


def end(launcher: bool) -> LauncherHandshake | AgentHandshake:
    """Give either end, its first words said."""
    shake = launching() if launcher else AgentHandshake(TOKEN)
    shake.data_to_send()
    return shake


def is_done(shake: LauncherHandshake | AgentHandshake) -> bool:
    return (shake.reply if isinstance(shake, LauncherHandshake) else shake.request) is not None


@pytest.mark.parametrize("launcher", [True, False])
@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/1.1\r\n", b"rkernex", b"\0"]
)
def test_a_stranger_is_known_by_its_first_wrong_byte(data: bytes, launcher: bool) -> None:
    shake = end(launcher)
    with pytest.raises(NotOurs):
        shake.receive_data(data)
    assert shake.data_to_send() == b""


def test_a_peer_that_has_said_too_little_is_waited_for() -> None:
    agent = AgentHandshake(TOKEN)
    for byte in MAGIC:
        agent.receive_data(bytes([byte]))
    assert agent.request is None and agent.data_to_send() == b""


@pytest.mark.parametrize("version", [0, VERSION - 1, VERSION + 1, 255])
def test_another_version_is_told_apart_and_told_ours(version: int) -> None:
    hello = MAGIC + bytes([version])  # the rest of a hello may be anything in another version
    agent = AgentHandshake(TOKEN)
    with pytest.raises(OtherVersion) as caught:
        agent.receive_data(hello)
    assert caught.value.version == version
    answer = agent.data_to_send()
    assert answer[: len(MAGIC) + 1] == MAGIC + bytes([VERSION])
    launcher = end(launcher=True)
    with pytest.raises(OtherVersion) as caught:
        launcher.receive_data(hello)
    assert caught.value.version == version
    assert launcher.data_to_send() == b""


@given(parts=st.lists(st.binary(max_size=60), max_size=8), launcher=st.booleans())
def test_any_bytes_are_refused_or_waited_for(parts: list[bytes], launcher: bool) -> None:
    shake = end(launcher)
    try:
        for part in parts:
            shake.receive_data(part)
    except HandshakeError:
        pass
    assert not is_done(shake)


LONGEST = HELLO + RESUME_REQUEST.size + PROOF


@given(position=st.integers(0, LONGEST - 1), flip=st.integers(1, 255), side=st.integers(0, 1))
def test_any_byte_that_was_changed_on_the_way_is_noticed(
    position: int, flip: int, side: int
) -> None:
    pair = Pair()
    said = [0, 0]
    position %= (LONGEST, HELLO + RESUME_REPLY.size + PROOF)[side]
    with pytest.raises(HandshakeError):
        for sender in itertools.cycle([0, 1]):
            data = bytearray((pair.launcher, pair.agent)[sender].data_to_send())
            if sender == side and said[side] <= position < said[side] + len(data):
                data[position - said[side]] ^= flip
            said[sender] += len(data)
            pair.pass_on(sender, bytes(data))
            assert not pair.done, "the change went unnoticed"
            assert data, "no end says more, and none has noticed"
