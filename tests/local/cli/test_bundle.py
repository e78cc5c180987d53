"""What is sent to a board that has only Python: made here, sent, installed, used, removed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import run_kernel

from rkernel_launcher import errors
from rkernel_launcher.board import board as boards
from rkernel_launcher.board import reach
from rkernel_launcher.board.bundle import build, upload, wheels
from rkernel_launcher.target import Target
from tests.support import sshd
from tests.support.boards import Board
from tests.support.cache import KEPT, share_wheels
from tests.support.commands import disk, fill, kernels, rkernel, slave_service
from tests.support.environments import bare
from tests.support.network import Network
from tests.support.ports import unused_port
from tests.support.pythons import interpreters

OLDEST = "3.8" if "3.8" in interpreters() else f"3.{sys.version_info.minor}"
TRIED = [v for v in ("3.8", "3.9", "3.11", "3.13") if v in interpreters()]
MOST = 6 << 20  # bytes on a board's flash


@pytest.fixture
def warm(home: Board) -> Path:
    """Give this PC's cache of wheels, which tests share: what one has fetched, all have."""
    share_wheels(wheels.cache())
    return wheels.cache()


@contextmanager
def reached(wanted: Target) -> Iterator[boards.Board]:
    """Reach a board, with our code there."""
    board = reach.reach(wanted)
    try:
        board.prepare()
        yield board
    finally:
        board.close()


def local(version: str = OLDEST) -> Target:
    return Target(via="local", python=bare(version), ipykernel="bundled")


def on_board(home: Board) -> list[str]:
    """List what the board keeps of ours that is not our code."""
    place = Path(home.environment["XDG_CACHE_HOME"], "rkernel")
    return sorted(e.name for e in place.iterdir() if not e.name.startswith(("code-", "rpyc-")))


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{unused_port()}/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def ran(client: BlockingKernelClient, code: str) -> str:
    """Run a cell; return all that it shows, without colours."""
    shown: list[str] = []

    def note(message: dict[str, Any]) -> None:
        content = message["content"]
        shown.extend([content.get("text", ""), "\n".join(content.get("traceback", []))])
        shown.append(content.get("data", {}).get("text/plain", ""))

    def answer(message: dict[str, Any]) -> None:
        client.input("q" if "ipdb" in message["content"]["prompt"] else "an answer")

    client.execute_interactive(
        code, timeout=60, output_hook=note, stdin_hook=answer, allow_stdin=True
    )
    return re.sub(r"\x1b\[[\d;]*m", "", "".join(shown))


# --- made ---------------------------------------------------------------------------------------


def test_the_pins_are_of_the_versions_that_boards_have() -> None:
    assert wheels.versions() == ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
    for version in wheels.versions():
        lines = wheels.pins(version).splitlines()
        assert len(wheels.packages(version)) == len(lines) > 20
        assert {"ipykernel", "ipython", "tornado", "jedi"} < set(wheels.packages(version))
        assert not {"pyzmq", "psutil", "debugpy"} & set(wheels.packages(version))
    with pytest.raises(errors.NoBundle, match=r"Python 3\.7, only for 3\.8, 3\.9"):
        build.name("3.7")


@pytest.mark.parametrize("version", sorted({OLDEST, f"3.{sys.version_info.minor}"}))
def test_the_same_pins_give_the_same_archive(warm: Path, version: str) -> None:
    one, other = build.build.__wrapped__(version), build.build.__wrapped__(version)
    assert one == other
    assert one.name == build.name(version)
    with zipfile.ZipFile(BytesIO(one.content)) as files:
        names = files.namelist()
        precompiled = files.read("precompiled").decode().split("\n")
        with zipfile.ZipFile(BytesIO(files.read("sources.zip"))) as sources:
            modules = sources.namelist()
    assert {"IPython/core/magic.py", "ipykernel/kernelbase.py", "tornado/ioloop.py"} < set(
        precompiled
    )
    assert set(precompiled) < set(modules)
    assert "tornado/web.py" in modules
    left = [n for n in [*names, *modules] if n.endswith((".so", ".pyd")) or "/tests/" in n]
    assert left == []
    assert one.unpacked < 1.2 * MOST  # it is estimated, and what is estimated has to fit


