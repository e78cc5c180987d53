"""Programs on a host, started by the embedded client: each over a connection of its own."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from contextlib import suppress

import paramiko

from ... import errors
from ...target import Target
from .. import shell
from ..prompts import Prompts
from ..stream import Start, Stream
from .channels import Program
from .connection import Connection, connect, failed
from .settings import Route, resolve

log = logging.getLogger(__name__)

TRIES = 3  # with a server that is busy
PAUSES = (0.3, 1.0)  # seconds between them
_ENDING_SECONDS = 2.0  # for the server to tell how a program ended


def transport(target: Target, prompts: Prompts | None) -> Start:
    """Return what starts programs on a host by the embedded client.

    Args:
        target: Where, as whom, and how.
        prompts: How to ask a person; None to ask nothing.

    Raises:
        RkernelError: SettingNotHonoured, SshConfigBroken.
    """
    route = resolve(target)

    def start(words: Sequence[str], first: bytes, timeout: float) -> Stream:
        log.info("ssh: paramiko %s to %s", paramiko.__version__, route.account)
        stream = Program(_connect(route, prompts), shell.line(words)).stream
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it has ended, and tells why
                stream.write(first, timeout)
            if not stream.answers(timeout):
                ending = stream.ending(_ENDING_SECONDS)
                if ending.status is None:
                    raise failed(route, ending.stderr or "it did not run the command")
        except BaseException as error:
            stream.close()
            if isinstance(error, TimeoutError):
                raise errors.BoardSilent(seconds=timeout) from None
            raise
        return stream

    return start


def _connect(route: Route, prompts: Prompts | None) -> Connection:
    for _ in range(TRIES - 1):
        try:
            return connect(route, prompts)
        except errors.SshBusy:
            time.sleep(random.uniform(*PAUSES))
    return connect(route, prompts)
