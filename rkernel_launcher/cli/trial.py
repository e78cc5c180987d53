"""The trial of a kernel on a board: `rkernel add` starts one to see whether it works."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from .. import target as targets
from ..errors import CheckFailed, KernelSilent
from ..sanitize import escape_controls
from ..target import Target

READY_SECONDS = 120.0  # the first import of ipykernel takes 50 s where there are no .pyc files
CELL_SECONDS = 30.0


@contextmanager
def running(
    target: Target, environment: dict[str, str] | None = None, python: str = sys.executable
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Run a kernel as a frontend does.

    Args:
        target: Where and how to run it.
        environment: The launcher's environment variables; ours by default.
        python: The Python that runs the launcher.

    Yields:
        The kernel's manager and a client, once the kernel is ready; it runs until the block ends.

    Raises:
        KernelSilent: The kernel is not ready in time.
        CheckFailed: There is no kernel; the error contains what the launcher printed.
    """
    host = target.name
    argv = [python, "-m", "rkernel_launcher", *targets.to_argv(target)]
    with tempfile.TemporaryDirectory(prefix="rkernel-") as folder:
        manager = _Manager(connection_file=str(Path(folder, "rkernel-check.json")))
        manager.spec = KernelSpec(argv=[*argv, "-f", "{connection_file}"], language="python")
        output = Path(folder, "stderr")
        client: BlockingKernelClient | None = None
        try:
            with output.open("wb") as stderr:
                more = {} if environment is None else {"env": environment}
                manager.start_kernel(stdout=subprocess.DEVNULL, stderr=stderr, **more)
            client = manager.client()
            client.start_channels()
            if not _is_ready(manager, client, host):
                lines = escape_controls(output.read_text("utf-8", "replace")).split("\n")
                raise CheckFailed(host=host, detail=" ".join(lines).strip())
            yield manager, client
        finally:
            if client is not None:
                client.stop_channels()
            if manager.has_kernel:
                manager.shutdown_kernel()
            manager.cleanup_resources()


def _is_ready(manager: KernelManager, client: BlockingKernelClient, host: str) -> bool:
    """Wait until there is a kernel; say whether there is one.

    Raises:
        KernelSilent: Nothing answers in time.
    """
    try:
        client.wait_for_ready(timeout=READY_SECONDS)  # then the launcher answers, or the kernel
        reply = client.execute("", silent=True, reply=True, timeout=READY_SECONDS)
    except (RuntimeError, TimeoutError) as error:
        if manager.is_alive():
            raise KernelSilent(host=host, seconds=READY_SECONDS) from error
        return False  # the launcher has ended
    return bool(reply["content"]["status"] == "ok")


class _Manager(KernelManager):
    """A manager of a kernel whose spec is not in a file yet."""

    spec: KernelSpec

    @property
    def kernel_spec(self) -> KernelSpec:
        return self.spec


def kernel(target: Target, python: str = sys.executable) -> None:
    """Start a kernel on a board, run a cell, and stop the kernel.

    Args:
        target: Where and how to run it.
        python: The Python that runs the launcher.

    Raises:
        KernelSilent: The kernel is not ready in time, or does not answer.
        CheckFailed: The launcher has ended, or the cell printed something else than it should.
    """
    host = target.name
    printed: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        content = message["content"]
        printed.extend(content.get(key, "") for key in ("text", "evalue"))

    with running(target, python=python) as (_, client):
        try:
            client.execute_interactive("print(6 * 7)", timeout=CELL_SECONDS, output_hook=collect)
        except TimeoutError as error:
            raise KernelSilent(host=host, seconds=CELL_SECONDS) from error
    if (text := "".join(printed).strip()) != "42":
        raise CheckFailed(host=host, detail=f"print(6 * 7) printed {escape_controls(text)!r}.")
