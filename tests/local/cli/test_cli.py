"""`rkernel add`, list, remove and demo, as a user runs them; every way of reaching a board."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import run_kernel

from rkernel_launcher import errors
from rkernel_launcher.cli import board_setup
from rkernel_launcher.errors import OldKernelspec, RkernelError
from tests.support import sshd
from tests.support.boards import Board, wait_until
from tests.support.commands import (
    LIMIT,
    argv,
    assert_refused,
    at_terminal,
    connection_file,
    kernels,
    launcher,
    rkernel,
    slave_service,
)
from tests.support.ports import unused_port

PASSWORD = "staple battery"


def spec(home: Board, name: str) -> dict[str, Any]:
    path = home.specs / name / "kernel.json"
    return dict(json.loads(path.read_text()))


# --- add ----------------------------------------------------------------------------------------


def test_add_local_and_run_what_was_added(home: Board, board_python: str) -> None:
    options = ["--python", board_python, "--env", "A=b c", "--workdir", str(home.folder)]
    run = rkernel("add", "--via", "local", *options, "--name", "Board")
    assert (run.returncode, run.stderr) == (0, "")
    for words in ("Architecture:", "ipykernel 6.29.5, pyzmq", "MB available of", "Starting a ker"):
        assert words in run.stdout
    assert "\x1b" not in run.stdout
    assert kernels(home) == ["board"]
    with run_kernel(kernel_name="board") as client:
        code = "import os, sys; print(sys.version_info[:2], os.environ['A'], os.getcwd())"
        said: list[str] = []
        client.execute_interactive(
            code, timeout=30, output_hook=lambda m: said.append(m["content"].get("text", ""))
        )
    assert "".join(said).endswith(f") b c {home.folder}\n")


def test_a_folder_where_vs_code_does_not_look(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["add", "--via", "local", "--no-check", "--yes"]
    assert "VS Code does not look for kernels in JUPYTER_DATA_DIR." in rkernel(*options).stdout
    monkeypatch.delenv("JUPYTER_DATA_DIR")
    run = rkernel(*options)
    assert run.returncode == 0 and "VS Code" not in run.stdout


def test_add_over_ssh_and_find_it_by_itself(home: Board) -> None:
    with ssh_board(home) as server:
        key = sshd.keygen(Path(home.environment["HOME"], ".ssh", "id_ed25519"))
        server.authorize(key)
        Path(home.environment["HOME"], ".ssh", "known_hosts").write_text(server.known_hosts)
        host = f"{sshd.local_user()}@127.0.0.1:{server.port}"
        run = rkernel("add", "--host", host, "--python", sys.executable, "--debugger")
    assert (run.returncode, run.stderr) == (0, "")
    assert "authentication" not in run.stdout
    written = spec(home, "rkernel-127.0.0.1")
    assert written["argv"] == [
        *(sys.executable, "-m", "rkernel_launcher", f"--host={host}", "--via=ssh"),
        *(f"--python={sys.executable}", "--debugger", "-f", "{connection_file}"),
    ]
    assert written["metadata"]["debugger"] is True
    assert "127.0.0.1" in written["display_name"]


def test_an_ssh_server_that_forwards_nothing_will_do(home: Board) -> None:
    with ssh_board(home, "AllowTcpForwarding no") as server:
        key = sshd.keygen(Path(home.environment["HOME"], ".ssh", "id_ed25519"))
        server.authorize(key)
        Path(home.environment["HOME"], ".ssh", "known_hosts").write_text(server.known_hosts)
        host = f"{sshd.local_user()}@127.0.0.1:{server.port}"
        for client in ("openssh", "paramiko"):
            options = ["--host", host, "--via", "ssh", "--ssh", client, "--name", client]
            run = rkernel("add", *options, "--python", sys.executable)
            assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_add_over_rpyc_says_that_nobody_is_kept_out(home: Board, host: str, shown: str) -> None:
    link_port = str(unused_port())
    with slave_service(host) as port:
        target = ["--host", host, "--port", str(port), "--link-port", link_port]
        run = rkernel("add", "--via", "rpyc", *target, "--yes")
        home.end_agents()
    assert (run.returncode, run.stderr) == (0, "")
    assert board_setup.NO_AUTHENTICATION in run.stdout
    (written,) = [spec(home, folder.name) for folder in home.specs.iterdir()]
    assert written["argv"][3:-2] == [
        *(f"--host={shown}:{port}", "--via=rpyc", f"--link-port={link_port}")
    ]
    assert "debugger" not in written["metadata"]


def test_auto_takes_rpyc_where_ssh_is_refused(home: Board) -> None:
    with slave_service() as port:
        change = f"from rkernel_launcher.board import reach; reach.RPYC_PORT = {port}; "
        # no check: the launcher would look at rpyc's real port, which may be somebody's
        ssh_port = str(unused_port())
        options = ["add", "--host", "127.0.0.1", "--port", ssh_port, "--no-check"]
        run = changed(change, *options)
    assert (run.returncode, run.stderr) == (0, "")
    assert board_setup.NO_AUTHENTICATION in run.stdout and "Architecture:" in run.stdout
    written = spec(home, "rkernel-127.0.0.1")
    assert written["argv"][3:-2] == ["--host=127.0.0.1", "--via=rpyc"]
    assert written["metadata"]["rkernel"]["via"] == "rpyc"


def test_add_what_cannot_be_reached_with_no_check(home: Board) -> None:
    options = ["--port", str(unused_port()), "--user", "pi", "--identity", "key", "--jump", "gate"]
    options += ["--orphan-timeout", "10m", "--display-name", "Kitchen", "--warm-start", "never"]
    run = rkernel("add", "--host", "board.invalid", *options, "--no-check")
    assert (run.returncode, run.stderr) == (0, "")
    assert "Not checked: " in run.stdout
    written = spec(home, "rkernel-board.invalid")
    assert written["argv"][3:-2] == [
        *(f"--host=pi@board.invalid:{options[1]}", "--via=ssh"),
        *(f"--identity={Path('key').absolute()}", "--jump=gate"),
        *("--ipykernel=auto", "--warm-start=never", "--orphan-timeout=10m"),
    ]
    assert written["display_name"] == "Kitchen"


def test_an_unknown_host_key_is_for_a_person_at_a_terminal(home: Board) -> None:
    with ssh_board(home) as server:
        key = sshd.keygen(Path(home.environment["HOME"], ".ssh", "id_ed25519"))
        server.authorize(key)
        add = ["add", "--host", f"127.0.0.1:{server.port}", "--python", sys.executable]
        for options in ([], ["--yes"]):
            assert_refused(rkernel(*add, *options), errors.UnknownHostKey)
        assert_refused(at_terminal([], *add, "--yes"), errors.UnknownHostKey)
        assert_refused(at_terminal(["no"], *add), errors.UnknownHostKey)
        assert kernels(home) == []
        run = at_terminal(["yes"], *add)
        assert run.returncode == 0, run.stderr
        known = Path(home.environment["HOME"], ".ssh", "known_hosts").read_text()
        assert known == server.known_hosts


@pytest.mark.parametrize("beginning", ["~", "$HOME", "${HOME}"])
def test_a_path_may_begin_with_the_home_on_the_board(home: Board, beginning: str) -> None:
    there = home.folder / "there"
    there.mkdir()
    runtime = home.environment["XDG_RUNTIME_DIR"]
    with sshd.openssh(f"SetEnv HOME={there} XDG_RUNTIME_DIR={runtime}") as server:
        ssh = Path(home.environment["HOME"], ".ssh")
        server.authorize(sshd.keygen(ssh / "id_ed25519"))
        (ssh / "known_hosts").write_text(server.known_hosts)
        (there / "it").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (there / "it").chmod(0o700)
        options = ["--python", f"{beginning}/it", "--workdir", beginning, "--orphan-timeout", "0"]
        host = ["--host", f"127.0.0.1:{server.port}", "--via", "ssh", "--name", "it"]
        run = rkernel("add", *host, *options)
        assert (run.returncode, run.stderr) == (0, ""), run.stderr
        assert {"--python=~/it", "--workdir=~"} < set(spec(home, "it")["argv"])
        purged = rkernel("remove", "it", "--purge")
        assert (purged.returncode, purged.stderr) == (0, "")


def test_a_home_that_the_shell_has_put_in_is_told(home: Board) -> None:
    python = f"{home.environment['HOME']}/venv/bin/python"
    options = ["--python", python, "--workdir", "/tmp", "--no-check"]
    run = rkernel("add", "--host", "board.invalid", *options)
    assert "--python begins with the home of this PC" in run.stdout
    assert "--workdir begins" not in run.stdout
    assert f"--python={python}" in spec(home, "rkernel-board.invalid")["argv"]


def test_a_typed_password_is_followed_by_the_offer_of_a_key(home: Board) -> None:
    with sshd.account(PASSWORD) as account:
        environment = f"SetEnv HOME={account.home} XDG_RUNTIME_DIR={account.home}/run"
        keys = f"AuthorizedKeysFile {account.home}/.ssh/authorized_keys"
        with sshd.openssh("PasswordAuthentication yes", environment, keys) as server:
            known = Path(home.environment["HOME"], ".ssh", "known_hosts")
            known.parent.mkdir(mode=0o700)
            known.write_text(server.known_hosts)
            host = f"{account.name}@127.0.0.1:{server.port}"
            # the machine's own python, which may have no ipykernel
            options = ["--host", host, "--python", "/usr/bin/python3", "--no-check"]
            run = at_terminal([PASSWORD, "y"], "add", *options)
            assert run.returncode == 0, run.stderr
            assert "without a password" in run.stdout
            public = known.with_name("id_ed25519.pub").read_text()
            assert (account.home / ".ssh" / "authorized_keys").read_text() == public
            again = rkernel("add", *options, "--yes")
    assert again.returncode == 0 and "Architecture:" in again.stdout
    for file in home.folder.rglob("*"):
        assert not file.is_file() or PASSWORD.encode() not in file.read_bytes(), file


def test_a_name_that_is_there_is_replaced_only_when_wanted(home: Board) -> None:
    def added(run: subprocess.CompletedProcess[str]) -> str:
        assert run.returncode == 0, run.stderr
        return str(spec(home, "x")["argv"][3]).removeprefix("--host=")

    add = ["add", "--name", "x", "--no-check", "--via", "ssh", "--host"]
    assert added(rkernel(*add, "one.invalid")) == "one.invalid"
    assert_refused(rkernel(*add, "two.invalid"), errors.NameTaken, "x")
    assert_refused(at_terminal(["n"], *add, "three.invalid"), errors.NameTaken)
    assert added(at_terminal(["y"], *add, "four.invalid")) == "four.invalid"
    assert added(rkernel(*add, "five.invalid", "--yes")) == "five.invalid"
    assert kernels(home) == ["x"]


# --- list, remove, demo -------------------------------------------------------------------------


def test_list_and_remove(home: Board) -> None:
    assert "You have added no kernel yet" in rkernel("list").stdout
    assert json.loads(rkernel("list", "--json").stdout) == []
    for name in ("one", "other"):
        rkernel("add", "--host", "one.invalid", "--no-check", "--name", name)
    table = rkernel("list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["Name", "one", "other"]
    rows = json.loads(rkernel("list", "--json").stdout)
    assert [(row["name"], row["board"], row["via"]) for row in rows] == [
        ("one", "one.invalid", "ssh"),
        ("other", "one.invalid", "ssh"),
    ]
    assert len({row["display_name"] for row in rows}) == 2
    assert_refused(
        rkernel("remove", "other", "python3", "gone"), errors.NoSuchKernel, "python3, gone"
    )
    assert kernels(home) == ["one", "other"]
    run = rkernel("remove", "other", "one", "other")
    assert (run.returncode, run.stderr) == (0, "")
    assert "~/.cache/rkernel" in run.stdout
    assert kernels(home) == []


def test_what_an_older_rkernel_wrote_is_listed_and_told_of(home: Board) -> None:
    rkernel("add", "--host", "new.invalid", "--no-check", "--name", "new")
    folder = Path(home.environment["JUPYTER_DATA_DIR"], "kernels", "old")
    shutil.copytree(folder.with_name("new"), folder)
    old = spec(home, "new")
    words = ["--via", "ssh", "--host", "pi", "--keep-alive", "10m", "--runtime", "sent"]
    old["argv"] = [*old["argv"][:3], *words, *old["argv"][-2:]]
    (folder / "kernel.json").write_text(json.dumps(old))

    listed = rkernel("list", "--json")
    assert [row["name"] for row in json.loads(listed.stdout)] == ["new", "old"]
    said = sentence(OldKernelspec, {"words": "--keep-alive 10m --runtime sent"})
    assert listed.stderr == f"old: {said}\n"
    for command in (["ps", "old"], ["stop", "old", "--all"], ["attach", "old"], ["view", "old"]):
        assert_refused(rkernel(*command), OldKernelspec, "--keep-alive 10m")
    assert_refused(rkernel("remove", "old", "--purge"), OldKernelspec)
    run = launcher(*words, connection_file=connection_file(home))
    assert_refused(run, OldKernelspec, "--keep-alive 10m")
    assert rkernel("remove", "old").returncode == 0
    assert kernels(home) == ["new"]


def test_demo_shows_its_cells_and_leaves_nothing(home: Board) -> None:
    def files() -> set[Path]:
        return {*home.folder.rglob("*"), *Path("/tmp").glob("rkernel*")}

    before = files()
    run = rkernel("demo")
    left = files() - before
    assert (run.returncode, run.stderr) == (0, "")
    for words in (
        "uname_result",
        "ZeroDivisionError: div",
        "image/png",
        "KeyboardInterrupt",
        "\n42\n",
    ):
        assert words in run.stdout
    assert_gone(left)
    windows = "from rkernel_launcher import os_support; os_support.WINDOWS = True; "
    assert_refused(changed(windows, "demo"), errors.NotSupportedHere)


TOASTER = """
import platform, sys
class Toaster(platform.uname_result):
    def __repr__(self):
        return "a toaster"
