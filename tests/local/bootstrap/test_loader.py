"""How our code gets onto a board: unpacked whole or not at all, and loaded in its place."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import board_agent
from rkernel_launcher.board import agent_archive
from tests.support.commands import disk
from tests.support.pythons import interpreter

# Plays the bootstrap session: executes what is to stand alone, then calls it step by step.
BOARD = """
import json, resource, sys
steps, source = json.loads(sys.stdin.buffer.readline())
before = set(sys.modules)
namespace = {"__name__": "rkernel_install"}
exec(source, namespace)
for name, arguments, size in steps:
    if name == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (arguments[0], arguments[0]))
        continue
    if name == "modules":
        print(json.dumps({"modules": sorted(set(sys.modules) - before)}))
        continue
    data = [sys.stdin.buffer.read(size)] if size else []
    print(namespace[name](*arguments, *data), flush=True)
"""
NEEDED_TO_UNPACK = (
    *("__init__", "bootstrap/__init__", "bootstrap/unpack", "common/__init__", "common/home"),
    *("common/bundle_format", "common/reply"),
)
Step = tuple[str, list[Any], bytes]


@pytest.fixture(params=["this", "3.8"])
def python(request: pytest.FixtureRequest) -> str:
    return interpreter(request.param)


def board(cache: Path, *steps: Step, python: str = sys.executable) -> list[dict[str, Any]]:
    """Take steps on a board whose cache folder is given; return what each said."""
    with start(cache, *steps, python=python) as process:
        out, complaint = process.communicate(feed(*steps), timeout=60)
    assert process.returncode == 0, complaint.decode()
    return [json.loads(line) for line in out.splitlines()]


def start(cache: Path, *steps: Step, python: str = sys.executable) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [python, "-c", BOARD],
        cwd="/",
        env={"XDG_CACHE_HOME": str(cache), "HOME": str(cache), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def feed(*steps: Step) -> bytes:
    plan = [[name, arguments, len(data)] for name, arguments, data in steps]
    line = json.dumps([plan, agent_archive.loader_source()]).encode() + b"\n"
    return line + b"".join(data for _, _, data in steps)


def load(version: str = agent_archive.version()) -> Step:
    return ("load", [version], b"")


def install(version: str = agent_archive.version(), archive: bytes | None = None) -> Step:
    return ("install", [version], agent_archive.archive() if archive is None else archive)


def source_of(module: str) -> str:
    return (Path(board_agent.__file__).parent / f"{module}.py").read_text("utf-8")


def test_our_code_is_installed_and_loaded(tmp_path: Path, python: str) -> None:
    facts: Step = ("call", ["facts", json.dumps({"python": None})], b"")
    said = board(tmp_path, load(), install(), load(), facts, python=python)
    assert said[:3] == [{"installed": False}, {}, {"installed": True}]
    assert Path(said[3]["executable"]).samefile(python)
    [folder] = (tmp_path / "rkernel").iterdir()
    assert folder.name == "code-" + agent_archive.version()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    sources = {path.with_suffix("") for path in folder.rglob("*.py")}
    compiled = {path.parents[1] / path.name.split(".")[0] for path in folder.rglob("*.pyc")}
    inside = folder / "board_agent"
    assert sources == compiled >= {inside / "agent" / "agent", inside / "link" / "link"}
    assert board(tmp_path, load(), python=python) == [{"installed": True}]


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    board(tmp_path, install())
    [folder] = (tmp_path / "rkernel").iterdir()
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*.py"))
    assert board(tmp_path, install(), load()) == [{}, {"installed": True}]
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*.py")) == before
    assert list((tmp_path / "rkernel").iterdir()) == [folder]


def test_two_launchers_may_install_at_once(tmp_path: Path) -> None:
    steps = (install(), load())
    boards = [start(tmp_path, *steps) for _ in range(3)]
    for process in boards:
        assert process.stdin is not None
        process.stdin.write(feed(*steps))
        process.stdin.flush()
    for process in boards:
        out, complaint = process.communicate(timeout=60)
        assert out.splitlines() == [b"{}", b'{"installed": true}'], complaint.decode()
    assert len(list((tmp_path / "rkernel").iterdir())) == 1


def test_a_service_that_runs_for_long_loads_the_version_asked_for(tmp_path: Path) -> None:
    def version(name: str) -> tuple[Step, Step]:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for needed in NEEDED_TO_UNPACK:
                archive.writestr(f"board_agent/{needed}.py", source_of(needed))
            archive.writestr("board_agent/bootstrap/other.py", f"NAME = {name!r}")
            source = "from .other import NAME\ndef name():\n    return {'name': NAME}\n"
            archive.writestr("board_agent/bootstrap/remote_calls.py", source)
        return install(name, buffer.getvalue()), load(name)

    ask: Step = ("call", ["name", "{}"], b"")
    said = board(tmp_path, *version("old"), ask, *version("new"), ask, load("old"), ask)
    assert [answer["name"] for answer in said if "name" in answer] == ["old", "new", "old"]


def test_a_cache_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [said] = board(tmp_path / "file", install())
    assert said["error"] == "ENOTDIR" and said["detail"]
    assert said["path"] == f"{tmp_path}/file/rkernel/code-{agent_archive.version()}"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_cache_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    [said] = board(tmp_path, install())
    assert said["error"] == "EACCES"


def test_an_installation_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    [said, loaded] = board(tmp_path, ("limit", [3000], b""), install(), load())
    assert said["error"] == "EFBIG"
    assert loaded == {"installed": False}
    assert not list((tmp_path / "rkernel").iterdir())


def test_a_disk_that_is_full_when_it_is_unpacked_keeps_nothing(tmp_path: Path) -> None:
    room = len(agent_archive.archive()) + (64 << 10)  # for the archive, but not for what is in it
    with disk(tmp_path / "disk", f"size={room}") as cache:
        [said, loaded] = board(cache, install(), load())
        assert said["error"] == "ENOSPC" and said["path"].startswith(str(cache))
        assert loaded == {"installed": False}
        assert not list((cache / "rkernel").iterdir())


def test_an_archive_that_is_none_is_told(tmp_path: Path) -> None:
    [said] = board(tmp_path, install(archive=b"not what was sent"))
    assert said["error"] == "" and said["detail"]
    assert not list((tmp_path / "rkernel").iterdir())


def test_little_is_imported_where_a_service_keeps_it(tmp_path: Path, python: str) -> None:
    """Python's own that such a service has in any case, as threading, are not counted."""
    other: Step = ("call", ["bundle_state", json.dumps({"name": "bundle-x"})], b"")
    facts: Step = ("call", ["facts", json.dumps({"python": None})], b"")
    steps = install(), load(), other, facts, ("modules", [], b"")
    new = board(tmp_path, *steps, python=python)[-1]["modules"]
    ours = {name for name in new if name.startswith("board_agent")}
    assert ours == {
        *("board_agent", "board_agent.bootstrap", "board_agent.common", "board_agent.common.home"),
        *("board_agent.common.agent_lock", "board_agent.common.groups"),
        "board_agent.common.reply",
        *("board_agent.bootstrap.remote_calls", "board_agent.bootstrap.bundle_receiver"),
    }
    assert not {"typing", "zipfile", "hashlib", "compileall", "shutil"} & set(new)
