"""Programs on a host, started by this PC's own `ssh`."""

from __future__ import annotations

import logging
import os
import random
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack

from ... import errors, os_support
from ...sanitize import escape_controls
from ...target import Target
from .. import process, shell
from ..process import Attendant
from ..prompts import Prompts
from ..stream import Ending, Start, Stream
from . import arguments, failures, settings
from .answers import Answers, are_kept
from .askpass import Askpass, served
from .failures import Said
from .program import Program, find
from .settings import Settings

log = logging.getLogger(__name__)

TRIES = 3  # with a server that is busy
PAUSES = (0.3, 1.0)  # seconds between them
ENDING_SECONDS = 2.0  # for ssh to end once its stream has


def transport(target: Target, prompts: Prompts | None) -> Start:
    """Return what starts programs on a host by `ssh`.

    Args:
        target: Where, as whom, and how.
        prompts: How ssh may ask a person; None to let it ask nothing.

    Raises:
        RkernelError: NoProgram, SshUnusable, SshConfigBroken.
    """
    program = find(target.ssh_command)
    return _Client(program, target, prompts).start


class _Client:
    """What is known of the way to one host.

    Args: As for `transport`, and the program.
    """

    def __init__(self, program: Program, target: Target, prompts: Prompts | None) -> None:
        self._program = program
        self._target = target
        self._prompts = prompts
        self._destination = arguments.destination(target)
        self._settings: Settings | None = None  # which may take programs of the person's to tell
        self._asks = prompts is not None and not os_support.WINDOWS
        self._avoid_master = False

    def start(self, words: Sequence[str], first: bytes, timeout: float) -> Stream:
        """Start a program, see `stream.Start`."""
        if self._settings is None:
            self._settings = settings.read(self._program, self._destination, self._target.host)
            log.info("ssh: %s to %s", self._program.name, self._settings.account)
        for tries_left in reversed(range(TRIES)):
            try:
                stream = self._attempt(self._settings, words, first, timeout)
            except errors.BoardSilent:
                self._avoid_master = not self._avoid_master  # theirs may hang in a dead network
                raise
            if stream.answers(timeout):
                return _without_reports(stream)
            ending = stream.ending(ENDING_SECONDS)
            if ending.status not in (255, None):
                return _without_reports(stream)  # the program has ended, not ssh
            stream.close()
            if not (tries_left and failures.is_passing(ending.stderr)):
                break
            time.sleep(random.uniform(*PAUSES))
        error = self._failure(self._settings, ending.stderr)
        if isinstance(error, errors.NotLetIn) and not self._asks and self._may_know(self._settings):
            self._asks = True
            return self.start(words, first, timeout)
        raise error

    def _may_know(self, found: Settings) -> bool:
        """Say whether the keyring has what ssh could not ask for."""
        return not os_support.WINDOWS and are_kept(found)

    def _attempt(
        self, found: Settings, words: Sequence[str], first: bytes, timeout: float
    ) -> Stream:
        options = arguments.options(self._program, found, self._asks, self._avoid_master)
        if self._asks and self._prompts is None:
            options += ["-o", "NumberOfPasswordPrompts=1"]
        argv = [*self._program.argv, *self._destination, *options, "--", self._target.host]
        argv.append(shell.line(words))
        log.debug("ssh: %s", shlex.join(argv[:-1]))
        with ExitStack() as stack:
            askpass = None
            if self._asks:
                askpass = stack.enter_context(served(Answers(found, self._prompts)))
            attendant = _Attendant(askpass, self._prompts)
            return process.start(argv, first, timeout, attendant)

    def _failure(self, found: Settings, stderr: str) -> errors.RkernelError:
        log.info("ssh said: %s", escape_controls(stderr))
        command = shlex.join([*self._program.argv, "-v", *self._destination, self._target.host])
        error = failures.explain(Said(stderr, self._target, found, f"{command} true"))
        if isinstance(error, errors.PasswordNeeded) and self._asks:
            return errors.PasswordRefused(host=self._target.host, user=found.value("user"))
        return error


def _without_reports(stream: Stream) -> Stream:
    """Have a stream's ending tell what the program said, not what ssh reports of its work."""
    tell = stream.ending

    def ending(timeout: float) -> Ending:
        status, stderr = tell(timeout)
        return Ending(status, failures.without_reports(stderr))

    stream.ending = ending
    return stream


class _Attendant(Attendant):
    """Look after an ssh that logs in: its questions, and what the server says to whoever comes.

    Args:
        askpass: Where its questions come; None if it may ask nothing.
        prompts: How to talk with the person; None if nobody is there.
    """

    def __init__(self, askpass: Askpass | None, prompts: Prompts | None) -> None:
        self.questions = askpass
        nobody = {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}  # for the ssh to a jump host, too
        self.environment = askpass.environment if askpass else nobody
        self._askpass = askpass
        self._prompts = prompts

    def answer(self) -> None:
        """Answer the question that has come."""
        assert self._askpass is not None
        self._askpass.serve()

    def hear(self, stderr: str) -> None:
        """Show what the server says to whoever logs in."""
        if self._prompts is None:
            return
        for line in stderr.splitlines():
            if not line.startswith("debug"):
                self._prompts.say(escape_controls(line))

    def is_needed(self, stderr: str) -> bool:
        """Say whether ssh waits for a key that asks a person at each use."""
        return failures.waits_for_person(stderr)