if {"board_agent.kernel", "board_agent.kernel.template"} & set(sys.orig_argv):
    platform.uname = lambda uname=platform.uname: Toaster(*uname()[:5])
"""


def test_a_demo_that_goes_wrong_says_so_and_leaves_nothing(
    home: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.folder / "sitecustomize.py").write_text(TOASTER)
    monkeypatch.setenv("PYTHONPATH", f"{home.folder}:{home.environment['PYTHONPATH']}")
    run = rkernel("demo")
    assert_refused(run, errors.DemoFailed, "cell 1 did not show uname_result")
    assert "a toaster" in run.stdout
    assert_gone(Path("/tmp").glob("rkernel-demo-*"))


# --- the rest -----------------------------------------------------------------------------------


def test_a_traceback_only_when_asked_for(home: Board) -> None:
    assert_refused(rkernel("add", "--via", "local", "--env", "x"), errors.BadOption)
    run = rkernel("--debug", "add", "--via", "local", "--env", "x")
    assert run.returncode == 1 and "Traceback" in run.stderr


def test_what_nobody_foresaw_is_a_sentence_too(home: Board) -> None:
    run = changed("from rkernel_launcher.cli import kernelspecs; kernelspecs.find = None; ", "list")
    assert_refused(run, errors.RkernelError, "TypeError")


def test_ctrl_c_is_quiet(home: Board) -> None:
    with subprocess.Popen(argv("demo"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert b"Starting" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
        assert process.stderr.read().strip() == b""
    assert_gone(Path("/tmp").glob("rkernel-demo-*"))


@pytest.mark.parametrize(
    "arguments",
    [["add"], ["add", "--via", "local", "--host", "x"], ["add", "--via", "smoke"], ["remove"]],
)
def test_usage(home: Board, arguments: list[str]) -> None:
    run = rkernel(*arguments)
    assert run.returncode == 2
    assert "Usage: rkernel" in run.stderr and "Traceback" not in run.stderr


def test_the_launcher_imports_only_what_it_needs() -> None:
    code = (
        "import sys, rkernel_launcher.__main__, rkernel_launcher.board.reach\nprint(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needless = {"click", "rich", "keyring", "paramiko", "jupyter_client", "tornado", "ipykernel"}
    needless |= {"zeroconf", "ifaddr", "rkernel_launcher.discovery"}
    assert not needless & set(run.stdout.split())


# --- helpers ------------------------------------------------------------------------------------


def ssh_board(home: Board, *settings: str) -> Any:
    """An sshd whose sessions have the board's folders in `home`."""
    kept = ("HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "PYTHONPATH")
    folders = "SetEnv " + " ".join(f"{n}={home.environment[n]}" for n in kept)
    return sshd.openssh(folders, *settings)


def assert_gone(left: Iterable[Path]) -> None:
    """Fail when a file of ours is still there; those of other tests go by themselves."""
    files = set(left)
    wait_until(lambda: not any(file.exists() for file in files), f"{files} go", LIMIT)


def sentence(error: type[RkernelError], facts: dict[str, str]) -> str:
    """Return what is said of an error."""
    return str(error(**facts))


def changed(change: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `rkernel` after some code that changes what it is made of."""
    command = argv(*arguments)
    command[command.index("-c") + 1] = change + command[command.index("-c") + 1]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
