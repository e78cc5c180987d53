"""The board's side on the oldest Python that a board may have, with nothing but its library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from board_agent.common import reply
from tests.support import agents
from tests.support.agents import Session
from tests.support.boards import ROOT
from tests.support.pythons import interpreter

FOLDER = ROOT / "board_agent"
STAND_INS = FOLDER / "stand_ins"  # for other packages, whose names their modules have
ALL_FILES = sorted(FOLDER.rglob("*.py"))
FILES = [path for path in ALL_FILES if STAND_INS not in path.parents]
MAY_IMPORT = {
    "display.publisher": {"ipykernel"},
    "kernel.app": {"ipykernel", "jupyter_client", "zmq"},
    "kernel.history": {"IPython", "traitlets"},
    "kernel.main": {"ipykernel", "tornado"},
}  # the board's own
# These are executed before anything of ours is there.
STANDS_ALONE = ("bootstrap.condition", "bootstrap.first_stage", "bootstrap.loader")


@pytest.fixture(scope="module")
def python() -> str:
    return interpreter("3.8")


def run(python: str, source: str, *arguments: str) -> str:
    result = subprocess.run(
        [python, "-W", "error", "-c", source, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def imported(path: Path) -> tuple[set[str], set[str]]:
    """Return the modules that a file imports anywhere: from elsewhere, and of ours, relative."""
    others, ours = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            ours.add("." * node.level + (node.module or ""))
        elif isinstance(node, ast.ImportFrom):
            others.add(str(node.module).partition(".")[0])
    return others, ours


def name_of(path: Path) -> str:
    """Return a module's name in a package of ours."""
    return ".".join(path.relative_to(FOLDER).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_standard_library_is_imported(path: Path) -> None:
    others, ours = imported(path)
    foreign = others - sys.stdlib_module_names - {"board_agent"}
    assert foreign <= MAY_IMPORT.get(name_of(path), set())
    assert "board_agent" not in others, "our own modules are named from here"
    if name_of(path) in STANDS_ALONE:
        assert not ours


@pytest.mark.parametrize("path", sorted(STAND_INS.rglob("*.py")), ids=lambda path: path.stem)
def test_stand_ins_import_ours_and_tornado_alone(path: Path) -> None:
    others, _ = imported(path)
    foreign = others - sys.stdlib_module_names
    assert foreign <= ({"tornado"} if path.stem == "zmqstream" else {"board_agent"})


def test_importing_the_stand_ins_takes_little(python: str) -> None:
    source = """
import __future__, heapq, json, random, socket, struct, sys, threading, typing
# which a kernel has in any case
before = set(sys.modules)
sys.path[:0] = sys.argv[1:]
import zmq, zmq.asyncio, zmq.error, zmq.utils.jsonapi
print("\\n".join(set(sys.modules) - before))
"""
    new = set(run(python, source, str(STAND_INS)).split())
    assert len(new) <= 22
    assert all(name.partition(".")[0] in ("zmq", "board_agent") for name in new)


def test_the_library_of_3_8_has_what_is_imported(python: str) -> None:
    allowed = {path: MAY_IMPORT.get(name_of(path), set()) for path in FILES}
    wanted = set().union(*(imported(path)[0] - allowed[path] for path in FILES))
    source = """
import importlib.util, sys
print([name for name in sys.argv[1:] if importlib.util.find_spec(name) is None])
"""
    assert run(python, source, *sorted(wanted)) == "[]\n"


def test_every_file_compiles(python: str) -> None:
    source = """
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        compile(file.read(), path, "exec", dont_inherit=True)
"""
    run(python, source, *map(str, ALL_FILES))


def test_every_module_that_needs_no_ipykernel_imports(python: str) -> None:
    names = {name_of(path) for path in FILES if path.stem not in ("__main__", "__init__")}
    names -= MAY_IMPORT.keys()
    source = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    run(python, source, *sorted(f"board_agent.{name}" for name in names))


def test_the_agent_is_small(python: str) -> None:
    source = "import sys, board_agent.agent.agent; print('\\n'.join(sys.modules))"
    modules = set(run(python, source).splitlines())
    assert not modules & {
        "asyncio",
        "ssl",
        "rpyc",
        "zmq",
        "multiprocessing",
        "http",
        "urllib.request",
    }


def test_two_ends_talk(python: str) -> None:
    """Much data, cut anywhere, from an end on that Python to another."""
    source = """
import random
from board_agent.link.events import Data, Message
from board_agent.link.link import CHUNK, Link
from board_agent.link.handshake import NEW, AgentHandshake, LauncherHandshake
chance = random.Random(1)
launcher, agent = LauncherHandshake(b"t", b"s" * 16, 0), AgentHandshake(b"t")
while agent.request is None:
    agent.receive_data(launcher.data_to_send())
    launcher.receive_data(agent.data_to_send())
agent.accept(NEW, 0)
launcher.receive_data(agent.data_to_send())
assert (agent.request, launcher.reply) == ((b"s" * 16, 0), (NEW, 0))
one, other = Link(), Link(accepts_streams=True)
streams = [one.open(name) for name in ("shell", "iopub", "control")]
sent, came, messages = {n: b"" for n in streams}, {n: b"" for n in streams}, []
wire = b""
for step in range(3000):
    number = chance.choice(streams)
    data = bytes([step % 256]) * min(chance.randrange(2000), one.credit(number))
    if data:
        one.send(number, data)
        sent[number] += data
    if step % 100 == 0:
        one.message({"step": step})
    wire += one.data_to_send(chance.randrange(1, CHUNK))
    cut = chance.randrange(len(wire) + 1) if step < 2999 else len(wire)
    for event in other.receive_data(wire[:cut]):
        if isinstance(event, Data):
            came[event.stream] += event.data
            other.consumed(event.stream, len(event.data))
        elif isinstance(event, Message):
            messages.append(event.content["step"])
    wire = wire[cut:]
    one.receive_data(other.data_to_send())
for event in other.receive_data(one.data_to_send(1 << 30)):
    if isinstance(event, Data):
        came[event.stream] += event.data
assert came == sent and all(sent.values())
assert messages == list(range(0, 3000, 100)), messages
print("talked")
"""
    assert run(python, source) == "talked\n"


def test_the_facts_can_be_collected(python: str) -> None:
    source = "import runpy; runpy.run_module('board_agent.bootstrap.facts', None, '__main__')"
    facts = reply.last(run(python, source).encode())
    assert facts is not None
    assert facts["python"].startswith("3.8.")


def test_a_kernel_of_that_python_runs(board_python: str) -> None:
    with agents.running(python=board_python) as agent, Session(agent) as session:
        ready = session.start(python=board_python)
        assert ready["type"] == "ready"
        assert ready["ipykernel"].startswith("6.29.")
        session.say("end")
        assert session.wait_for("ended")["status"] == 0
