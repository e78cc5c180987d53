"""What the launcher asks of a board before there is a link: its facts, and a running agent."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time

from ..common import groups, home, reply
from ..common.agent_lock import AgentLock, agents
from ..common.home import NoHome
from . import bundle_receiver

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

AGENT_SECONDS = 30.0  # a slow board's python starts in two
END_SECONDS = 10.0  # for agents to end
POLL_SECONDS = 0.1
LINGERING = "/var/lib/systemd/linger"  # where systemd-logind notes who lingers
LOGIN_SECONDS = 5.0  # for a login shell, which may wait for a person

# Any shell passes it on as it is: no quote, no dollar, no backslash within.
_ASK_LOGIN = (
    'python3 -c \'import json, platform, sys; print(); print("%s" + json.dumps({'
    '"executable": sys.executable, "version": platform.python_version()}))\''
) % reply.MARK

bundle_state = bundle_receiver.state
bundle_add = bundle_receiver.add
bundle_drop = bundle_receiver.drop
bundle_unpack = bundle_receiver.unpack
bundle_progress = bundle_receiver.progress


def facts(python: Optional[str]) -> Dict[str, Any]:
    """Return what the board and the given Python are, as `facts` has it, or an error."""
    try:
        return _run(python, "board_agent.bootstrap.facts")
    except OSError as error:
        return _no_python(error)


def python_version(python: Optional[str]) -> Dict[str, Any]:
    """Return the version of the given Python, such as 3.8, or an error."""
    try:
        return {"version": bundle_receiver.python_version(python)}
    except (OSError, subprocess.CalledProcessError) as error:
        return _no_python(error)


def _no_python(error: Exception) -> Dict[str, Any]:
    return {"error": "no_python", "detail": str(error), "installers": home.installers()}


def login_python(executable: str) -> Dict[str, Any]:
    """Return which Python a person at a terminal of this board gets, if it is another one.

    Args:
        executable: The path of the one that it is compared with.

    Returns:
        Its `executable` and `version`; nothing if it is the same, or if nobody knows.
    """
    import pwd

    try:
        shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
        said = reply.last(_within([shell, "-l", "-i", "-c", _ASK_LOGIN], LOGIN_SECONDS))
    except (KeyError, OSError, ValueError):
        return {}
    if said is None or _resolved(said["executable"]) == _resolved(executable):
        return {}
    return said


def _within(command: List[str], seconds: float) -> bytes:
    """Return what a command prints within some time; then end it, and what it has started."""
    run = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return run.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        return b""
    finally:
        try:
            os.killpg(run.pid, signal.SIGKILL)
        except OSError:
            pass  # it has ended, and all with it
        run.wait()
        if run.stdout is not None:
            run.stdout.close()


def _resolved(path: str) -> str:
    """Return a path without links but for the last part, which tells a venv from its origin."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name.partition(".")[0])


def ensure_agent(code: str, bind: str, python: Optional[str]) -> Dict[str, Any]:
    """Return how to reach the agent, started if need be.

    Args:
        code: The hash of its code.
        bind: The HOST:PORT or :PORT that it listens at; empty if it gets the streams of launchers.
        python: The interpreter to start it with, or None for this one.

    Returns:
        Its `pid`, `port`, `socket` and `token`, or an `error` and its `detail`.
    """
    try:
        lock = AgentLock(code, bind)
        deadline = time.monotonic() + AGENT_SECONDS
        while time.monotonic() < deadline:
            state = lock.read_state()
            if state is not None:
                lacks = groups.lacking(state["pid"])
                if not lacks or not _replaceable(state):
                    return state
                _end_agent(state["pid"])  # its kernels would lack groups that this login has
                continue
            failure = _start_agent(code, bind, python, lock.folder)
            if failure is not None:
                if os.path.isdir(lock.folder) and lock.acquire():
                    lock.clear()  # what was left has been read
                return failure
    except NoHome as error:
        return {"error": "no_home", "detail": str(error)}
    except OSError as error:
        return home.failure(error, str(error.filename or home.cache()))
    return {"error": "no_agent", "detail": _tail(os.path.join(lock.folder, "log"))}


def _replaceable(state: Dict[str, Any]) -> bool:
    """Return whether an agent has no kernels."""
    found = _run(None, "board_agent.bootstrap.agent_client", "find")["agents"]
    return any(agent["pid"] == state["pid"] and agent["kernels"] == [] for agent in found)


