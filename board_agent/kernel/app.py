"""The stock kernel application, whose output waits for a slow link and is never dropped.

The only module that imports ipykernel, from what the board has installed.
"""

import contextlib
import logging
import os
import threading
import time
from typing import Any, Callable, List

import zmq
from ipykernel import iostream
from ipykernel.kernelapp import IPKernelApp

from . import completion, history, lazy_imports

MAX_QUEUED_EVENTS = 64  # iopub messages that may wait in the kernel before a cell has to wait
FLUSH_TEXT = 1 << 17  # characters of printed text that are sent at once, not after a while
MAX_QUEUED_TEXT = 1 << 18  # characters of printed text that may wait in the kernel
IOPUB_HWM = 16  # messages that libzmq may hold back
POLL_SECONDS = 0.1  # seconds between polls of whether anybody passes on what is printed
FULL_QUEUE_POLL_SECONDS = 0.005  # seconds between polls of a queue that is full


class OutStream(iostream.OutStream):  # type: ignore[misc]
    """The stock stream, but a print waits while the link has not taken what was printed before.

    It is also cheaper: the stock stream looks up the buffer of the cell again for each piece of
    text; here, pieces that follow each other in one cell are put together once, when they are sent.
    """

    _written = 0  # characters since the last flush began
    _called_early = False  # a flush is under way before its time
    _gathers = hasattr(iostream.OutStream, "_rotate_buffers") or hasattr(
        iostream.OutStream, "_rotate_buffer"
    )  # other versions of ipykernel keep their text elsewhere

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._pieces: List[str] = []
        self._pieces_parent: Any = None  # whose cell they belong to
        super().__init__(*args, **kwargs)

    def write(self, string: str) -> Any:
        """Write text, as soon as there is room for it."""
        if self._written > FLUSH_TEXT:
            self._make_room()
        if not self._gathers or type(string) is not str:
            return super().write(string)
        self._written += len(string)
        parent = self.parent_header
        with self._buffer_lock:
            # Under the lock and with a flush to come, the pieces are sure to be picked up.
            if self._flush_pending and self._pieces_parent is parent:
                self._pieces.append(string)
                return len(string)
            self._put_together()
            self._pieces_parent = parent
        return super().write(string)

    def flush(self) -> None:
        """Wait until what was printed is passed on, as long as the thread that does so lives.

        The stock stream waits for 10 s, and then prints a complaint into the cell.
        """
        thread = self.pub_thread.thread
        if thread is None or thread is threading.current_thread() or not thread.is_alive():
            super().flush()
            return
        passed = threading.Event()
        for event in (self._flush, passed.set):
            self.pub_thread.schedule(event)
        while thread.is_alive() and not passed.wait(POLL_SECONDS):
            pass

    def _make_room(self) -> None:
        if not self._called_early:
            self._called_early = True
            self.pub_thread.schedule(self._flush)
        while self._written > MAX_QUEUED_TEXT and not self.closed:
            time.sleep(FULL_QUEUE_POLL_SECONDS)

    def _put_together(self) -> None:
        if self._pieces:
            text = "".join(self._pieces)
            self._pieces.clear()
            if hasattr(self, "_buffers"):
                self._buffers[frozenset(self._pieces_parent.items())].write(text)
            else:
                self._buffer.write(text)

    def _rotate_buffers(self) -> Any:
        with self._buffer_lock:
            self._put_together()
            return super()._rotate_buffers()

    def _rotate_buffer(self) -> Any:
        with self._buffer_lock:
            self._put_together()
            return super()._rotate_buffer()

    def _flush(self) -> None:
        self._written = 0
        self._called_early = False
        super()._flush()


def _stop_gathering() -> None:
    OutStream._gathers = False


class KernelApp(IPKernelApp):  # type: ignore[misc]
    """The stock application; its iopub socket blocks where the stock one drops messages."""

    @property
    def blocking_class(self) -> Any:
        """The class of clients, which a kernel has no use for until somebody asks it for one."""
        from jupyter_client.blocking.client import BlockingKernelClient

        return BlockingKernelClient

    def parse_command_line(self, argv: Any = None) -> None:
        """Skip a parser of fifty arguments: a kernel of ours gets none."""

    def _configure_logging(self) -> None:
        """Log to stderr, as traitlets does by default, without the 300 kB of logging.config."""
        if self.logging_config:  # the user's own wishes
            super()._configure_logging()
            return
        handler = logging.StreamHandler()
        handler.setLevel(self.log_level)
        handler.setFormatter(self._log_formatter_cls(self.log_format, self.log_datefmt))
        log = logging.getLogger(type(self).__name__)
        log.setLevel(logging.DEBUG)
        log.handlers[:] = [handler]
        self._logging_configured = True

    def init_pdb(self) -> None:
        """Put IPython's debugger in the place of Python's, once either is loaded."""
        for name in ("pdb", "IPython.core.debugger"):
            lazy_imports.when_loaded(name, super().init_pdb)

    def _bind_socket(self, s: Any, port: int) -> Any:
        if s.getsockopt(zmq.TYPE) in (zmq.PUB, zmq.XPUB):
            s.setsockopt(zmq.SNDHWM, IOPUB_HWM)
            s.setsockopt(zmq.XPUB_NODROP, 1)
            s.setsockopt(zmq.XPUB_VERBOSE, 1)  # the launcher subscribes for all, in one connection
        return super()._bind_socket(s, port)

    def init_iopub(self, context: Any) -> None:
        """Bind iopub, and make threads that publish wait while its thread waits for the link."""
        super().init_iopub(context)
        iopub_thread = self.iopub_thread
        schedule: Callable[[Callable[[], Any]], None] = iopub_thread.schedule

        def patient_schedule(event: Callable[[], Any]) -> None:
            while (
                len(iopub_thread._events) > MAX_QUEUED_EVENTS
                and threading.current_thread() is not iopub_thread.thread
                and iopub_thread.thread.is_alive()
            ):
                time.sleep(FULL_QUEUE_POLL_SECONDS)
            schedule(event)

        iopub_thread.schedule = patient_schedule


def make(connection_file: str) -> Any:
    """Return an application that is bound to its sockets and ready to start."""
    app = KernelApp.instance(
        connection_file=connection_file,
        outstream_class="board_agent.kernel.app.OutStream",
        parent_handle=1,  # a parent that ipykernel does not poll: the agent's socket tells its end
    )
    with history.opened_later():
        app.initialize([])
    history.open_in_time(app)
    completion.limit_jedi(app)
    os.register_at_fork(after_in_child=_stop_gathering)  # a child's output takes the stock way
    app.real_display_pub = app.shell.display_pub  # %%capture puts another one in its place
    if hasattr(app.shell, "_tee"):  # IPython 9's copy of all that is printed, for %notebook alone
        app.shell._tee = lambda channel: contextlib.nullcontext()
    return app
