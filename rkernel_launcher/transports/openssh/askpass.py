"""How ssh asks us: by a program, which it starts for each question; see ssh(1), SSH_ASKPASS.

The program passes the question on through a Unix socket in a folder of ours, and prints the answer.
A secret is so never in an argv, in an environment or in a file.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 10.0  # for the program to put its question
_MAX_QUESTION = 1 << 16  # bytes
_PROGRAM = """
import json, os, socket, sys
asker = socket.socket(socket.AF_UNIX)
asker.connect(os.path.join(os.path.dirname(os.path.abspath(__file__)), "socket"))
kind = os.environ.get("SSH_ASKPASS_PROMPT", "")
asker.sendall(json.dumps([" ".join(sys.argv[1:]), kind]).encode())
asker.shutdown(socket.SHUT_WR)
answer = b"".join(iter(lambda: asker.recv(4096), b""))
sys.stdout.buffer.write(answer[1:])
sys.exit(answer[:1] != b"+")
"""

Answer = Callable[[str, str], "str | None"]
"""Answers a question.

Args: its text; its kind, which is empty, "confirm" or "none" (it is only to be shown).
Returns: the answer, or None for none.
"""


class Askpass:
    """The end of ssh's questions, for whoever waits for ssh.

    Attributes:
        environment: What ssh has to be started with.
    """

    def __init__(self, folder: Path, listener: socket.socket, answer: Answer) -> None:
        self._listener = listener
        self._answer = answer
        self.environment = {
            **os.environ,
            "SSH_ASKPASS": str(folder / "askpass"),
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": os.environ.get("DISPLAY") or ":none",  # which ssh before 8.4 looks for
        }

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is a question."""
        return self._listener.fileno()

    def serve(self) -> None:
        """Answer the question that has come."""
        asker, _ = self._listener.accept()
        with asker:
            asker.settimeout(_SECONDS)
            try:
                data = b"".join(iter(lambda: asker.recv(_MAX_QUESTION), b""))
                text, kind = json.loads(data)
                answer = self._answer(text, kind)
                asker.sendall(b"-" if answer is None else b"+" + answer.encode() + b"\n")
            except (OSError, ValueError):
                return  # ssh has ended meanwhile


@contextmanager
def served(answer: Answer) -> Iterator[Askpass]:
    """Make the program and the socket, in a folder that is gone afterwards.

    Args:
        answer: What answers.
    """
    # /tmp, since a socket's path may have 103 characters and a Mac's TMPDIR takes half of them
    place = "/tmp" if os.access("/tmp", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="rkernel-", dir=place))
    try:
        (folder / "askpass.py").write_text(_PROGRAM)
        program = folder / "askpass"
        words = shlex.join([sys.executable, "-I", "-S", str(folder / "askpass.py")])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o700)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
            listener.listen()
            yield Askpass(folder, listener, answer)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
