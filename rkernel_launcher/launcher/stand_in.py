"""What a frontend is told while there is no kernel: that it has to wait, or why there is none.

No I/O: requests come in, replies and publications go out. Source of the messages:
https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import enum
import platform
import uuid
from typing import Any

from ..errors import RkernelError
from ..sanitize import escape_controls
from .connection_file import Connection
from .jupyter_messages import PROTOCOL_VERSION, Request, answered, compose, read_request

IMPLEMENTATION = "rkernel"  # what a kernel_info_reply says as long as no kernel answers

_HARMLESS: dict[str, dict[str, Any]] = {  # what a frontend asks by itself
    "comm_info_request": {"comms": {}},
    "complete_request": {"matches": [], "cursor_start": 0, "cursor_end": 0, "metadata": {}},
    "history_request": {"history": []},
    "inspect_request": {"found": False, "data": {}, "metadata": {}},
    "is_complete_request": {"status": "complete"},
}


class State(enum.Enum):
    """Who answers."""

    NO_KERNEL_YET = "we do, and cells wait"
    KERNEL = "the kernel does, and we note what it has not answered"
    NO_KERNEL = "we do, with the reason why there is none"


class StandIn:
    """Answer clients whenever the kernel cannot.

    Args:
        connection: Whose key signs.
        name: The board's name for people.

    Attributes:
        told: How many cells of a user have been answered with the reason.
        asked_to_end: Whether a client has asked the kernel to end.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self.told = 0
        self.asked_to_end = False
        self._connection = connection
        self._session = uuid.uuid4().hex
        self._state = State.NO_KERNEL_YET
        self._why = f"The kernel on {name} is not ready yet."
        self._error: RkernelError | None = None
        self._unanswered: list[tuple[Any, Request]] = []
        self._waiting: list[tuple[Any, list[bytes]]] = []  # for the kernel
        self._out: list[tuple[Any, list[bytes]]] = []

    @property
    def has_cell(self) -> bool:
        """Whether a cell waits for its reply."""
        return any(request.kind == "execute_request" for _, request in self._unanswered)

    def data_to_send(self) -> list[tuple[Any, list[bytes]]]:
        """Return what has to be sent: for each message the client, or None for iopub."""
        out, self._out = self._out, []
        return out

    def explain(self, why: str) -> None:
        """Set the sentence that says what cells wait for."""
        self._why = why

    def give_way(self) -> list[tuple[Any, list[bytes]]]:
        """Let the kernel answer from now on.

        Returns:
            The messages that it has to answer, each with its client.
        """
        self._state = State.KERNEL
        waiting, self._waiting = self._waiting, []
        return waiting

    def remove_client(self, client: Any) -> None:
        """Forget a client's requests: it has gone."""
        self._unanswered = [each for each in self._unanswered if each[0] != client]
        self._waiting = [each for each in self._waiting if each[0] != client]

    def receive_message(self, client: Any, frames: list[bytes]) -> None:
        """Take a client's message.

        Args:
            client: Names the connection that it came over.
            frames: The message's frames.
        """
        request = read_request(self._connection, frames)
        if request is None:
            return
        if self._state is State.KERNEL:
            self.asked_to_end |= request.kind == "shutdown_request"
            self._note(client, request)
        elif request.kind == "kernel_info_request":
            self._answer(client, request, self._kernel_info())
        elif request.kind == "shutdown_request":
            self.asked_to_end = True
            self._answer(client, request, {"restart": bool(request.content.get("restart"))})
        elif request.kind == "interrupt_request":
            self.interrupt()
            self._answer(client, request, {})
        elif self._state is State.NO_KERNEL:
            self._refuse(client, request)
        elif request.kind in _HARMLESS:
            self._answer(client, request, _HARMLESS[request.kind])
        else:
            if request.kind == "execute_request" and not self.has_cell:
                self._status(request, "busy")
            self._waiting.append((client, frames))
            self._note(client, request)

    def receive_reply(self, client: Any, frames: list[bytes]) -> None:
        """Note that the kernel has answered.

        Args:
            client: As in `receive_message`.
            frames: The message's frames.
        """
        number = answered(frames)
        self._unanswered = [
            (sender, request)
            for sender, request in self._unanswered
            if sender != client or request.header.get("msg_id") != number
        ]

    def announce_cell(self) -> None:
        """Publish that the first cell is busy that waits for an answer, for what it is to print."""
        for _, request in self._unanswered:
            if request.kind == "execute_request" and not request.content.get("silent"):
                self._status(request, "busy")
                return

    def interrupt(self) -> None:
        """End the cells that wait for a kernel."""
        cells = [each for each in self._unanswered if each[1].kind == "execute_request"]
        self._unanswered = [each for each in self._unanswered if each not in cells]
        self._waiting = []
        for client, request in cells:
            self._fail_cell(client, request, _error("KeyboardInterrupt", self._why))

    def fail(self, error: RkernelError) -> None:
        """Tell clients from now on why there is no kernel, first those that wait for an answer.

        As after any error, cells that were sent with the one that fails are aborted.

        Args:
            error: The reason.
        """
        self._state = State.NO_KERNEL
        self._error = error
        self._why = escape_controls(str(error))
        unanswered, self._unanswered = self._unanswered, []
        for client, request in unanswered:
            if request.kind == "execute_request" and self.told:
                self._reply(client, request, {"status": "aborted"})
                self._status(request, "idle")
            else:
                self._refuse(client, request)

    def _note(self, client: Any, request: Request) -> None:
        if request.kind.endswith("_request"):
            self._unanswered.append((client, request))

    def _refuse(self, client: Any, request: Request) -> None:
        if request.kind == "execute_request":
            self._status(request, "busy")
            self._fail_cell(client, request, self._failure())
            silent = bool(request.content.get("silent"))
            self.told += bool(request.content.get("store_history", not silent)) and not silent
        elif request.kind in _HARMLESS:
            self._answer(client, request, _HARMLESS[request.kind])
        elif request.kind.endswith("_request"):
            self._answer(client, request, self._failure())

    def _fail_cell(self, client: Any, request: Request, failure: dict[str, Any]) -> None:
        if not request.content.get("silent"):
            self._publish(request, "error", failure)
        self._reply(client, request, failure)
        self._status(request, "idle")

    def _answer(self, client: Any, request: Request, content: dict[str, Any]) -> None:
        self._status(request, "busy")
        self._reply(client, request, content)
        self._status(request, "idle")

    def _reply(self, client: Any, request: Request, content: dict[str, Any]) -> None:
        kind = request.kind.removesuffix("_request") + "_reply"
        content = {"status": "ok", **content}
        if request.kind == "execute_request":
            content = {"execution_count": 0, "user_expressions": {}, "payload": [], **content}
        self._out.append((client, self._compose(kind, request, content)))

    def _status(self, request: Request, state: str) -> None:
        self._publish(request, "status", {"execution_state": state})

    def _publish(self, request: Request, kind: str, content: dict[str, Any]) -> None:
        self._out.append(
            (None, [b"rkernel." + kind.encode(), *self._compose(kind, request, content)])
        )

    def _compose(self, kind: str, request: Request, content: dict[str, Any]) -> list[bytes]:
        return compose(self._connection, self._session, kind, request.header, content)

    def _failure(self) -> dict[str, Any]:
        return _error(type(self._error).__name__, self._why)

    def _kernel_info(self) -> dict[str, Any]:
        return {
            "protocol_version": PROTOCOL_VERSION,
            "implementation": IMPLEMENTATION,
            "implementation_version": "",
            "banner": self._why,
            "help_links": [],
            "language_info": {
                "name": "python",
                "version": platform.python_version(),
                "mimetype": "text/x-python",
                "file_extension": ".py",
                "codemirror_mode": {"name": "ipython", "version": 3},
                "nbconvert_exporter": "python",
                "pygments_lexer": "ipython3",
            },
        }


def _error(name: str, value: str) -> dict[str, Any]:
    return {"status": "error", "ename": name, "evalue": value, "traceback": [f"{name}: {value}"]}
