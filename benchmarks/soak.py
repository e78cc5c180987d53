"""Work with four kernels over networks that are cut all the time: nothing lost, memory flat."""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import mean

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from tests.support.boards import Board, pss

from .support import table
from .support.boards import KINDS, Place, behind_networks
from .support.expected_output import Counts
from .support.fault_injection import RandomCuts
from .support.processes import resident
from .support.soak_clients import SharedKernel, SoakClient, Stuck

KERNELS = 4
CLIENTS = 2  # of each kernel
SAMPLE_SECONDS = 60.0  # between looks at memory, or a tenth of the time if that is less
PATIENCE_SECONDS = 600.0  # for all kernels to start
LOOK_SECONDS = 1.0  # between looks at whether anybody still works
END_SECONDS = 15.0  # for a launcher to end once its kernel is told to
SHARES = (0.1, 0.5, 1.0)  # of the time, at which memory is reported


@dataclass(frozen=True)
class Memory:
    """What it takes after so many seconds, in MB.

    The largest launcher's resident set on the PC; all agents' and the mean kernel's proportional
    set on the board.
    """

    seconds: float
    launcher: float
    agents: float
    kernel: float


@dataclass
class Report:
    """What came of a soak."""

    minutes: float
    board: str
    seed: int
    cuts: Counter[str] = field(default_factory=Counter)
    counts: dict[str, Counts] = field(default_factory=dict)
    memory: list[Memory] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What was wrong, in words."""
        return [f"{name}: {f}" for name, counts in self.counts.items() for f in counts.faults]

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong, and anything happened at all."""
        return not self.faults and self.cuts.total() > 0 and self._sum("received") > 0

    def lines(self) -> list[str]:
        """Return the lines of a Markdown table."""
        requests = sum((counts.requests for counts in self.counts.values()), Counter[str]())
        rows = [
            ["minutes", f"{self.minutes:g}"],
            ["board", self.board],
            ["seed", str(self.seed)],
            ["kernels, clients", f"{KERNELS}, {KERNELS * CLIENTS}"],
            *([f"cuts: {kind}", str(count)] for kind, count in sorted(self.cuts.items())),
            *([f"requests: {kind}", str(count)] for kind, count in sorted(requests.items())),
            ["lines received", str(self._sum("received"))],
            ["lost", str(self._sum("lost"))],
            ["twice", str(self._sum("twice"))],
            ["requests heard out of order", str(self._sum("disordered"))],
            ["faults in all", str(len(self.faults) + self._sum("more_faults"))],
            *self._memory_rows(),
        ]
        return table.markdown(["", self.board], rows)

    def _sum(self, name: str) -> int:
        return sum(getattr(counts, name) for counts in self.counts.values())

    def _memory_rows(self) -> list[list[str]]:
        if not self.memory:
            return []
        end = self.minutes * 60
        samples = [min(self.memory, key=lambda m: abs(m.seconds - s * end)) for s in SHARES]
        at = "at " + ", ".join(f"{share:.0%}" for share in SHARES)
        names = {
            "launcher": f"largest launcher, RSS, {at}",
            "agents": f"agents, PSS, {at}",
            "kernel": f"mean kernel, PSS, {at}",
        }
        return [
            [title, ", ".join(f"{getattr(sample, name):.1f}" for sample in samples) + " MB"]
            for name, title in names.items()
        ]


