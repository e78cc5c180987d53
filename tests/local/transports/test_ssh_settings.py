"""The embedded client's reading of the ssh settings, with OpenSSH's own as the measure."""

from __future__ import annotations

import pytest

from rkernel_launcher.errors import SettingNotHonoured, SshConfigBroken
from rkernel_launcher.target import Target
from rkernel_launcher.transports.openssh import arguments, program
from rkernel_launcher.transports.openssh import settings as openssh
from rkernel_launcher.transports.paramiko.settings import Route, resolve
from tests.support import sshd
from tests.support.ssh_pc import Pc

SETTINGS = """
Port 2200 # the lab's
Host board bench-?
    HostName 10.0.0.%h
    User=root
Host "board"
    User nobody
    Port 2222
    HostKeyAlias the-board
    ConnectTimeout 7
    UserKnownHostsFile "{folder}/a b" {folder}/c
    IdentityFile "{folder}/keys of %r/%h"
    IdentitiesOnly yes
    StrictHostKeyChecking accept-new
    PreferredAuthentications password,publickey
    ProxyCommand none
    ProxyJump never
Host usb
    HostName fe80::1%%usb0
Host *.lab !door.lab
    ProxyJump me@door.lab:2022
    ProxyCommand never
Match user root
    ConnectTimeout 9
Match host 10.0.0.* !originalhost board
    HostKeyAlias matched
Host *
    User someone
    ConnectTimeout 11
    PasswordAuthentication no
"""


@pytest.fixture
def engine() -> str:
    return "paramiko"


def configure(pc: Pc, text: str) -> None:
    (pc.ssh / "config").write_text(text.replace("{folder}", str(pc.ssh)))


@pytest.mark.parametrize(
    "target",
    [
        Target(host="board"),
        Target(host="bench-2"),
        Target(host="bench-2", user="pi", port=22),
        Target(host="usb"),
        Target(host="fe80::1%usb0"),
        Target(host="a.lab"),
        Target(host="door.lab"),
        Target(host="elsewhere", user="root"),
        Target(host="a.lab", jump="other@10.0.0.1:2023"),
    ],
    ids=lambda target: f"{target.user}@{target.host}:{target.port}-{target.jump}",
)
def test_we_read_the_settings_as_ssh_does(pc: Pc, target: Target) -> None:
    configure(pc, SETTINGS)
    route = resolve(target)
    ssh = program.find(f"ssh -F {pc.ssh}/config")
    theirs = openssh.read(ssh, arguments.destination(target), target.host)
    assert route.hostname == theirs.value("hostname")
    assert (route.user, route.port) == (theirs.value("user"), theirs.number("port"))
    assert route.account == theirs.account
    alias = theirs.value("hostkeyalias")
    usual = f"[{route.hostname}]:{route.port}" if route.port != 22 else route.hostname
    assert route.known_as[0] == (alias or usual)
    assert route.seconds == theirs.number("connecttimeout")
    assert route.identities_only == (theirs.value("identitiesonly") == "yes")
    if route.named:
        expanded = {"%r": route.user, "%h": route.hostname}
        (path,) = map(str, theirs.identities)  # ssh -G leaves the tokens as they are
        for token, value in expanded.items():
            path = path.replace(token, value)
        assert list(map(str, route.named)) == [path]
    if route.jump is None:
        assert theirs.value("proxyjump") in ("", "never")
    else:
        jump = f"{route.jump.user}@{route.jump.hostname}:{route.jump.port}"
        assert jump == theirs.value("proxyjump").replace("[", "").replace("]", "")
    methods = theirs.value("preferredauthentications")
    if methods:
        assert ",".join(route.methods) == "publickey"  # since the last section forbids passwords


def test_nothing_set(pc: Pc) -> None:
    route = resolve(Target(host="board"))
    assert (route.host, route.hostname, route.port) == ("board", "board", 22)
    assert (route.user, route.new_keys, route.seconds) == (sshd.local_user(), "ask", 15.0)
    assert route.methods == ("publickey", "keyboard-interactive", "password")
    assert route.user_known_hosts == (pc.known_hosts, pc.ssh / "known_hosts2")
    assert pc.ssh / "id_ed25519" in route.identities and route.named == ()
    assert route.jump is None