def test_fetch_makes_the_internet_needless(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    run = rkernel("fetch", "--python", OLDEST)
    where = {"version": OLDEST, "folder": wheels.cache()}
    assert run.returncode == 1
    assert f"This PC lacks the packages for Python {OLDEST}" in run.stderr
    assert errors.NoWheels.remedy.format(**where) in run.stderr
    assert "Traceback" not in run.stderr
    monkeypatch.undo()
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    run = rkernel("fetch", "--python", OLDEST)
    assert (run.returncode, run.stderr) == (0, "")
    assert str(wheels.cache()) in run.stdout
    offline(monkeypatch)
    assert rkernel("fetch", "--python", OLDEST).returncode == 0


def test_a_wheel_that_was_changed_is_refused_and_fetched_again(
    home: Board, warm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = wheels.get(OLDEST)
    warm.unlink()
    shutil.copytree(KEPT / "wheels", warm)
    digest = hashlib.sha256(good[3]).hexdigest()
    changed = warm / f"{digest}.whl"
    changed.write_bytes(good[3][:-1] + b"!")
    with monkeypatch.context() as away:
        offline(away)
        with pytest.raises(errors.NoWheels):
            wheels.get(OLDEST)
    assert not changed.exists()
    changed.write_bytes(good[3][:-1] + b"!")
    assert wheels.get(OLDEST) == good
    assert changed.read_bytes() == good[3]


def test_a_cache_that_cannot_be_used(home: Board) -> None:
    wheels.cache().parent.mkdir(parents=True)
    wheels.cache().write_text("")
    with pytest.raises(errors.PcCacheUnusable, match=str(wheels.cache())):
        wheels.get(OLDEST)


# --- used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", TRIED)
def test_a_kernel_on_a_bare_python(home: Board, warm: Path, version: str) -> None:
    startup = Path(home.environment["IPYTHONDIR"], "profile_default", "startup")
    startup.mkdir(parents=True)
    (startup / "own.py").write_text(STARTUP)
    run = rkernel("add", "--via", "local", "--python", bare(version), "--name", "b")
    assert (run.returncode, run.stderr) == (0, "")
    pinned = wheels.packages(version)
    assert (
        f"ipykernel {pinned['ipykernel']}, IPython {pinned['ipython']}, sent by rkernel"
        in run.stdout
    )
    assert on_board(home) == [build.name(version)]
    with run_kernel(kernel_name="b") as client:
        said = ran(
            client, "import sys, ipykernel, IPython as I; ipykernel.__version__, I.__version__"
        )
        assert said == f"('{pinned['ipykernel']}', '{pinned['ipython']}')"
        for code, words in CELLS.items():
            assert words in ran(client, code), code
        for code, match in COMPLETIONS.items():
            request = client.complete(code)
            while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != request:
                pass
            assert match in reply["content"]["matches"], code
    run = rkernel("remove", "b", "--purge")
    assert (run.returncode, run.stderr) == (0, "")
    assert kernels(home) == []
    assert not Path(home.environment["XDG_CACHE_HOME"], "rkernel").exists()
    assert list(Path(home.environment["XDG_RUNTIME_DIR"]).iterdir()) == []


STARTUP = """
from urllib.request import Request
class Own(Request):
    'mine'
"""
CELLS = {
    "x = 6 * 7; x": "42",
    "Own.__doc__": "mine",
    "open('wcwidth.py', 'w').write('mine = True'); import wcwidth; wcwidth.mine": "True",
    # What an idle kernel has not loaded yet.
    "import sqlite3; sqlite3.connect(':memory:').execute('select 7').fetchone()": "(7,)",
    "import ssl; ssl.create_default_context().verify_mode": "CERT_REQUIRED",
    "import hashlib; len(hashlib.scrypt(b'p', salt=b's', n=2, r=1, p=1))": "64",
    "_ih is get_ipython().history_manager.input_hist_parsed, In is _ih": "(True, True)",
    "Out is get_ipython().history_manager.output_hist, len(Out) > 1": "(True, True)",
    "get_ipython().history_manager.enabled": "True",
    "%history -n 1-1": "1: import sys",
    "import pdb, IPython.core.debugger as d; pdb.Pdb is d.InterruptiblePdb is d.Pdb": "True",
    "def f():\n    breakpoint()\n    1\nf()": "breakpoint()",
    "get_ipython().parent.parent.blocking_class": "BlockingKernelClient",
    "from jupyter_client import KernelManager as m; m": "jupyter_client.manager",
    "import comm; comm.create_comm(target_name='t').target_name": "'t'",
    "display({'text/html': '<b>', 'text/plain': 'table'}, raw=True)": "table",
    "1 / 0": "ZeroDivisionError",
    "%timeit -n1 -r1 1": "per loop",
    "!echo from the shell": "from the shell",
    "%%bash\necho from bash": "from bash",
    "input('? ')": "an answer",
    "import inspect, IPython.core.magic as m; inspect.getsource(m)[:60]": "Magic",
    "import dateutil.parser as p; p.parse('no date')": "raise ParserError(",
    "import tornado.web; tornado.web.Application": "tornado.web.Application",
    "from IPython.display import Code; print(Code('x = 1', language='python')._repr_html_())": "hl",
    "from importlib.metadata import version; version('traitlets')": ".",
    "from comm import create_comm; create_comm(target_name='t').comm_id": "'",
    "import asyncio; await asyncio.sleep(0); 'awaited'": "awaited",
    "!{sys.executable} -c 'import ipykernel'": "No module named",
    "import psutil": "No module named",
    "%load_ext autoreload": "",
    "import IPython.lib.lexers, prompt_toolkit.document as p; p.Document('all').text": "all",
    "import zmq, ipykernel.kernelbase; ipykernel.kernelbase.__file__": "bundle-",
}
COMPLETIONS = {"import js": "json", "x.bit_l": "bit_length", "%tim": "%timeit"}


def test_a_board_that_lost_its_bundle_gets_it_again(home: Board, warm: Path) -> None:
    wanted = ["--via", "local", "--python", bare(OLDEST), "--ipykernel", "bundled", "--name", "b"]
    assert rkernel("add", *wanted, "--no-check").returncode == 0
    shutil.rmtree(Path(home.environment["XDG_CACHE_HOME"], "rkernel"))
    with run_kernel(kernel_name="b") as client:
        assert ran(client, "6 * 7") == "42"
    assert on_board(home) == [build.name(OLDEST)]


def test_whose_packages_are_used(home: Board, warm: Path, board_python: str) -> None:
    for said, words in (("auto", "ipykernel 6.29.5, pyzmq"), ("bundled", "sent by rkernel")):
        options = ["--via", "local", "--python", board_python, "--name", "b", "--yes", "--no-check"]
        run = rkernel("add", *options, "--ipykernel", said)
        assert run.returncode == 0
        assert words in run.stdout
        assert bool(on_board(home)) is (said == "bundled")
    run = rkernel("add", "--via", "local", "--python", bare(OLDEST), "--ipykernel", "board")
    assert run.returncode == 1
    assert "has no ipykernel" in run.stderr


def test_a_debugger_is_not_sent(home: Board) -> None:
    options = ["--via", "local", "--python", bare(OLDEST), "--ipykernel", "bundled", "--debugger"]
    detail = "the debugger needs the board's own ipykernel and debugpy"
    run = rkernel("add", *options)
    assert run.returncode == 1
    assert detail in run.stderr


# --- sent ---------------------------------------------------------------------------------------


@contextmanager
def over(way: str, home: Board) -> Iterator[tuple[Target, Callable[[], None]]]:
    """Give a board that is this machine, reached in one of the ways, and what cuts all links."""
    if way == "rpyc":
        with slave_service() as port, Network("127.0.0.1", port) as network:
            more = {"link_port": unused_port(), "python": bare(OLDEST)}
            yield Target("127.0.0.1", port=network.port, via="rpyc", **more), network.blip
        return
    setenv = "SetEnv " + " ".join(f"{k}={home.environment[k]}" for k in ("HOME", "XDG_CACHE_HOME"))
    with sshd.openssh(setenv) as server, Network("127.0.0.1", server.port) as network:
        key = sshd.keygen(Path(home.environment["HOME"], ".ssh", "id_ed25519"))
        server.authorize(key)
        Path(home.environment["HOME"], ".ssh", "known_hosts").write_text(
            server.known_hosts.replace(str(server.port), str(network.port))
        )
        yield server.target(port=network.port, python=bare(OLDEST)), network.blip


@pytest.mark.parametrize("way", ["rpyc", "ssh"])
def test_an_upload_that_was_cut_goes_on_where_it_was(home: Board, warm: Path, way: str) -> None:
    told: list[int] = []

    def note(step: str, done: int, size: int) -> None:
        if step == "Sending the packages":
            told.append(done)

    with over(way, home) as (wanted, cut):

        def cut_at_half(step: str, done: int, size: int) -> None:
            if step == "Sending the packages" and done > size // 2:
                cut()

        with reached(wanted) as board, pytest.raises(errors.BoardLost):
            upload.ensure(board, cut_at_half)
        with reached(wanted) as board:
            name = upload.ensure(board, note)
            size = len(build.build(OLDEST).content)
            assert told[0] > size // 2
            assert told[-1] == size
            assert upload.ensure(board, note) == name
            board.purge()


def test_what_came_damaged_is_sent_again(home: Board, warm: Path) -> None:
    with reached(local()) as board:
        part = Path(home.environment["XDG_CACHE_HOME"], "rkernel", f"{build.name(OLDEST)}.part")
        part.write_bytes(b"not what was sent" * 1000)
        with pytest.raises(errors.BundleFailed, match="damaged"):
            upload.ensure(board)
        assert on_board(home) == []
        assert upload.ensure(board) == build.name(OLDEST)
        assert on_board(home) == [build.name(OLDEST)]
        place = Path(home.environment["XDG_CACHE_HOME"], "rkernel", build.name(OLDEST))
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        assert size < MOST
        assert size < build.build(OLDEST).unpacked


def test_a_disk_that_is_too_small(home: Board, warm: Path) -> None:
    with small_disk(home, "6m"), reached(local()) as board:
        with pytest.raises(
            errors.NoSpaceForBundle, match=r"take \d+\.\d MB in .* only 3\.\d MB are free"
        ):
            upload.ensure(board)
        assert on_board(home) == []


@pytest.mark.parametrize("step", ["Sending the packages", "Compiling the packages there"])
def test_a_disk_that_fills_up_meanwhile(home: Board, warm: Path, step: str) -> None:
    with small_disk(home, "16m") as place, reached(local()) as board:

        def fill_up(now: str, done: int, size: int) -> None:
            if now == step and not (place / "full").exists():
                fill(place)

        with pytest.raises(errors.NoSpace):
            upload.ensure(board, fill_up)
        assert on_board(home) == ["full"]
        (place / "full").unlink()
        assert upload.ensure(board) == build.name(OLDEST)


@contextmanager
def small_disk(home: Board, size: str) -> Iterator[Path]:
    """Put the board's cache on a disk of its own."""
    place = Path(home.environment["XDG_CACHE_HOME"], "rkernel")
    place.parent.mkdir(parents=True, exist_ok=True)
    with disk(place, f"size={size}"):
        yield place
