"""Feed what takes bytes from strangers, or from a peer gone mad, with any bytes.

    python -m tests.fuzz.harnesses NAME --seconds 60

needs atheris, is led by what the bytes reach, and puts what reached something new into
tests/fuzz/corpus/NAME; without a name, the harnesses are listed. test_fuzz.py replays those files.
A harness takes bytes and returns nothing; whatever it raises is a bug.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from board_agent.agent.iopub_recorder import (
    LONGEST_TOPIC,
    IopubRecorder,
    first_message,
    opening_length,
)
from board_agent.display.frame_scheduler import Shown, head
from board_agent.display.images import Picture
from board_agent.link import compression, handshake
from board_agent.link.events import Data, Event
from board_agent.link.frames import HEADER, MAX_PAYLOAD, OPEN, PACKED, ProtocolError
from board_agent.link.link import WINDOW, Link
from board_agent.link.video_format import FIRST, HEAD, JPEG, PNG
from board_agent.link.video_format import LONGEST as LONGEST_PICTURE
from board_agent.zmtp import wire
from board_agent.zmtp.patterns import Pipe, Router, XPub
from rkernel_launcher.launcher.connection_file import Connection
from rkernel_launcher.launcher.jupyter_messages import CellPublisher
from rkernel_launcher.launcher.video.frames import BadVideo, Decoder, Frame
from rkernel_launcher.launcher.video.latest_frames import LatestFrames
from tests.support.boards import ROOT

CORPUS = Path(__file__).parent / "corpus"
MOST_FILES, LONGEST = 40, 4000  # of a harness's corpus
TOKEN = b"t" * 32
NONCE = bytes(range(handshake.NONCE))
SESSION = bytes(handshake.SESSION)


class Bytes:
    """What a harness draws its choices from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(1), "big")

    def parts(self) -> list[bytes]:
        """All that is left, in parts whose size it says itself."""
        size = self.number() + 1
        data = self.take(len(self._data))
        return [data[start : start + size] for start in range(0, len(data), size)]


# --- the link -------------------------------------------------------------------------------------


def two_ends() -> tuple[Link, Link]:
    """Two ends that have talked: streams of all kinds, some of them ending."""
    launcher, agent = Link(), Link(accepts_streams=True)
    for channel in ("iopub", "shell", "control"):
        number = launcher.open(channel)
        launcher.send(number, b"some data")
    agent.receive_data(launcher.data_to_send())
    for number in (1, 2, 3):
        agent.send(number, b"an answer" * 1000)
    agent.end(2)
    launcher.reset(3)
    launcher.message({"type": "interrupt"})
    agent.ping()
    return launcher, agent


def feed(link: Link, parts: list[bytes]) -> list[Event]:
    """Give a link bytes until it has enough of them; see what they cost."""
    before = link.queued_bytes + link.unacked_bytes
    told: list[Event] = []
    fed = 0
    for part in parts:
        fed += len(part)
        told += link.receive_data(part)
        assert link.queued_bytes + link.unacked_bytes <= before + fed + HEADER.size, (
            "an answer is no longer"
        )
        assert len(link._buffer) <= min(fed, HEADER.size + MAX_PAYLOAD + len(part))
        for stream in link._streams.values():
            assert 0 <= stream.granted <= WINDOW and stream.credit <= WINDOW
    return told


def use(link: Link, told: list[Event]) -> None:
    """Do what a user does who was told so; nothing may go wrong, whatever it was."""
    for event in told:
        if isinstance(event, Data):
            link.consumed(event.stream, len(event.data))
    for number in (1, 2, 3):
        if room := link.credit(number):
            link.send(number, bytes(room))
        link.end(number)
    link.message({})
    assert link.data_to_send(1 << 20)
    link.resume(link._acknowledged)
    assert (link.unacked_bytes > 0) == bool(link._unacked_frames)


def any_link(data: bytes, accepts: bool) -> None:
    drawn = Bytes(data)
    link = two_ends()[accepts]
    if drawn.number() % 2:
        link.data_to_send(1 << 20)
    try:
        use(link, feed(link, drawn.parts()))
    except ProtocolError:
        pass


