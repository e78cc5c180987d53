"""`rkernel demo`: a short notebook without a board; a process of this machine plays the board.

The bootstrap, the agent, the link and the launcher are those of any board, and the launcher starts
as from a kernelspec. All of it lives in a folder that is gone afterwards.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from ... import os_support
from ...errors import DemoFailed, KernelSilent, NotSupportedHere
from ...sanitize import escape_controls
from ...target import Target
from .. import trial
from ..console import Report

AGENT_SECONDS = 10.0  # for the agent to end its kernels and itself
SPINNING = "around it goes"
PIXEL = (  # a PNG of one orange pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4XK4GAAPxAZFpEPb2AAAAAElFTkSuQmCC"
)

Message = dict[str, Any]


@click.command()
def demo() -> None:
    """Run a short notebook on a board that this machine plays."""
    if os_support.WINDOWS:
        raise NotSupportedHere()
    report = Report()
    start = time.monotonic()
    with _throwaway() as environment, ExitStack() as stack:
        with report.stage("Starting a kernel on a board that this machine plays"):
            kernel = trial.running(Target(via="local"), environment)
            manager, client = stack.enter_context(kernel)
        _Notebook(report, manager, client).run()
    seconds = time.monotonic() - start
    report.say(f"Done in {seconds:.1f} s. The kernel, the agent and their files are gone.", "bold")


@contextmanager
def _throwaway() -> Iterator[dict[str, str]]:
    """Yield an environment whose files are removed; after it, end the agent and wait for that."""
    # /tmp, since a socket's path may have 107 characters and a Mac's TMPDIR takes half of them
    place = "/tmp" if os.access("/tmp", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="rkernel-demo-", dir=place) as name:
        folder = Path(name)
        kept = ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        try:
            yield {**os.environ, **dict.fromkeys(kept, name)}
        finally:
            _end_agents(folder / "rkernel")


def _end_agents(folder: Path) -> None:
    """End the agents whose state is below a folder, and wait until they have removed it."""
    states = list(folder.glob("*/agent.json"))
    for state in states:
        os.kill(json.loads(state.read_text())["pid"], signal.SIGTERM)
    deadline = time.monotonic() + AGENT_SECONDS
    while any(state.parent.exists() for state in states) and time.monotonic() < deadline:
        time.sleep(0.02)


class _Notebook:
    """The cells, one after the other on a running kernel."""

    def __init__(
        self, report: Report, manager: KernelManager, client: BlockingKernelClient
    ) -> None:
        self._console = report.console
        self._manager = manager
        self._client = client
        self._number = 0

    def run(self) -> None:
        """Run all cells and show their outputs.

        Raises:
            KernelSilent: A cell does not end in time.
            DemoFailed: A cell does not show what it should.
        """
        self._cell("import platform\nplatform.uname()", "uname_result")
        self._cell("255 / 0", "ZeroDivisionError")
        self._cell(
            "import base64\n"
            "from IPython.display import HTML, Image, display\n"
            "display(HTML('<b>bold</b> words'))\n"
            f"Image(base64.b64decode('{PIXEL}'))",
            "image/png",
        )
        self._complete("platform.mach")
        self._cell("kept = 41")
        loop = f"print('{SPINNING}')\nwhile True:\n    pass"
        self._cell(loop, "KeyboardInterrupt", self._manager.interrupt_kernel)
        self._cell("kept + 1", "42")

    def _cell(
        self, code: str, expected: str = "", at_output: Callable[[], None] | None = None
    ) -> None:
        """Run a cell and show it.

        Args:
            code: The cell.
            expected: What its output must contain.
            at_output: Called at its first output.
        """
        self._number += 1
        shown: list[Text] = []

        def on_output(message: Message) -> None:
            nonlocal at_output
            if text := _output(message):
                shown.append(text)
                if at_output is not None:
                    at_output()
                    at_output = None

        self._console.print()
        self._console.print(Text(f"In [{self._number}]:", "green"))
        self._console.print(
            Syntax("", "python", theme="ansi_dark", background_color="default").highlight(code),
            end="",
        )
        try:
            self._client.execute_interactive(
                code, timeout=trial.CELL_SECONDS, output_hook=on_output
            )
        except TimeoutError as error:
            raise KernelSilent(host="this machine", seconds=trial.CELL_SECONDS) from error
        for text in shown:
            self._console.print(text)
        if expected not in "".join(text.plain for text in shown):
            raise DemoFailed(detail=f"cell {self._number} did not show {expected}")

    def _complete(self, start: str) -> None:
        """Complete a name and show what the kernel offers."""
        reply = self._client.complete(start, reply=True, timeout=trial.CELL_SECONDS)
        matches = reply["content"]["matches"]
        self._console.print()
        self._console.print(Panel(", ".join(matches), title=f"{start}⇥", expand=False))
        if not any(match.endswith("machine") for match in matches):
            raise DemoFailed(detail=f"the kernel did not complete {start}")


def _output(message: Message) -> Text | None:
    """Return what a terminal can show of an output; None for a message that is not an output."""
    content = message["content"]
    match message["msg_type"]:
        case "stream":
            return Text(escape_controls(content["text"]).rstrip("\n"))
        case "error":
            return Text.from_ansi("\n".join(content["traceback"]))
        case "execute_result" | "display_data":
            text = Text(escape_controls(content["data"].get("text/plain", "")))
            for kind, data in sorted(content["data"].items()):
                if kind != "text/plain":
                    text.append(f"\n{kind}, {len(data)} characters", "dim")
            return text
    return None
