"""IPython's history, from the first cell on: an idle kernel needs no database.

Until then the shell has a history that is not stored; the stored one takes over what it contains.
"""

import contextlib
from typing import Any, Iterator

import IPython.core.interactiveshell
from traitlets import Bool

_shells: Any = IPython.core.interactiveshell

_KEPT = (
    *("input_hist_parsed", "input_hist_raw", "output_hist", "output_hist_reprs", "dir_hist"),
    *("outputs", "exceptions"),  # since IPython 9
)


@contextlib.contextmanager
def opened_later() -> Iterator[None]:
    """Let a shell that is made meanwhile begin without a database."""
    real = _shells.HistoryManager

    class Early(real):  # type: ignore[misc, valid-type]
        enabled = Bool(False)

        def _db_changed(self, change: Any) -> None:
            """Take what stands in for a database; IPython's own method asks SQLite to check it."""

    _shells.HistoryManager = Early
    try:
        yield
    finally:
        _shells.HistoryManager = real


def open_in_time(app: Any) -> None:
    """Open the database when a cell is to be kept there, or when a frontend asks for former ones.

    Args:
        app: An application whose shell was made in `opened_later`.
    """
    kernel, shell = app.kernel, app.shell
    real = kernel.do_history

    def do_history(*args: Any, **kwargs: Any) -> Any:
        _open(shell)
        return real(*args, **kwargs)

    def on_cell(info: Any) -> None:
        if info.store_history:
            shell.events.unregister("pre_run_cell", on_cell)
            _open(shell)

    kernel.do_history = do_history
    shell.events.register("pre_run_cell", on_cell)


def _open(shell: Any) -> None:
    early = shell.history_manager
    if type(early) is _shells.HistoryManager:
        return
    history = _shells.HistoryManager(shell=shell, parent=shell)
    for name in _KEPT:
        if hasattr(early, name):
            setattr(history, name, getattr(early, name))
    shell.configurables[shell.configurables.index(early)] = history
    shell.history_manager = history
