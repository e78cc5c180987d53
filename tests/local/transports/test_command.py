"""`--via command`: any command that gives a stream to a program, as docs/boards.md has them."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from rkernel_launcher import errors
from rkernel_launcher.transports import command
from tests.support import slurm
from tests.support.boards import Board, wait_until
from tests.support.commands import assert_refused, rkernel
from tests.support.kernels import Frontend, started
from tests.support.requirements import skip_or_fail

LIMIT = 60.0
HERE = ("--python", sys.executable)
COUNT = "import time\nfor i in range(100): print(i, flush=True); time.sleep(0.03)"


def add(said: str, *options: str, name: str = "there") -> None:
    """Add a kernel, and see that this succeeds."""
    run = rkernel("add", "--via", "command", "--command", said, *options, "--name", name)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr


@contextmanager
def added(home: Board, said: str, *options: str) -> Iterator[Frontend]:
    """Add a kernel, and start it from its kernelspec."""
    add(said, *options)
    with started(home, spec=home.specs / "there") as kernel:
        yield kernel


class Carrier:
    """A command that carries bytes itself, as ssh and docker do, and that a test can end.

    Args:
        folder: Where its script goes.
        run: What it runs with a pipe as stdin and another as stdout.
        first: What it does before.
    """

    def __init__(self, folder: Path, run: str, first: str = ":") -> None:
        self.script = folder / "carrier"
        self._pids = folder / "pids"
        self._pids.touch()
        self._ended = 0
        self.script.write_text(f"#!/bin/sh\n{first}\necho $$ >>{self._pids}\ncat | {run} | cat\n")
        self.script.chmod(0o755)

    def end(self) -> None:
        """End what carries the bytes now."""
        pids = self._pids.read_text().split()
        self._ended = len(pids)
        for child in psutil.Process(int(pids[-1])).children():
            with suppress(psutil.NoSuchProcess):  # one ends when its neighbour does
                if child.name() == "cat":
                    child.kill()

    def wait_for_another(self) -> None:
        """Wait until the command has been started again."""
        started = lambda: len(self._pids.read_text().split()) > self._ended  # noqa: E731
        wait_until(started, "the command is started again", LIMIT)


# --- what a kernel over a command can do ----------------------------------------------------------


def test_no_line_is_lost_when_the_command_is_ended(home: Board) -> None:
    """The command runs again for each connection; the agent listens at no port."""
    carrier = Carrier(home.folder, '"$@"')
    with added(home, str(carrier.script), *HERE) as kernel:
        number = kernel.send(COUNT)
        begun = kernel.until_printed("20\n")
        for line in (40, 60):
            carrier.end()
            carrier.wait_for_another()
            begun += kernel.until_printed(f"{line}\n")
        published = [*begun, *kernel.finish(number).published]
        texts = [
            m["content"]["text"]
            for m in published
            if m["msg_type"] == "stream" and m["content"]["name"] == "stdout"
        ]
        assert "".join(texts) == "".join(f"{i}\n" for i in range(100))
        [agent] = home.agents()
        kinds = {one.status for one in psutil.Process(agent).net_connections("inet")}
        assert kinds == set(), "it has no TCP socket"


def test_the_other_commands_work_as_ever(home: Board) -> None:
    with added(home, "env", *HERE) as kernel:
        assert kernel.value("1 + 1") == "2"
        [running] = json.loads(rkernel("ps", "there", "--json").stdout)
        assert running["state"] in ("idle", "busy")
        [listed] = json.loads(rkernel("list", "--json").stdout)
        assert "env" in json.dumps(listed)
        assert rkernel("stop", "there", running["id"]).returncode == 0
        assert "somebody ended it on the board" in kernel.reason(LIMIT)
        kernel.wait_for_end(5)
    run = rkernel("remove", "there", "--purge")
    assert (run.returncode, run.stderr) == (0, "")
    assert not home.agents()


def test_another_machine_is_never_given_a_second_kernel(home: Board) -> None:
    """Namespaces stand in for two machines: what differs is the name, and where agents listen."""
    if os.geteuid() != 0:
        skip_or_fail("another name of this machine needs root")
    choice, run = home.folder / "node", home.folder / "run"
    enter = f'mount --bind {run}-$0 {run}; hostname $0; exec "$@"'
    carrier = Carrier(
        home.folder,
        f'unshare --uts --mount sh -c {shlex.quote(enter)} $node "$@"',
        f"read node <{choice}",
    )
    run.mkdir(mode=0o700, exist_ok=True)
    for node in ("node1", "node2"):
        Path(f"{run}-{node}").mkdir(mode=0o700)
    choice.write_text("node1\n")
    with added(home, str(carrier.script), *HERE) as kernel:
        assert kernel.value("__import__('os').uname().nodename") == "'node1'"
        choice.write_text("node2\n")
        carrier.end()
        told = errors.OtherMachine.message.format(host=carrier.script, now="node2", before="node1")
        assert told in kernel.reason(LIMIT)
        assert kernel.wait_for_end(5) == 1
        assert told in kernel.said()


# --- recipes --------------------------------------------------------------------------------------


def test_another_user_by_sudo(home: Board) -> None:
    if os.geteuid() != 0 or not shutil.which("sudo"):
        skip_or_fail("this needs root and sudo")
    user = "rkernel-test"
    subprocess.run(["useradd", "--create-home", user], check=True)
    try:
        said = f"sudo -n -H -u {user}"
        options = ("--python", "/usr/bin/python3", "--ipykernel", "bundled")
        with added(home, said, *options) as kernel:
            uid = pwd.getpwnam(user).pw_uid
            assert kernel.value("(__import__('os').getuid(), __import__('os').getcwd())") == (
                f"({uid}, '/home/{user}')"
            )
        run = rkernel("remove", "there", "--purge")
        assert (run.returncode, run.stderr) == (0, "")
    finally:
        for process in psutil.process_iter(["username"]):
            if process.info["username"] == user:
                process.kill()
        subprocess.run(["userdel", "--remove", user], check=True, capture_output=True)


def test_a_container(home: Board) -> None:
    """Namespaces of its own for a process that stays, and nsenter as docker exec does it."""
    if os.geteuid() != 0:
        skip_or_fail("a container needs root")
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--mount", "--uts", "--kill-child"]
    script = "hostname box; echo ready; exec sleep infinity"
    pipe = subprocess.PIPE
    with subprocess.Popen([*words, "sh", "-c", script], stdout=pipe, text=True) as box:
        try:
            assert box.stdout is not None and box.stdout.readline() == "ready\n"
            [inside] = psutil.Process(box.pid).children()
            with added(home, f"nsenter --target {inside.pid} --all", *HERE) as kernel:
                assert kernel.value("__import__('os').uname().nodename") == "'box'"
            run = rkernel("remove", "there", "--purge")
            assert (run.returncode, run.stderr) == (0, "")
        finally:
            box.kill()


def test_a_job_of_a_cluster(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with slurm.cluster() as cluster:
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
            home.environment[name] = value
        job = cluster.allocate()
        with added(home, f"srun --overlap --jobid {job}", *HERE) as kernel:
            assert kernel.value("int(__import__('os').environ['SLURM_JOB_ID'])") == job
            kernel.send(COUNT.replace("100", "100_000"))
            kernel.until_printed("3\n")
            cluster.cancel(job)
            kernel.until(
                lambda m: "not back yet: The command `srun" in m["content"].get("text", ""),
                "the notebook says why",
            )


# --- commands that do not work --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("no-such-program exec -i dev", errors.NoProgram, "no program no-such-program"),
        ("sh -c 'echo no such pod >&2; exit 3'", errors.CommandFailed, "status 3: no such pod"),
        ("sh -c 'exit 0'", errors.CommandFailed, "ended with status 0: nothing"),
        ("""sh -c 'exec "$0" "$@" </dev/null'""", errors.NoInput, "it receives no input"),
        ("sh -c 'echo Welcome; exit 0'", errors.ShellEnded, "Welcome"),
    ],
)
def test_a_command_that_fails(
    home: Board, said: str, error: type[errors.RkernelError], words: str
) -> None:
    run = rkernel("add", "--via", "command", "--command", said, "--name", "there", *HERE)
    assert_refused(run, error, words)


def test_a_command_that_asks(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "from rkernel_launcher.target import Target\n"
        "from rkernel_launcher.transports import command\n"
        "said = \"sh -c 'echo Password: >&2; exec sleep 600'\"\n"
        "command.transport(Target(command=said), None)(['python3'], b'x', 1.0)"
    )
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert errors.CommandSilent.__name__ in run.stderr and "It said: Password:" in run.stderr


def test_what_a_command_prints_first_is_passed_over(home: Board) -> None:
    said = """sh -c 'echo "Welcome to this machine"; echo "a notice" >&2; exec "$0" "$@"'"""
    with added(home, said, *HERE) as kernel:
        assert kernel.value("6 * 7") == "42"


# --- how the program's words get there ------------------------------------------------------------

WORDS = ["python3", "-c", "print('a b', \"$HOME\")"]


@pytest.mark.parametrize(
    "said",
    [
        "env",
        "sh -c {}",
        """sh -c 'exec "$0" "$@"'""",
        """sh -c 'eval "$*"' ssh""",  # what an ssh does with its words: it joins them for a shell
    ],
)
def test_the_program_gets_there_as_it_is(said: str) -> None:
    run = subprocess.run(
        command.argv(shlex.split(said), WORDS), capture_output=True, text=True, timeout=LIMIT
    )
    assert run.stdout == "a b $HOME\n", run.stderr


def test_each_ssh_hands_its_words_to_a_shell() -> None:
    once = [shlex.quote(word) for word in WORDS]
    assert command.argv(["ssh", "a"], WORDS) == ["ssh", "a", *once]
    twice = [shlex.quote(word) for word in once]
    assert command.argv(["ssh", "a", "ssh", "b"], WORDS) == ["ssh", "a", "ssh", "b", *twice]
    slurm = ["ssh", "login", "srun", "--unbuffered", "--jobid", "7", *once]
    assert command.argv(["ssh", "login", "srun", "--jobid", "7"], WORDS) == slurm


def test_a_path_is_a_name_too(tmp_path: Path) -> None:
    ssh = str(tmp_path / "ssh.exe")
    assert command.argv([ssh, "a"], WORDS)[2] == shlex.quote(WORDS[0])


def test_the_limit_of_what_is_quoted() -> None:
    said = command._last("\n".join(f"line {n}\x1b[31m" for n in range(9)))
    assert said == "line 6\\x1b[31m; line 7\\x1b[31m; line 8\\x1b[31m"