def main(arguments: list[str]) -> int:
    """Soak, and print a table; the exit status is 1 when anything was lost or wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--board", choices=KINDS, default=KINDS[0])
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the cuts")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    report = soak(options.minutes, options.board, options.seed)
    print(*report.lines(), sep="\n")
    for fault in report.faults:
        print(fault, file=sys.stderr)
    return 0 if report.ok else 1


def soak(minutes: float, board: str = KINDS[0], seed: int = 0) -> Report:
    """Run kernels and clients for a time over networks that are cut again and again.

    Parameters: minutes; board, local or a suite of the emulated one; seed, of the cuts and of what
    the clients ask for.
    """
    report = Report(minutes, board, seed)
    with behind_networks(board, KERNELS) as there, ExitStack() as stack:
        kernels = [stack.enter_context(_started(there, name)) for name in there.names]
        report.counts = {kernel.name: kernel.counts for kernel in kernels}
        cuts = RandomCuts(there.networks, Random(seed))
        report.cuts = cuts.counts
        ready = threading.Barrier(KERNELS * CLIENTS + 1)
        over = threading.Event()
        threads = [
            threading.Thread(target=_be_client, args=(kernel, number, seed, ready, over))
            for kernel in kernels
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            ready.wait(PATIENCE_SECONDS)
            with cuts:
                _watch(report, there.board, kernels)
        except threading.BrokenBarrierError:
            pass  # whoever broke it has said why
        except BaseException:
            for kernel in kernels:
                kernel.failed.set()  # nobody need wait for anything
            raise
        finally:
            over.set()
            for thread in threads:
                thread.join()
    return report


def _be_client(
    kernel: SharedKernel, number: int, seed: int, ready: threading.Barrier, over: threading.Event
) -> None:
    """Be one client of a kernel, until it is over."""
    name = f"client {number}"
    random = Random(f"{seed} {kernel.name} {name}")
    client = SoakClient(kernel, name, random, interrupts=number == 0)
    try:
        client.join()
        ready.wait(PATIENCE_SECONDS)
        client.work(over)
        client.listen()
    except threading.BrokenBarrierError:
        pass  # another one failed
    except Stuck as error:
        client.give_up(str(error))
    except BaseException as error:
        client.give_up(repr(error))
        raise
    finally:
        client.close()
        if not over.is_set() and kernel.failed.is_set():
            ready.abort()  # nobody waits for this one


def _watch(report: Report, board: Board, kernels: list[SharedKernel]) -> None:
    """Look at memory until the time is up, or nobody works any more."""
    start, seconds = time.monotonic(), report.minutes * 60
    interval = min(SAMPLE_SECONDS, seconds * min(SHARES))
    while (now := time.monotonic() - start) < seconds:
        if all(kernel.failed.is_set() for kernel in kernels):
            return
        due = interval * (len(report.memory) + 1)
        if now >= due:
            report.memory.append(_memory(now, board, kernels))
            _say(report)
        else:
            time.sleep(min(LOOK_SECONDS, due - now))
    report.memory.append(_memory(seconds, board, kernels))


def _memory(seconds: float, board: Board, kernels: list[SharedKernel]) -> Memory:
    running = [kernel.process.pid for kernel in kernels if kernel.process.poll() is None]
    launchers = [resident(pid) for pid in running]
    sizes = pss(board.shell, board.kernels())
    return Memory(
        seconds,
        launcher=max(launchers, default=0.0),
        agents=sum(pss(board.shell, board.agents())),
        kernel=mean(sizes) if sizes else 0.0,
    )


def _say(report: Report) -> None:
    now = report.memory[-1]
    counts = report.counts.values()
    said = [
        f"{now.seconds:.0f} s",
        f"{report.cuts.total()} cuts",
        f"{sum(c.requests.total() for c in counts)} requests",
        f"{sum(c.received for c in counts)} lines",
        f"{sum(c.lost for c in counts)} lost",
        f"launcher {now.launcher:.1f} MB, agents {now.agents:.1f} MB",
    ]
    print(*said, sep=", ", file=sys.stderr, flush=True)


@contextmanager
def _started(there: Place, name: str) -> Iterator[SharedKernel]:
    """Start a launcher, and end it at last."""
    path, info = write_connection_file(
        f"{there.board.folder}/{name}.json", key=secrets.token_hex(16).encode()
    )
    log = Path(path).with_suffix(".log")
    launcher = [sys.executable, "-m", "rkernel_launcher", "--via", "ssh", "--host", name]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*launcher, *there.board.options, "-f", path],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=there.board.environment,
            start_new_session=True,
        )
    try:
        yield SharedKernel(name, process, info, log)
    finally:
        client = BlockingKernelClient()
        client.load_connection_info(info)
        client.start_channels(hb=False)
        client.shutdown()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        client.stop_channels()
