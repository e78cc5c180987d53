"""Completions where memory is short."""

from typing import Any, Iterator

from .memory import memory_of_board

JEDI_MEMORY = 24 << 20  # bytes: Jedi and what it reads take 16 MB, and the rest needs room, too


def spare(completer: Any) -> None:
    """Have IPython complete without Jedi if there is no memory for it when it is first needed.

    What exists is completed all the same: variables, their attributes, modules, files, magics. A
    board without swap would read its programs from the disk over and over in place of an answer.
    """
    complete = completer.completions

    def first(text: str, offset: int) -> Iterator[Any]:
        completer.completions = complete
        if memory_of_board().get("MemAvailable", JEDI_MEMORY) < JEDI_MEMORY:
            completer.use_jedi = False  # until the user wants it: %config Completer.use_jedi
        return iter(complete(text, offset))

    completer.completions = first
