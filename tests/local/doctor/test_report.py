"""`rkernel doctor --report`: all of it, without secrets, and without names unless wanted."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from rkernel_launcher.board import agent_archive
from tests.support import sshd
from tests.support.commands import rkernel
from tests.support.remote import Remote

BOARD = "zauberboard"
PASSED = ["--env", "TOKEN=hush-hush", "--video-path", "secret-path", "--name", "marys-kernel"]


@pytest.fixture
def named(remote: Remote) -> Remote:
    """Give a board that has a name, an option with a secret, and an account with a name."""
    remote.add_name(BOARD, remote.network.port)
    options = ["--host", BOARD, *remote.options[4:], "--via", "ssh", *PASSED]
    run = rkernel("add", *options, "--no-check", "--yes")
    assert run.returncode == 0, run.stderr
    return remote


def report(remote: Remote, *options: str) -> str:
    path = remote.folder / "report.md"
    run = rkernel("doctor", *options, "--report", str(path))
    assert run.stderr == "" and f"The report is in {path}" in run.stdout
    return path.read_text("utf-8")


def secrets(remote: Remote) -> list[str]:
    """Return what is in no report."""
    keys = [Path(f"{remote.key}.pub").read_text(), *remote.server.public_keys]
    return ["hush-hush", "secret-path", *(word for key in keys for word in key.split()[1:2])]


def names(remote: Remote) -> list[str]:
    """Return what names somebody or something."""
    host = socket.gethostname()
    places = [remote.environment["HOME"], str(remote.key), "127.0.0.1"]
    return [BOARD, "marys-kernel", sshd.local_user(), host, *places, "SHA256:"]


def told(text: str, words: list[str]) -> list[str]:
    return [
        word for word in words if re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text)
    ]


@pytest.mark.parametrize("options", [["marys-kernel"], ["--host", BOARD, "--via", "ssh"], []])
def test_no_name_and_no_secret_is_in_it(named: Remote, options: list[str]) -> None:
    text = report(named, *options)
    assert told(text, secrets(named)) == []
    assert told(text, names(named)) == []
    assert agent_archive.version() in text and "pyzmq" in text and "OpenSSH_" in text


def test_names_are_in_it_if_wanted_and_secrets_are_not(named: Remote) -> None:
    text = report(named, "marys-kernel", "--names")
    assert told(text, secrets(named)) == []
    assert BOARD in text and "SHA256:" in text
    assert "--env" in text and "TOKEN" not in text


def test_what_ssh_says_when_it_fails_is_in_it_without_names(named: Remote) -> None:
    folder = Path(named.environment["HOME"], ".ssh")
    settings = (folder / "config").read_text()
    banner = named.folder / "banner"
    banner.write_text("Welcome to the gateway of Mary\n")
    config = named.server.folder / "config"
    config.write_text(f"Banner {banner}\n" + config.read_text())
    (named.server.folder / "authorized_keys").write_text("")
    (folder / "config").write_text(settings + "Host *\n LogLevel DEBUG3\n")
    text = report(named, "marys-kernel")
    assert "✗ LoginRefused" in text
    assert "debug1: Offering public key" in text and "Remote protocol version 2.0" in text
    assert told(text, names(named)) == []
    assert told(text, secrets(named)) == []
    assert "Mary" not in text


def test_a_jump_host_of_the_settings_is_not_in_it(named: Remote) -> None:
    settings = Path(named.environment["HOME"], ".ssh", "config")
    jump = f"Host {BOARD}\n ProxyJump joe@gatehouse.invalid:2022\n"
    settings.write_text(jump + settings.read_text())
    text = report(named, "marys-kernel")
    assert "✗ " in text and "<setting>" in text
    assert told(text, ["joe", "gatehouse", *names(named), *secrets(named)]) == []


def test_a_file_that_cannot_be_written_is_said_at_once(remote: Remote) -> None:
    run = rkernel("doctor", "--host", "pi", "--report", str(remote.folder / "no" / "report.md"))
    assert run.returncode == 2 and "No such file" in run.stderr and run.stdout == ""
