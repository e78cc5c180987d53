"""What the launcher asks of a board before there is a link: its facts, and a running agent."""

import json
import os
import signal
import subprocess
import time
from typing import Any, Dict, List, Optional

from . import bundle, home, query
from .home import NoHome, Seat, agents

AGENT_SECONDS = 30.0  # a slow board's python starts in two


runtime_state = bundle.state
runtime_add = bundle.add
runtime_drop = bundle.drop
runtime_unpack = bundle.unpack
runtime_look = bundle.look


def facts(python: Optional[str]) -> Dict[str, Any]:
    """Return what the board and the given Python are; see `facts.py`."""
    command = [home.interpreter(python), "-m", "board_agent.facts"]
    try:
        run = subprocess.run(
            command, cwd=home.code(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        return {"error": "no_python", "detail": str(error)}
    if run.returncode:
        return {"error": "no_python", "detail": run.stderr.decode("utf-8", "replace")[-500:]}
    return dict(json.loads(run.stdout))


def python_version(python: Optional[str]) -> Dict[str, Any]:
    """Return the version of the given Python, such as 3.8."""
    try:
        return {"version": bundle.python_version(python)}
    except (OSError, subprocess.CalledProcessError) as error:
        return {"error": "no_python", "detail": str(error)}


def ensure_agent(
    code: str, bind: str, python: Optional[str], idle: Optional[float]
) -> Dict[str, Any]:
    """Return how to reach the agent that listens at an address, started if need be.

    Returns its pid, port and token, or an error and its detail.
    """
    try:
        seat = Seat(code, bind)
        deadline = time.monotonic() + AGENT_SECONDS
        while time.monotonic() < deadline:
            state = seat.read_state()
            if state is not None:
                return state
            failure = _start_agent(code, bind, python, idle, seat.folder)
            if failure is not None:
                if os.path.isdir(seat.folder) and seat.take():
                    seat.clear()  # what was left has been read
                return failure
    except (NoHome, OSError) as error:
        return {"error": "no_home", "detail": str(error)}
    return {"error": "no_agent", "detail": _tail(os.path.join(seat.folder, "log"))}


def find_agents() -> Dict[str, Any]:
    """Return how to reach the agents that run here."""
    return {"agents": agents()}


def find_kernels() -> Dict[str, Any]:
    """Return the same, each with its kernels, or None if it is mum."""
    found = []
    for state in agents():
        try:
            kernels: Optional[List[Dict[str, Any]]] = query.kernels(state)
        except query.NoAnswer:
            kernels = None  # as one of another version
        found.append(dict(state, kernels=kernels))
    return {"agents": found}


def stop(kernels: List[str]) -> Dict[str, Any]:
    """End kernels of any agent here; say what went wrong."""
    left, trouble = set(kernels), ""
    for state in agents():
        try:
            mine = left.intersection(kernel["kernel"] for kernel in query.kernels(state))
            if mine:
                query.stop(state, sorted(mine))
                left -= mine
        except query.NoAnswer as error:
            trouble = str(error)
    return {"error": trouble} if left and trouble else {}


def purge() -> Dict[str, Any]:
    """End all agents here with their kernels, and remove our folders; say what went wrong."""
    for state in agents():
        os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + query.SECONDS
    while agents():
        if time.monotonic() > deadline:
            return {"error": "an agent does not end"}
        time.sleep(query.POLL)
    try:
        home.remove()
    except OSError as error:
        return {"error": str(error), "path": str(error.filename)}
    return {}


def _start_agent(
    code: str, bind: str, python: Optional[str], idle: Optional[float], folder: str
) -> Optional[Dict[str, Any]]:
    """Start an agent and wait until one serves; return an error and its detail when none will."""
    command: List[str] = [home.interpreter(python), "-m", "board_agent"]
    command += ["--code", code, "--bind", bind]
    if idle is not None:
        command += ["--idle", str(idle)]
    path = os.path.join(folder, "log")
    try:
        with open(path, "ab") as log:
            run = subprocess.run(
                command,
                cwd=home.code(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
    except OSError as error:
        return {"error": "no_agent", "detail": str(error)}
    if run.stdout:
        return dict(json.loads(run.stdout))
    return {"error": "no_agent", "detail": _tail(path)} if run.returncode else None


def _tail(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()[-500:]
    except OSError:
        return ""
