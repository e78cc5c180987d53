"""What is taken out of a report for a bug, and what stays in it."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

import pytest

from rkernel_launcher.cli.doctor.scrubbing import scrubber
from rkernel_launcher.cli.doctor.visit import Visit
from rkernel_launcher.target import Target

HOST = "tower.example.org"
VISIT = Visit(
    Target(
        host=HOST,
        user="mary",
        via="rpyc",
        jump="gate@bastion.example.org:2222",
        env=(("TOKEN", "hush-hush"), ("DEBUG", "1")),
    ),
    name="marys-kernel",
)
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIKq1x7m8Jk0aVqkq3x0S6h0m0nV5b2JrZXlrZXlrZXk"

USER, PC, HOME = getpass.getuser(), socket.gethostname(), Path.home()
NAMED = {  # a line, and what must not be left of it
    "the board": (f"{HOST} refused the connection", "tower"),
    "the board without its domain": ("Welcome to Tower!", "Tower"),
    "the account": ("did not let mary log in", "mary"),
    "a name within a path": ("/srv/mary/x", "mary"),
    "the kernel": ("kernelspec marys-kernel is there", "mary"),
    "a jump host": ("bastion: Connection closed", "bastion"),
    "its account": ("as 'gate'", "gate"),
    "somebody's home": ("/home/somebody/.ssh/id_rsa", "somebody"),
    "a home on Windows": (r"C:\Users\somebody\key", "somebody"),
    "this PC": (f"from {PC}", PC),
    "who works here": (f"as '{USER}'", USER),
    "a home here": (f"{HOME}/.ssh", f"{HOME}/"),
    "another account": ("no key for jim@elsewhere.example", "elsewhere"),
    "an address": ("Connecting to 192.168.4.27 port 22.", "192.168"),
    "an address of version 6": ("Connecting to fe80::1%usb0 port 22.", "fe80"),
    "a fingerprint": ("ED25519 SHA256:fvdDCyS2/7lKc7ITeaNTdXz/EmA3oHt6O7vtr2sC", "fvdDCy"),
    "a command": ("debug1: Executing proxy command: exec nc corp 22", "corp"),
}


@pytest.mark.parametrize("what", NAMED)
def test_names_go_unless_they_are_wanted(what: str) -> None:
    text, name = NAMED[what]
    assert name not in scrubber([VISIT], names_stay=False)(text)
    assert scrubber([VISIT], names_stay=True)(text) == text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("TOKEN is hush-hush.", "hush"),
        (f"ssh-ed25519 {KEY} a comment", KEY),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----", "b3Bl"),
        ("token 0123456789abcdef0123456789abcdef.", "0123456789abcdef"),
    ],
    ids=["a variable", "a public key", "a private key", "a token"],
)
@pytest.mark.parametrize("names_stay", [False, True])
def test_secrets_always_go(text: str, secret: str, names_stay: bool) -> None:
    assert secret not in scrubber([VISIT], names_stay)(text)


@pytest.mark.parametrize(
    "text",
    [
        "debug1: kex: server->client cipher: chacha20-poly1305@openssh.com MAC: <implicit>",
        "Python 3.11.7 (cpython), Linux-6.1.21-v7+-armv7l-with-glibc2.36, code b7237d8bb9e7",
        "ipykernel 7.4.0, pyzmq 27.3.0, 1 key, OpenSSH_9.2p1 Debian-2+deb12u10",
        "round trip 12 ms, 2.1 MB/s up, it says 2026-11-18 19:21 UTC",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert scrubber([VISIT], names_stay=False)(text) == text
