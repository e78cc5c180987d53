"""Options on their way: from `rkernel add` into a kernelspec, from there to the launcher.

On that way are click, the kernelspec as JSON, what jupyter_client does to an argv, and argparse:
all of them the real ones.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from rkernel_launcher import target
from rkernel_launcher.cli import kernelspecs
from rkernel_launcher.cli.commands.add import add
from rkernel_launcher.errors import BadOption, OldKernelspec
from rkernel_launcher.options import FLAG, Duration, Option
from rkernel_launcher.target import OPTIONS, Target

# What an argv can hold: all but NUL, and bytes that are no UTF-8.
ANY = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    max_size=12,
)
ODD = st.sampled_from(
    [
        *("~", "~/x", "~root", "-x", "-f", "--via=local", "--", "a b", "'", '"', "$HOME", "\n"),
        *("é", "日本", "{connection_file}", "{a b}", "{", "=", "%n", "", "*", "\\", "@", "a@b@c"),
    ]
)
TEXT = ANY | ODD | st.lists(ODD, max_size=4).map("".join)
PORTS = st.integers(1, 65535).map(str)
USERS = TEXT.map(lambda user: user and f"{user}@")
HOSTS = st.sampled_from(
    ["pi", "pi.local", "192.168.43.44", "[pi]", "[::1]", "::1", "fe80::1%eth0", "[fe80::1%eth0]"]
)
VALUES = {  # by what help calls them; of others, any text
    "[USER@]HOST[:PORT]": st.tuples(USERS, HOSTS | TEXT, PORTS.map(":{}".format) | st.just("")).map(
        "".join
    ),
    "PORT": PORTS,
    "N": st.integers(0, 61).map(str),
    "TIME": st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3})?[smhd]?\Z") | st.just("forever"),
    "NAME=VALUE": st.tuples(st.from_regex(r"\A[A-Za-z_]\w{0,3}\Z"), TEXT).map("=".join),
    "NAME": st.from_regex(r"\A[\w-]{0,5}\Z") | TEXT,
}
MANAGER = KernelManager()


def texts(option: Option) -> st.SearchStrategy[str]:
    """Give values that somebody may give an option."""
    if option.kind.choices:
        return st.sampled_from(option.kind.choices)
    return VALUES.get(option.kind.metavar, TEXT)


def accepted(option: Option, text: str) -> bool:
    try:
        option.read((text,) if option.many else text)
    except BadOption:
        return False
    return True


def uses(option: Option) -> st.SearchStrategy[list[str]]:
    """Give the values of an option that is used once, or more often if it can be."""
    if option.kind is FLAG:
        return st.just([""])
    one = texts(option).filter(lambda text: accepted(option, text))
    return st.lists(one, min_size=1, max_size=1 + 2 * option.many)


def words(option: Option, said: list[str]) -> list[str]:
    return [option.flag if option.kind is FLAG else f"{option.flag}={text}" for text in said]


def added(*argv: str) -> Target:
    """Return what `rkernel add` makes of its arguments. Raises BadOption."""
    return target.from_texts(add.make_context("add", list(argv)).params)


def launched(wanted: Target) -> list[str]:
    """Return the arguments with which jupyter_client starts the launcher for a target."""
    spec = json.loads(json.dumps(kernelspecs.make("x", "X", wanted, None)))
    MANAGER._kernel_spec = KernelSpec(argv=spec["argv"], resource_dir="/resources")
    argv = [os.path.expanduser(word) for word in MANAGER.format_kernel_cmd()]  # noqa: PTH111
    return [os.fsdecode(os.fsencode(word)) for word in argv[3:]]


def assert_read_back(wanted: Target) -> None:
    """Make sure that the launcher, and `rkernel ps` and others, read what was written."""
    argv = launched(wanted)
    assert target.from_argv(argv) == target.from_argv(target.to_argv(wanted)) == wanted


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_each_option_is_read_back(option: Option, data: st.DataObject) -> None:
    said = data.draw(uses(option))
    wanted = added("--host=pi", *words(option, said))
    if option.name not in ("host", "user"):  # see below
        expected = True if option.kind is FLAG else option.read(said if option.many else said[0])
        assert getattr(wanted, option.name) == expected
    assert_read_back(wanted)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*(uses(option) | st.just([]) for option in OPTIONS)))
def test_all_options_are_read_back_together(said: tuple[list[str], ...]) -> None:
    pairs = zip(OPTIONS, said, strict=True)
    argv = itertools.chain.from_iterable(words(option, texts) for option, texts in pairs)
    assert_read_back(added("--host=pi", *argv))


def test_what_is_not_said_is_not_written() -> None:
    assert added() == Target(ipykernel="auto")
    assert target.to_argv(Target()) == []
    assert target.from_argv([]) == Target()


def test_an_option_that_is_repeated_keeps_all_its_values() -> None:
    wanted = added("--env", "A=b=c", "--env", "E=", "--env=A=~")
    assert wanted.env == (("A", "b=c"), ("E", ""), ("A", "~"))
    assert target.to_argv(wanted)[-3:] == ["--env=A=b=c", "--env=E=", "--env=A=~"]


def test_a_key_is_a_file_of_this_pc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    for said, path in (("key", f"{tmp_path}/key"), ("~/key", "/home/ann/key"), ("/k y", "/k y")):
        wanted = added("--identity", said)
        assert wanted.identity == path
        monkeypatch.chdir("/")  # where a frontend may start the launcher
        assert target.from_argv(target.to_argv(wanted)).identity == path
        monkeypatch.chdir(tmp_path)


# --- hosts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "user", "host", "port"),
    [
        ("pi", None, "pi", None),
        ("pi:22", None, "pi", 22),
        ("me@pi:22", "me", "pi", 22),
        ("me@corp.example@pi", "me@corp.example", "pi", None),
        ("user@asset@bastion:2222", "user@asset", "bastion", 2222),
        ("a:b@pi", "a:b", "pi", None),
        ("::1", None, "::1", None),
        ("fe80::1%eth0", None, "fe80::1%eth0", None),
        ("[fe80::1%usb0]:2222", None, "fe80::1%usb0", 2222),
        ("me@[::1]", "me", "::1", None),
        ("fe80::1:22", None, "fe80::1:22", None),
        ("adb:20080411", None, "adb:20080411", None),
        ("adb:192.168.43.44:5555", None, "adb:192.168.43.44:5555", None),
        ("adb:[fe80::1]:5555", None, "adb:[fe80::1]:5555", None),
        ("adb:usb:1-4.2", None, "adb:usb:1-4.2", None),
    ],
)
def test_hosts(said: str, user: str | None, host: str, port: int | None) -> None:
    assert target.split_host(said) == (user, host, port)
    assert target.split_host(target.join_host(user, host, port)) == (user, host, port)
    wanted = added("--host", said)
    assert (wanted.user, wanted.host, wanted.port) == (user, host, port)


def test_a_device_is_reached_over_adb() -> None:
    assert added("--host", "adb:20080411").via == "adb"
    assert added("--via", "adb").name == "the only adb device"


def test_user_and_port_of_their_own_win() -> None:
    wanted = added("--host", "a@pi:1", "--user", "b@c", "--port", "2")
    assert (wanted.user, wanted.host, wanted.port) == ("b@c", "pi", 2)
    assert target.to_argv(wanted)[0] == "--host=b@c@pi:2"
    wanted = added("--host", "a@pi:1", "--user", "")
    assert (wanted.user, wanted.host, wanted.port) == ("a", "pi", 1)
    assert added("--via=local", "--user", "") == Target(via="local", ipykernel="auto")


# --- times --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h", 3600),
        ("1.5h", 5400),
        ("2d", 172800),
        ("0", 0),
        ("forever", math.inf),
    ],
)
def test_times_know_what_they_were_called(text: str, seconds: float) -> None:
    found = added("--orphan-timeout", text).orphan_timeout
    assert found == Duration(seconds, text)
    assert f"{found}" == text


# --- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "text", "detail"),
    [
        ("--host", "-oProxyCommand=touch", "it is not [USER@]HOST[:PORT]"),
        ("--host", "-oProxyCommand=touch@pi", "it is not [USER@]HOST[:PORT]"),
        ("--host", "@pi", "it is not [USER@]HOST[:PORT]"),
        ("--host", "pi@", "it is not [USER@]HOST[:PORT]"),
        ("--host", "pi:ssh", "it is not [USER@]HOST[:PORT]"),
        ("--host", "pi:0", "ports are 1 to 65535"),
        ("--host", "[::1]:65536", "ports are 1 to 65535"),
        ("--link-port", "-1", "ports are 1 to 65535"),
        ("--link-port", "9" * 5000, "ports are 1 to 65535"),
        ("--video-port", "x", "ports are 1 to 65535"),
        ("--frame-rate", "0", "use 1 to 60 pictures a second"),
        ("--frame-rate", "61", "use 1 to 60 pictures a second"),
        ("--video-path", "../x", "use only letters, digits, - and _"),
        ("--env", "no value", "it is not NAME=VALUE"),
        ("--orphan-timeout", "soon", "it is not a time such as 90s, 10m, 1h, 0 or forever"),
        ("--orphan-timeout", "-1", "it is not a time such as 90s, 10m, 1h, 0 or forever"),
        ("--link-timeout", "1", "use 2 to 600 seconds"),
        ("--link-timeout", "1h", "use 2 to 600 seconds"),
        ("--link-timeout", "forever", "use 2 to 600 seconds"),
        ("--link-timeout", "soon", "use 2 to 600 seconds"),
        ("--workdir", "/{prefix}/x", "Jupyter replaces {prefix} with something else"),
        ("--python", "--", "it is not a value"),
    ],
)
def test_add_and_the_launcher_refuse_in_the_same_words(flag: str, text: str, detail: str) -> None:
    with pytest.raises(BadOption) as in_add:
        added(f"{flag}={text}")
    with pytest.raises(BadOption) as in_launcher:
        target.from_argv([f"{flag}={text}"])
    sentence = f"{flag} cannot be {text!r}: {detail}. See rkernel add --help."
    assert str(in_add.value) == sentence
    assert str(in_launcher.value) == sentence


def test_the_launcher_refuses_what_add_does_not_offer() -> None:
    detail = "use one of auto, ssh, command, adb, rpyc, local"
    with pytest.raises(BadOption, match=f"--via cannot be 'smoke': {detail}"):
        target.from_argv(["--via=smoke"])


@pytest.mark.parametrize(
    ("words", "unknown"),
    [
        (["--via", "ssh", "--host", "pi", "--keep-alive", "10m"], "--keep-alive 10m"),
        (["--host=pi", "--runtime", "sent"], "--runtime sent"),
        (["--host=pi", "--orphan", "1h"], "--orphan 1h"),  # no abbreviations: they change
        (["--host=pi", "word"], "word"),
    ],
)
def test_words_of_an_older_rkernel(words: list[str], unknown: str) -> None:
    with pytest.raises(OldKernelspec, match=unknown):
        target.from_argv([*words, "--debug", "-f", "{connection_file}"])


@pytest.mark.parametrize("words", [["--via"], ["--debugger=1"]])
def test_an_argv_that_was_changed_by_hand(words: list[str]) -> None:
    with pytest.raises(BadOption, match="somebody changed the kernelspec by hand"):
        target.from_argv(words)