def link_of_launcher(data: bytes) -> None:
    """The launcher's end, with a mad agent."""
    any_link(data, accepts=False)


def link_of_agent(data: bytes) -> None:
    """The agent's end, with a mad launcher."""
    any_link(data, accepts=True)


def right_frames(data: bytes) -> None:
    """Frames whose numbers are right, so that what is behind that check is reached."""
    drawn = Bytes(data)
    link = two_ends()[drawn.number() % 2]
    link.data_to_send(1 << 20)
    number = link.last_received
    told: list[Event] = []
    try:
        while data := drawn.take(3):
            kind, stream, length = data.ljust(3, b"\0")
            number += kind <= PACKED
            payload = drawn.take(length)
            given = number if kind <= PACKED else 0
            whole = HEADER.pack(len(payload), kind, stream, given, link._acknowledged)
            told += feed(link, [whole + payload])
        use(link, told)
    except ProtocolError:
        pass


def resume(data: bytes) -> None:
    """Two ends through cuts anywhere: each byte of the data is a step."""
    ends = (Link(), Link(accepts_streams=True))
    stream = ends[0].open("iopub")
    ends[1].receive_data(ends[0].data_to_send())
    wires = [bytearray(), bytearray()]
    sent, got = [0, 0], [b"", b""]

    def deliver(side: int, count: int) -> None:
        part = bytes(wires[side][:count])
        del wires[side][:count]
        for event in ends[1 - side].receive_data(part):
            if isinstance(event, Data):
                got[1 - side] += event.data
                ends[1 - side].consumed(event.stream, len(event.data))

    def join() -> None:
        received = ends[0].last_received, ends[1].last_received
        for side in (1, 0):
            wires[side].clear()
            ends[side].resume(received[1 - side])

    for step in data[:300]:
        side, what, size = step & 1, step >> 1 & 3, (step >> 3) * 8
        if what == 0 and ends[side].credit(stream):
            ends[side].send(stream, bytes([sent[side] % 251]) * (size + 1))
            sent[side] += 1
        elif what == 1:
            wires[side] += ends[side].data_to_send(size + 1)
        elif what == 2:
            deliver(side, size + 1)
        elif what == 3:
            deliver(side, size)
            join()
    join()
    while wires[0] or wires[1] or ends[0].queued_bytes or ends[1].queued_bytes or _replays(ends):
        for side, end in enumerate(ends):
            wires[side] += end.data_to_send()
            deliver(side, len(wires[side]))
    for side in (0, 1):
        steps = [byte for position, byte in enumerate(got[side]) if _begins(got[side], position)]
        assert steps == [count % 251 for count in range(sent[1 - side])], "once and in order"


def _replays(ends: tuple[Link, Link]) -> bool:
    return any(end._replay for end in ends)


def _begins(data: bytes, position: int) -> bool:
    return position == 0 or data[position] != data[position - 1]


def resume_claim(data: bytes) -> None:
    """A peer that says anything of what it has received."""
    drawn = Bytes(data)
    launcher, agent = two_ends()
    link = (launcher, agent)[drawn.number() % 2]
    link.data_to_send(drawn.number() + 1)
    known, sent = link._acknowledged, link._sent
    claim = int.from_bytes(drawn.take(1 + drawn.number() % 8), "big")
    try:
        link.resume(claim)
    except ProtocolError:
        assert not known <= claim <= sent
        return
    assert known <= claim <= sent
    frames = [number for number, *_ in link._replay]
    assert frames == list(range(claim + 1, sent + 1))
    try:
        feed(link, drawn.parts())
    except ProtocolError:
        pass


# --- the rest -------------------------------------------------------------------------------------


def shake(data: bytes, end: handshake.LauncherHandshake | handshake.AgentHandshake) -> None:
    """Give an end bytes; it may refuse, but believe nothing."""
    fed = 0
    try:
        for part in Bytes(data).parts():
            fed += len(part)
            end.receive_data(part)
            assert len(end.trailing_data()) <= fed
            assert len(end.data_to_send()) <= 200
    except handshake.HandshakeError:
        pass
    believed = end.reply if isinstance(end, handshake.LauncherHandshake) else end.request
    assert believed is None


