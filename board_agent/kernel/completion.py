"""Completion without Jedi while there is no memory for it: it takes 8 MB, and large modules more.

IPython then completes by itself, from what the names are bound to.
"""

from typing import Any

from ..common.memory import available

JEDI_MEMORY = 24 << 20  # bytes that are to be free


def limit_jedi(app: Any) -> None:
    """Have completion do without Jedi whenever there is no memory for it.

    Args:
        app: An application that has a shell.
    """
    completer, real = app.shell.Completer, app.kernel.do_complete

    def do_complete(*args: Any) -> Any:
        wanted = completer.use_jedi
        if wanted and available(JEDI_MEMORY) < JEDI_MEMORY:
            completer.use_jedi = False
        try:
            return real(*args)
        finally:
            completer.use_jedi = wanted

    app.kernel.do_complete = do_complete
