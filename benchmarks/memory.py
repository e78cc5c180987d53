"""Measure the memory that the agent and a kernel take of an emulated board (PSS, proc(5)).

With the runtime that is sent along, on a board whose Python has no packages; and with the packages
of a board, which has to be a larger one.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable

from tests.support.boards import Board, pss
from tests.support.emulator.image import SUITES
from tests.support.kernels import Frontend, started

from .support.boards import behind_networks
from .support.table import markdown

RUNTIMES = {"the runtime sent along": "bundled", "the board's own packages": "board"}
PACKAGES = "/usr/lib/python3/dist-packages"
LARGER = 256  # MB
MOMENTS: dict[str, Callable[[Frontend], object]] = {
    "idle": lambda kernel: None,
    "after the first cell": lambda kernel: kernel.run("print(6 * 7)"),
    "after a traceback": lambda kernel: kernel.run("1 / 0"),
    "after a completion": lambda kernel: kernel.reply(kernel.client.complete("import js")),
}
GROUPS = 24  # of modules, that are listed

# Runs a kernel that says what importing each of its modules took, beside what that imported.
ACCOUNT = """\
import importlib._bootstrap as bootstrap, json, os, socket, sys, tempfile, threading
def pss():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
sizes, open_imports, load = {}, [], bootstrap._load_unlocked
def measured(spec):
    before = pss()
    open_imports.append(0)
    try:
        return load(spec)
    finally:
        size, inner = pss() - before, open_imports.pop()
        group = spec.name.partition(".")[0]
        sizes[group] = sizes.get(group, 0) + size - inner
        if open_imports:
            open_imports[-1] += size
code, runtime = sys.argv[1:3]
sys.path.insert(0, code)
folder = tempfile.mkdtemp()
info = {"transport": "ipc", "ip": folder + "/k", "key": "x", "signature_scheme": "hmac-sha256"}
for number, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1):
    info[name + "_port"] = number
with open(folder + "/c", "w") as file:
    json.dump(info, file)
ours, theirs = socket.socketpair()
out = os.dup(1)  # the kernel takes the other for its frontend
begin = pss()
def report():
    ours.recv(4096)
    said = {"begin": begin, "all": pss(), "groups": sizes}
    os.write(out, json.dumps(said).encode())
    os._exit(0)
threading.Thread(target=report, daemon=True).start()
bootstrap._load_unlocked = measured
from board_agent.kernel import main as kernel
options = ["--ipykernel", runtime] if runtime else []
kernel.main([str(theirs.fileno()), folder + "/c", "/", *options])
"""


def main(arguments: list[str]) -> int:
    """Measure, and print two tables; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default="bookworm", help="of the board")
    parser.add_argument("--memory", type=int, default=64, help="MB that the board has")
    options = parser.parse_args(arguments)
    rows: list[list[str]] = []
    groups = {}
    for title, runtime in RUNTIMES.items():
        memory = options.memory if runtime == "bundled" else LARGER
        with behind_networks(options.suite, 1, memory=memory) as here:
            if runtime == "bundled":
                here.board.shell(f"rm -r {PACKAGES}")  # from the overlay of this run
            ssh = "--host", here.names[0], "--orphan-timeout", "0", "--ipykernel", runtime
            rows += _moments(here.board, title, ssh)
            groups[title] = _account(here.board, runtime)
    print(f"{options.suite}, {options.memory} MB; PSS in MB\n")
    print(*markdown(["", "", "agent", "kernel", "both"], rows), "", sep="\n")
    print(*markdown(["importing, in kB", *RUNTIMES], _by_group(list(groups.values()))), sep="\n")
    return 0


def _moments(board: Board, title: str, options: tuple[str, ...]) -> list[list[str]]:
    rows = []
    with started(board, *options) as kernel:
        for moment, action in MOMENTS.items():
            action(kernel)
            kernels = board.kernels()
            agent, own = (sum(pss(board.shell, p)) for p in (board.agents() - kernels, kernels))
            rows.append([title, moment, f"{agent:.1f}", f"{own:.1f}", f"{agent + own:.1f}"])
    return rows


def _account(board: Board, runtime: str) -> dict[str, int]:
    """Return what importing each package takes in a kernel, in kB, and all that it takes."""
    code = "$(ls -d ~/.cache/rkernel/code-* | tail -1)"
    folder = "$(ls -d ~/.cache/rkernel/bundle-*)" if runtime == "bundled" else "''"
    said = board.shell(f"python3 -c {shlex.quote(ACCOUNT)} {code} {folder} 2>/dev/null | tail -1")
    found = json.loads(said)
    imported = sum(found["groups"].values())
    rest = found["all"] - found["begin"] - imported
    return {"all": found["all"], "Python": found["begin"], "run": rest, **found["groups"]}


def _by_group(columns: list[dict[str, int]]) -> list[list[str]]:
    names = dict.fromkeys(name for column in columns for name in column)
    largest = sorted(names, key=lambda name: -max(column.get(name, 0) for column in columns))
    return [[name, *(str(column.get(name, 0)) for column in columns)] for name in largest[:GROUPS]]