def handshake_of_launcher(data: bytes) -> None:
    """The launcher's end, with an agent that has no token."""
    with mock.patch.object(handshake.os, "urandom", return_value=NONCE):
        shake(data, handshake.LauncherHandshake(TOKEN, SESSION, 3))


def handshake_of_agent(data: bytes) -> None:
    """The agent's end, with a launcher that has no token."""
    with mock.patch.object(handshake.os, "urandom", return_value=NONCE):
        shake(data, handshake.AgentHandshake(TOKEN))


def unpack(data: bytes) -> None:
    """Packed data that is damaged, or made to swell."""
    limit = 1 << 12
    try:
        assert len(compression.unpack(data, limit)) <= limit
    except ValueError:
        pass
    packed = compression.pack(data * 20)
    assert packed is None or compression.unpack(packed, len(data) * 20) == data * 20


def iopub(data: bytes) -> None:
    """What a kernel says, and what is made of it for another launcher."""
    length = opening_length(data)
    assert length is None or 66 <= length <= min(len(data), 66 + 255)
    start = first_message(data)
    assert 0 <= start <= len(data)
    if start < len(data):
        assert data[start] == 1 and b"<IDS|MSG>" in data[start : start + LONGEST_TOPIC + 13]
    recorder = IopubRecorder()
    drawn = Bytes(data)
    sent_count, spooled_count = drawn.number(), drawn.number()
    parts = drawn.parts()
    for part in parts:
        recorder.outgoing(part)
    assert len(recorder.opening) <= 66 + 255
    whole = b"".join(parts)
    assert whole.startswith(recorder.opening)
    sent, spooled = parts[:sent_count], parts[sent_count : sent_count + spooled_count]
    for part in spooled:
        recorder.spool.append(part)
    recorder.prepare_for_takeover(sent)
    told = b""
    while recorder.spool:
        told += recorder.spool.popleft(1000)
    given = b"".join(sent + spooled)
    assert told == given[first_message(given) :]
    heard = b"".join(recorder.incoming(part) for part in parts)
    length = opening_length(whole)
    assert heard == (b"" if length is None else whole[length:])


def pictures(data: bytes) -> None:
    """The pictures of a mad kernel, and what is made of them for notebooks and viewers."""
    drawn = Bytes(data)
    lengths_are_right = drawn.number() % 2
    parts = drawn.parts()
    if lengths_are_right:  # so that what is behind them is reached
        parts = [
            HEAD.pack(3, len(text), 0) + text + b"abc" for text in b"".join(parts).split(b"\0")
        ]
    frames, believed = decode(parts)
    assert decode([b"".join(parts)])[1] == believed, "however it is cut"
    latest = LatestFrames()
    for frame in frames:
        assert frame.mime in (JPEG, PNG) and math.isfinite(frame.delay)
        assert frame.data in b"".join(parts)
        latest.put(frame)
        told, is_plain = in_cell(frame).frame(frame), (frame.cell + frame.display).isascii()
        assert is_update(told, frame) if told else not is_plain
    assert {latest.wait(name).frame for name in latest.names()} <= set(frames)


def decode(parts: list[bytes]) -> tuple[list[Frame], bool]:
    """Return the frames up to the part that is not believed, and whether all were."""
    decoder, frames = Decoder(), list[Frame]()
    try:
        for part in parts:
            frames += decoder.receive_data(part)
            assert len(decoder._buffer) < HEAD.size + (1 << 16) + LONGEST_PICTURE
    except BadVideo:
        return frames, False
    return frames, True


def in_cell(frame: Frame) -> CellPublisher:
    """Return a publisher in the very cell that a picture says it is from, as far as that can be."""
    publisher = CellPublisher(Connection("tcp", "127.0.0.1", {}, "key", "hmac-sha256"))
    parent = {"msg_id": frame.cell, "msg_type": "execute_request"}
    status = [b"<IDS|MSG>", b"", b"{}", parent, b"{}", {"execution_state": "busy"}]
    as_bytes = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in status]
    publisher.observe([b"kernel.status", *as_bytes])
    publisher.observe([FIRST + frame.display.encode("ascii", "replace")])
    return publisher