def reads(pc: Pc, text: str, **said: str) -> Route:
    configure(pc, text)
    return resolve(Target(host="board", **said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "setting",
    [
        "AddressFamily inet6",
        "BindAddress 10.0.0.1",
        "CanonicalizeHostname yes",
        "CertificateFile ~/.ssh/cert.pub",
        "Ciphers aes128-ctr",
        "GlobalKnownHostsFile /etc/%h",
        "HostKeyAlgorithms +ssh-rsa",
        "HostName %n.lab",
        "IdentityAgent ~/.agent",
        "IdentityFile ~/.ssh/%C",
        "IdentityFile ~/.ssh/%n-%p",
        "IdentityFile ${HOME}/key",
        "Include more",
        "KexAlgorithms +diffie-hellman-group14-sha1",
        "KnownHostsCommand /bin/true",
        "MACs umac-64@openssh.com",
        "NoHostAuthenticationForLocalhost yes",
        "PKCS11Provider /usr/lib/token.so",
        "Port ssh",
        "ProxyCommand nc %h %p",
        "ProxyJump one,two",
        "ProxyJump hop",
        "RevokedHostKeys ~/.ssh/revoked",
        "StrictHostKeyChecking perhaps",
        "UserKnownHostsFile ~/.ssh/%k",
        "UserKnownHostsFile ${HOME}/known",
        "VerifyHostKeyDNS yes",
        "ConnectTimeout soon",
        "Whatever yes",
    ],
)
def test_a_setting_that_cannot_be_honoured_is_a_sentence(pc: Pc, setting: str) -> None:
    (pc.ssh / "more").write_text("Port 77\n")
    more = "\nHost hop\n ProxyJump another"
    with pytest.raises(SettingNotHonoured) as caught:
        reads(pc, f"Host board\n {setting}{more}")
    keyword, _, value = setting.partition(" ")
    said = str(caught.value)
    assert keyword.lower() in said.lower() and "--ssh openssh" in said
    telling = "another" if value == "hop" else value.split()[0].removeprefix("~/.ssh")
    assert telling in said
    assert reads(pc, f"Host other\n {setting}\nHost board\n Port 7").port == 7  # for another host


@pytest.mark.parametrize(
    "criteria",
    ["final all", "exec true", "localnetwork 10.0.0.0/8", "tagged lab", "host board exec true"],
)
def test_a_match_that_we_cannot_tell_is_a_sentence(pc: Pc, criteria: str) -> None:
    with pytest.raises(SettingNotHonoured, match=f"Match {criteria}"):
        reads(pc, f"Match {criteria}\n Port 77\n")
    assert (
        reads(pc, f"Match host other {criteria.removeprefix('host board ')}\n Port 77").port == 22
    )


@pytest.mark.parametrize(
    "setting",
    [
        "Include nothing*.conf",
        "SendEnv LANG LC_*",
        "Compression yes",
        "ControlMaster auto",
        "ServerAliveInterval 10",
        "HashKnownHosts yes",
        "ForwardX11 yes",
        "LocalForward 8080 localhost:80",
        "GSSAPIAuthentication yes",
        "AddressFamily any",
        "CanonicalizeHostname no",
        "CertificateFile none",
        "IdentityAgent SSH_AUTH_SOCK",
        "IgnoreUnknown UseKey*,Odd\n UseKeychain yes\n Odd yes",
    ],
)
def test_a_setting_without_a_bearing_on_a_stream_is_left_alone(pc: Pc, setting: str) -> None:
    assert reads(pc, f"Host board\n {setting}\n Port 77").port == 77


def test_the_targets_own_word_wins(pc: Pc) -> None:
    text = "Port 77\nUser nobody\nIdentityFile ~/.ssh/other\nProxyCommand nc %h %p\n"
    route = reads(pc, text, user="me@corp.example", identity="~/.ssh/mine", jump="none")
    assert (route.user, route.named) == ("me@corp.example", (pc.ssh / "mine",))
    assert route.identity and route.identities_only and route.jump is None
    hop = reads(pc, "Host hop\n Port 2022\n User me", jump="[::1]:23").jump
    assert hop is not None and (hop.hostname, hop.port) == ("::1", 23)


@pytest.mark.parametrize(
    ("text", "words"),
    [('Host "board', "host"), ("Match", "Match"), ("junk", "junk"), ('Match host "x', "quot")],
)
def test_settings_that_make_no_sense_are_a_sentence(pc: Pc, text: str, words: str) -> None:
    with pytest.raises(SshConfigBroken, match=words):
        reads(pc, text)


def test_settings_that_cannot_be_read_are_a_sentence(pc: Pc) -> None:
    (pc.ssh / "config").mkdir()
    with pytest.raises(SshConfigBroken, match="directory"):
        resolve(Target(host="board"))


def test_bytes_that_are_no_text_do_not_matter_elsewhere(pc: Pc) -> None:
    (pc.ssh / "config").write_bytes(b"# caf\xe9\nHost other\n User caf\xe9\nHost board\n Port 7\n")
    assert resolve(Target(host="board")).port == 7
