"""What a frontend is told while there is no kernel: that it has to wait, or why there is none.

No I/O: requests come in, replies and publications go out. Source of the messages:
https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Hashable
from typing import Any

from ..errors import RkernelError
from ..sanitize import escape_controls
from .connection_file import Connection
from .jupyter_messages import PROTOCOL_VERSION, Request, compose, read_request

IMPLEMENTATION = "rkernel"  # what a kernel_info_reply says as long as no kernel answers

_HARMLESS: dict[str, dict[str, Any]] = {  # what a frontend asks by itself
    "comm_info_request": {"comms": {}},
    "complete_request": {"matches": [], "cursor_start": 0, "cursor_end": 0, "metadata": {}},
    "history_request": {"history": []},
    "inspect_request": {"found": False, "data": {}, "metadata": {}},
    "is_complete_request": {"status": "complete"},
}


class StandIn:
    """Answer clients in place of a kernel.

    Until `fail` says why there will be none, cells wait.

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
        self._why = f"The kernel on {name} is not ready yet."
        self._error: RkernelError | None = None
        self._orphan: Request | None = None  # the cell that ran when the kernel died
        self._waiting: list[tuple[Hashable, list[bytes], Request]] = []
        self._out: list[tuple[Hashable | None, list[bytes]]] = []

    def data_to_send(self) -> list[tuple[Hashable | None, list[bytes]]]:
        """Return what has to be sent: for each message the client, or None for iopub."""
        out, self._out = self._out, []
        return out

    def waiting(self, client: Hashable) -> list[list[bytes]]:
        """Return the messages of a client that the kernel has to answer.

        Args:
            client: As in `receive_message`.
        """
        return [frames for sender, frames, _ in self._waiting if sender == client]

    def add_client(self, client: Hashable) -> None:
        """Note that a client can be sent something on its shell channel.

        The client that waits for the kernel that died connects anew, and we do not know which one
        it is. Clients pass over replies to what they have not asked.
        """
        if self._orphan is not None:
            self._reply(client, self._orphan, self._failure())
            self.told += 1

    def remove_client(self, client: Hashable) -> None:
        """Forget a client's requests: it has gone."""
        self._waiting = [waiting for waiting in self._waiting if waiting[0] != client]

    def receive_message(self, client: Hashable, frames: list[bytes]) -> None:
        """Take a client's message.

        Args:
            client: Names the connection that it came over.
            frames: The message's frames.
        """
        request = read_request(self._connection, frames)
        if request is None:
            return
        if request.kind == "kernel_info_request":
            self._answer(client, request, self._kernel_info())
        elif request.kind == "shutdown_request":
            self.asked_to_end = True
            self._answer(client, request, {"restart": bool(request.content.get("restart"))})
        elif request.kind == "interrupt_request":
            self.interrupt()
            self._answer(client, request, {})
        elif self._error is not None:
            self._refuse(client, request)
        elif request.kind in _HARMLESS:
            self._answer(client, request, _HARMLESS[request.kind])
        else:
            self._waiting.append((client, frames, request))
            if request.kind == "execute_request":
                self._status(request, "busy")

    def interrupt(self) -> None:
        """End the cells that wait."""
        interrupted = _error("KeyboardInterrupt", self._why)
        waiting, self._waiting = self._waiting, []
        for client, frames, request in waiting:
            if request.kind == "execute_request":
                self._fail_cell(client, request, interrupted)
            else:
                self._waiting.append((client, frames, request))

    def fail(self, error: RkernelError, cell: dict[str, Any] | None = None) -> None:
        """Tell clients from now on why there is no kernel, first those that wait.

        Args:
            error: The reason.
            cell: The header of the request that the kernel was at when it died.
        """
        self._error = error
        self._why = escape_controls(str(error))
        waiting, self._waiting = self._waiting, []
        for client, _, request in waiting:
            self._refuse(client, request)
        if cell is not None:
            self._orphan = Request("execute_request", cell, {})
            self._publish(self._orphan, "error", self._failure())
            self._status(self._orphan, "idle")

    def _refuse(self, client: Hashable, request: Request) -> None:
        if request.kind == "execute_request":
            self._status(request, "busy")
            self._fail_cell(client, request, self._failure())
            silent = bool(request.content.get("silent"))
            self.told += bool(request.content.get("store_history", not silent)) and not silent
        elif request.kind in _HARMLESS:
            self._answer(client, request, _HARMLESS[request.kind])
        elif request.kind.endswith("_request"):
            self._answer(client, request, self._failure())

    def _fail_cell(self, client: Hashable, request: Request, failure: dict[str, Any]) -> None:
        if not request.content.get("silent"):
            self._publish(request, "error", failure)
        self._reply(client, request, failure)
        self._status(request, "idle")

    def _answer(self, client: Hashable, request: Request, content: dict[str, Any]) -> None:
        self._status(request, "busy")
        self._reply(client, request, content)
        self._status(request, "idle")

    def _reply(self, client: Hashable, request: Request, content: dict[str, Any]) -> None:
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