def is_update(message: list[bytes], frame: Frame) -> bool:
    content = json.loads(message[-1])
    return content == {
        "data": {frame.mime: base64.b64encode(frame.data).decode()},
        "metadata": {},
        "transient": {"display_id": frame.display},
    }


def zmtp(data: bytes) -> None:
    """A peer of the kernel's, by the protocol of ZeroMQ, and what its socket makes of it."""
    drawn = Bytes(data)
    kind, pattern = ((b"ROUTER", Router()), (b"XPUB", XPub()))[drawn.number() % 2]
    here, limit = wire.Wire(kind, limit=1000), 1000
    pipe = Pipe(4, None)
    pipe.identity = b"peer"
    assert pattern.attach(pipe) == []
    if drawn.number() % 2:  # it is known already
        here.receive_data(zmtp_opening(b"DEALER" if kind == b"ROUTER" else b"SUB"))
    fed = 0
    try:
        for part in drawn.parts():
            fed += len(part)
            for frames in here.receive_data(part):
                assert here.peer is not None and frames
                assert sum(map(len, frames)) <= limit or kind == b"XPUB"
                pattern.deliver(pipe, frames)
            assert len(here._buffer) <= min(fed, wire.MAX_COMMAND + 9)
            assert len(here._frames) * wire.COST <= limit
            assert len(here.data_to_send()) <= len(wire.GREETING) + 300 + fed
    except wire.ProtocolError:
        pass
    while (received := pattern.receive()) is not None:
        frames, source = received
        assert source is pipe
        assert frames[0] == b"peer" if kind == b"ROUTER" else len(frames) == 1
    assert pattern.select_pipe([b"peer", b"answer"]) is not None
    pattern.detach(pipe)
    assert not pipe.topics and not pattern.pipes
    if kind == b"ROUTER":
        assert not pattern.readable and pattern.select_pipe([b"peer", b"answer"]) == ([], [])


def zmtp_opening(kind: bytes) -> bytes:
    """What a peer says first."""
    peer = wire.Wire(kind, b"peer")
    peer.receive_data(wire.GREETING)
    return peer.data_to_send()


def zmtp_frames(data: bytes) -> None:
    """Messages of all kinds, sent and received, cut anywhere."""
    drawn = Bytes(data)
    here = wire.Wire(b"ROUTER")
    here.receive_data(zmtp_opening(b"DEALER"))
    sent: list[list[bytes]] = []
    for count in drawn.take(8):
        frames = [drawn.take(n) * (n * n % 211 or 1) for n in drawn.take(1 + count % 5)]
        sent += [frames] if frames else []
    encoded = b"".join(b"".join(wire.encode(frames)) for frames in sent)
    size = drawn.number() + 1
    parts = [encoded[start : start + size] for start in range(0, len(encoded), size)]
    assert [frames for part in parts for frames in here.receive_data(part)] == sent


HARNESSES: dict[str, Callable[[bytes], None]] = {
    harness.__name__: harness
    for harness in (
        link_of_launcher,
        link_of_agent,
        right_frames,
        resume,
        resume_claim,
        handshake_of_launcher,
        handshake_of_agent,
        unpack,
        iopub,
        pictures,
        zmtp,
        zmtp_frames,
    )
}


