"""Settings of ssh, with OpenSSH's own reading of them as the measure."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from rkernel_launcher.transports.ssh.config import Route, resolve

from rkernel_launcher.errors import SshConfigBroken
from rkernel_launcher.target import Target
from tests.support import sshd

SETTINGS = """
Port 2200
Include {folder}/more.conf
Host board bench-?
    HostName 10.0.0.%h
    User=root
Host "board"
    User nobody
    Port 2222
    HostKeyAlias the-board
    ConnectTimeout 7
    UserKnownHostsFile "{folder}/a b" {folder}/c
    ProxyCommand  relay --to %h:%p --as %r
    ProxyJump never
Host none.lab
    ProxyJump none
Host *.lab !door.lab
    ProxyJump me@door.lab:2022,second.lab
    ProxyCommand never
Match user root
    ConnectTimeout 9
Match host 10.0.0.* !originalhost board
    HostKeyAlias matched
Host *
    User someone
    ConnectTimeout 11
"""
INCLUDED = """
Host included
    HostName there
Host bench-2
    Port 2
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    return home


def configure(home: Path, text: str) -> Path:
    path = home / ".ssh" / "config"
    path.write_text(text)
    return path


def as_ssh_sees_it(path: Path, target: Target) -> dict[str, list[str]]:
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed")
    said = [f"-l{target.user}"] if target.user else []
    said += [f"-p{target.port}"] if target.port else []
    said += [f"-J{target.jump}"] if target.jump else []
    command = ["ssh", "-F", str(path), "-G", *said, target.host]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    options: dict[str, list[str]] = {}
    for line in found.stdout.splitlines():
        key, _, value = line.partition(" ")
        options.setdefault(key, []).append(value)
    return options


def hops(route: Route) -> str:
    """Write a route's jump hosts as ProxyJump does."""
    if route.jump is None:
        return ""
    jump = route.jump
    return f"{hops(jump)},{jump.user}@{jump.host}:{jump.port}".lstrip(",")


@pytest.mark.parametrize(
    "target",
    [
        Target(host="board"),
        Target(host="board", user="root", port=99),
        Target(host="board", jump="other"),
        Target(host="bench-1"),
        Target(host="bench-2"),
        Target(host="included"),
        Target(host="a.lab"),
        Target(host="door.lab"),
        Target(host="none.lab", jump="none"),
        Target(host="a.lab", jump="none"),
        Target(host="none.lab"),
        Target(host="elsewhere", user="root"),
    ],
    ids=lambda target: f"{target.user}@{target.host}:{target.port}-{target.jump}",
)
def test_we_read_the_settings_as_ssh_does(home: Path, target: Target) -> None:
    (home / "more.conf").write_text(INCLUDED)
    path = configure(home, SETTINGS.format(folder=home))
    route, expected = resolve(target), as_ssh_sees_it(path, target)
    assert route.hostname == expected["hostname"][0]
    assert str(route.port) == expected["port"][0]
    assert route.user == expected["user"][0]
    assert f"{route.connect_timeout:.0f}" == expected["connecttimeout"][0]
    alias = expected.get("hostkeyalias")
    assert (route.known_as[0] == alias[0]) if alias else "[" in route.known_as[0]
    command = expected.get("proxycommand", [""])[0]
    assert (route.proxy_command or "") == command.replace("%h", route.hostname).replace(
        "%p", str(route.port)
    ).replace("%r", route.user)
    jumps = expected.get("proxyjump", [""])[0].replace("none", "")
    assert [hop.rpartition("@")[2].partition(":")[0] for hop in hops(route).split(",")] == [
        hop.rpartition("@")[2].partition(":")[0] for hop in jumps.split(",")
    ]
    if target.host == "board":
        assert route.user_known_hosts == (home / "a b", home / "c")
        assert " ".join(map(str, route.user_known_hosts)) == expected["userknownhostsfile"][0]


def test_each_hop_is_read_from_the_settings(home: Path) -> None:
    configure(home, SETTINGS.format(folder=home))
    route = resolve(Target(host="a.lab"))
    assert hops(route) == "me@door.lab:2022,someone@second.lab:2200"
    assert hops(resolve(Target(host="x", jump="[::1]:5,ssh://u@y:6/,fe80::1"))) == (
        "someone@::1:5,u@y:6,someone@fe80::1:2200"
    )


def test_nothing_set(home: Path) -> None:
    route = resolve(Target(host="Board"))
    assert (route.hostname, route.port, route.user) == ("Board", 22, sshd.local_user())
    assert route.known_as == ("board",)
    assert route.identities == tuple(home / ".ssh" / f"id_{k}" for k in ("ed25519", "ecdsa", "rsa"))
    assert route.user_known_hosts[0] == home / ".ssh" / "known_hosts"
    assert route.global_known_hosts[0] == Path("/etc/ssh/ssh_known_hosts")
    assert (route.proxy_command, route.jump, route.connect_timeout) == (None, None, None)


def test_identities(home: Path) -> None:
    configure(home, "IdentitiesOnly yes\nIdentityFile ~/one\nHost b*\n IdentityFile %d/%r/two")
    route = resolve(Target(host="board", user="root"))
    assert route.identities == (home / "one", home / "root" / "two")
    assert (route.identities_from, route.identities_only) == ("config", True)
    route = resolve(Target(host="board", identity="~/mine"))
    assert (route.identities, route.identities_from) == ((home / "mine",), "target")


def test_host_keys_are_kept_whatever_the_settings_say(home: Path) -> None:
    configure(home, "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null")
    assert resolve(Target(host="b")).user_known_hosts[0] == home / ".ssh" / "known_hosts"


def test_relative_includes_and_patterns(home: Path) -> None:
    configure(home, "Host x\n Include conf.d/*.conf missing.conf\n Port 7\n")
    (home / ".ssh" / "conf.d").mkdir()
    (home / ".ssh" / "conf.d" / "1.conf").write_text("Host b\n HostName one\n")
    (home / ".ssh" / "conf.d" / "2.conf").write_text("Host b\n HostName two\n User u\n")
    route = resolve(Target(host="b"))
    assert (route.hostname, route.user, route.port) == ("one", "u", 22)
    assert resolve(Target(host="x")).port == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Port ssh", "ssh"),
        ("ConnectTimeout soon", "soon"),
        ("Host", "Host"),
        ("Match user", "Match"),
        ('Host "open', "open"),
        ("CanonicalizeHostname yes", "canonicaldomains"),
        ("ProxyJump a:b:c@:x:y", "not a jump host"),
        ("ProxyJump a:ssh", "not a jump host"),
        ("ProxyJump b", "leads back to itself"),
        ("Host b\n ProxyJump a\nHost a\n ProxyJump b", "leads back to itself"),
        ("Include config", "nested"),
    ],
)
def test_settings_that_make_no_sense_are_a_sentence(home: Path, text: str, words: str) -> None:
    path = configure(home, text)
    with pytest.raises(SshConfigBroken) as caught:
        resolve(Target(host="b"))
    assert words in str(caught.value) and str(path) in str(caught.value)