def _end_agent(pid: int) -> None:
    """End an agent and wait until it and its files are gone."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline and any(agent["pid"] == pid for agent in agents()):
        time.sleep(POLL_SECONDS)


def _scope() -> List[str]:
    """Return what starts a program where no logout ends it; nothing if that needs no program.

    Services of a user end with the last login, too, unless the user lingers, see loginctl(1). Then
    the scope of a login is the better place: systemd ends it only with KillUserProcesses=yes.
    """
    import pwd

    folder = os.environ.get("XDG_RUNTIME_DIR", "")
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return []
    lingers = os.path.exists(os.path.join(LINGERING, name))
    if not lingers or not os.path.exists(os.path.join(folder, "systemd", "private")):
        return []
    return ["systemd-run", "--user", "--scope", "--quiet", "--collect", "--"]


def find_agents() -> Dict[str, Any]:
    """Return how to reach the agents that run here, and the name of this machine."""
    return {"machine": os.uname().nodename, "agents": agents()}


def find_kernels() -> Dict[str, Any]:
    """Return the same, each with its kernels, or None if it is silent."""
    return _run(None, "board_agent.bootstrap.agent_client", "find")


def stop(kernels: List[str]) -> Dict[str, Any]:
    """End kernels of any agent here, by their ids; return what went wrong."""
    return _run(None, "board_agent.bootstrap.agent_client", "stop", *kernels)


def purge() -> Dict[str, Any]:
    """End all agents here with their kernels, and remove our folders; return what went wrong."""
    for state in agents():
        os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while agents():
        if time.monotonic() > deadline:
            return {"error": "an agent does not end"}
        time.sleep(POLL_SECONDS)
    try:
        home.remove()
    except OSError as error:
        return {"error": str(error), "path": str(error.filename)}
    return {}


def install_key(public_key: bytes) -> Dict[str, Any]:
    """Let a key log in to this account; say what went wrong.

    Of OpenWrt and what is made from it, dropbear reads root's keys in /etc/dropbear; another sshd
    there would not, so the key goes to both places.
    """
    line = public_key.strip()
    body = b" ".join(line.split()[:2])
    if b"\n" in line or len(body.split()) != 2:
        return {"error": "EINVAL", "detail": "this is not the line of a public key"}
    folders = [os.path.join(os.path.expanduser("~"), ".ssh")]
    if os.path.exists("/etc/openwrt_release") and os.getuid() == 0:
        folders += filter(os.path.isdir, ["/etc/dropbear"])
    try:
        for folder in folders:
            _append_key(folder, line, body)
    except OSError as error:
        return home.failure(error, folder)
    return {}


def _append_key(folder: str, line: bytes, body: bytes) -> None:
    """Put a line into a folder's authorized_keys, unless the key is there. Raises OSError."""
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700)
    path = os.path.join(folder, "authorized_keys")
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb+") as file:
        there = file.read()
        lines = [one for one in there.splitlines() if not one.lstrip().startswith(b"#")]
        if not any(body in one for one in lines):
            file.write((b"" if not there or there.endswith(b"\n") else b"\n") + line + b"\n")


def _run(python: Optional[str], *module: str) -> Dict[str, Any]:
    """Run a module of ours, with its arguments, and return what it replies.

    Raises:
        OSError: It cannot be started, or failed.
    """
    command = [home.interpreter(python), "-m", *module]
    run = subprocess.run(command, cwd=home.code(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode:
        raise OSError(run.stderr.decode("utf-8", "replace")[-500:])
    said = reply.last(run.stdout)
    if said is None:
        raise OSError("%s ended without a reply" % command[0])
    return said


def _start_agent(
    code: str, bind: str, python: Optional[str], folder: str
) -> Optional[Dict[str, Any]]:
    """Start an agent and wait until one serves; return an error and its detail when none will."""
    command: List[str] = [home.interpreter(python), "-m", "board_agent"]
    command += ["--code", code, *(["--bind", bind] if bind else [])]
    path = os.path.join(folder, "log")
    try:
        scope = _scope()
        for before in [scope, []] if scope else [[]]:
            with open(path, "ab") as log:
                run = subprocess.run(
                    [*before, *command],
                    cwd=home.code(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            if run.returncode == 0 or reply.last(run.stdout) is not None:
                break  # else without a scope
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return home.failure(error, folder) if full else {"error": "no_agent", "detail": str(error)}
    said = reply.last(run.stdout)
    if said is not None:
        return said
    if not run.returncode:
        return None
    return {"error": "no_agent", "detail": _tail(path), "installers": home.installers()}


def _tail(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()[-500:]
    except OSError:
        return ""