def seeds(name: str) -> list[bytes]:
    """Right input, from which a harness's corpus grows."""
    launcher, agent = two_ends()
    if name.startswith("link"):
        return [b"\1\xff" + (agent if "launcher" in name else launcher).data_to_send(1 << 20)]
    if name.startswith("handshake"):
        return [b"\xff" + handshake.AgentHandshake(TOKEN)._hello + bytes(100)]
    if name == "right_frames":
        opened = bytes([OPEN, 9, 5]) + b"shell"
        return [b"\1" + opened + bytes([2, 9, 3]) + b"abc" + bytes([3, 9, 0, 0, 0, 2]) + b"{}"]
    if name == "resume":
        return [bytes([0, 1, 250, 2, 3, 252, 7, 6, 254, 255]) * 4]
    if name == "iopub":
        opening = b"\xff" + bytes(8) + b"\x7f\3" + bytes(53) + b"\4\5\5READY"[:7]
        text = b'\1\7kernel.\1\x09<IDS|MSG>\0\x1a{"execution_state":"busy"}'
        return [b"\2\7\x20" + opening + text * 3]
    if name == "pictures":
        shown = Shown("left", "cell", "display", Picture("L", 2, 1, b"ab"), 0.0)
        whole = head(shown, b"abc", 0.25) + b"abc"
        odd = b'{"stream":"\\ud800","cell":[1],"display":{},"mime":"image/png","width":1e9,'
        odd += b'"height":true}'
        return [b"\0\x40" + whole * 2, b"\1\xff" + whole[HEAD.size : -3] + b"\0" + odd]
    if name == "zmtp":
        ping = b"\4\7\4PING\0\0\4\x0b\x09SUBSCRIBEa"
        said = b"".join(wire.encode([b"\1topic"]) + wire.encode([b"", b"x" * 300, b"\0"]))
        kinds = ((b"\0", b"DEALER"), (b"\1", b"SUB"))
        openings = [start + b"\0\x20" + zmtp_opening(kind) for start, kind in kinds]
        return [*(opening + said + ping for opening in openings), b"\1\1\7" + said + ping]
    if name == "zmtp_frames":
        return [bytes([1, 2, 3, 200, 17]) + b"some bytes of frames" * 8]
    return [b"\1\xff", compression._deflate(b"abc" * 1000)]


# --- growing a corpus -----------------------------------------------------------------------------


WORKER = """#!{python}
import sys
import atheris
with atheris.instrument_imports(include=["board_agent", "rkernel_launcher"]):
    from tests.fuzz.harnesses import HARNESSES
atheris.Setup(sys.argv, HARNESSES["{name}"])
atheris.Fuzz()
"""  # a program of its own: libFuzzer ends it when its time is up, and starts it again to merge


def main() -> None:
    """Run one harness, and keep what reached something new."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", nargs="?", choices=sorted(HARNESSES))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="folder of the corpora")
    arguments = parser.parse_args()
    if arguments.name is None:
        for name, harness in HARNESSES.items():
            print(f"{name}: {harness.__doc__}")
    else:
        sys.exit(grow(arguments.name, arguments.seconds, arguments.corpus / arguments.name))


def grow(name: str, seconds: int, corpus: Path) -> int:
    """Run a harness; replace its corpus by a small one that reaches as much.

    Returns 0, or 1 when a bug was found, whose input is then in the corpus.
    """
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        grown, small, bugs = (Path(folder, part) for part in ("grown", "small", "bugs"))
        for part in (grown, small, bugs):
            part.mkdir()
        keep([*seeds(name), *(path.read_bytes() for path in corpus.iterdir())], grown)
        worker = Path(folder, "worker")
        worker.write_text(WORKER.format(python=sys.executable, name=name))
        worker.chmod(0o700)
        limits = [f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=1024", "-verbosity=1"]
        limits.append(f"-artifact_prefix={bugs}/")
        run(worker, *limits, f"-max_total_time={seconds}", str(grown))
        found = [path.read_bytes() for path in bugs.iterdir()]
        if found:
            keep(found, corpus)
            return 1
        run(worker, *limits, "-merge=1", str(small), str(grown))
        kept = sorted((path.read_bytes() for path in small.iterdir()), key=len)
        for path in corpus.iterdir():
            path.unlink()
        keep(kept[:: -(-len(kept) // MOST_FILES) or 1], corpus)
    return 0


def run(worker: Path, *options: str) -> None:
    """Have atheris do something; its complaints are shown, and what it found is in its files."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.run([worker, *options], cwd=ROOT, env=environment, check=False)


def keep(inputs: list[bytes], folder: Path) -> None:
    """Write each input to a file named for what is in it."""
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


if __name__ == "__main__":
    main()
