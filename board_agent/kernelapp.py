"""The stock kernel application, whose output waits for a slow link and is never dropped.

The only module that imports ipykernel, from what the board has installed.
"""

import threading
import time
from typing import Any, Callable

import zmq
from ipykernel import iostream
from ipykernel.kernelapp import IPKernelApp

QUEUED_EVENTS = 64  # iopub messages that may wait in the kernel before a cell has to wait
QUEUED_TEXT = 1 << 20  # characters of printed text that may wait in the kernel
IOPUB_HWM = 16  # messages that libzmq may hold back
PAUSE = 0.02  # seconds between looks at a queue that is full


class OutStream(iostream.OutStream):  # type: ignore[misc]
    """The stock stream; a print waits while the link has not taken what was printed before."""

    flush_timeout = 86400.0  # seconds; the stock 10 s would print a complaint into the cell
    _written = 0

    def write(self, string: str) -> Any:
        """Write text, as soon as there is room for it."""
        while self._written > QUEUED_TEXT and not self.closed:
            time.sleep(PAUSE)
        if isinstance(string, str):
            self._written += len(string)
        return super().write(string)

    def _flush(self) -> None:
        self._written = 0
        super()._flush()


class KernelApp(IPKernelApp):  # type: ignore[misc]
    """The stock application; its iopub socket blocks where the stock one drops."""

    def _bind_socket(self, s: Any, port: int) -> Any:
        if s.getsockopt(zmq.TYPE) in (zmq.PUB, zmq.XPUB):
            s.setsockopt(zmq.SNDHWM, IOPUB_HWM)
            s.setsockopt(zmq.XPUB_NODROP, 1)
        return super()._bind_socket(s, port)

    def init_iopub(self, context: Any) -> None:
        """Bind iopub, and make threads that publish wait while its thread waits for the link."""
        super().init_iopub(context)
        iopub_thread = self.iopub_thread
        schedule: Callable[[Callable[[], Any]], None] = iopub_thread.schedule

        def patient_schedule(event: Callable[[], Any]) -> None:
            if threading.current_thread() is not iopub_thread.thread:
                while len(iopub_thread._events) > QUEUED_EVENTS and iopub_thread.thread.is_alive():
                    time.sleep(PAUSE)
            schedule(event)

        iopub_thread.schedule = patient_schedule


def make(connection_file: str) -> Any:
    """Return an application that is bound to its sockets and ready to start."""
    app = KernelApp.instance(
        outstream_class="board_agent.kernelapp.OutStream",
        parent_handle=1,  # somebody minds us (the lifeline), so ipykernel need not
    )
    app.initialize(["-f", connection_file])
    return app
