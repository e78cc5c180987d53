"""Make text that came from elsewhere fit for a sentence or a terminal."""

from __future__ import annotations

import unicodedata

# Controls, invisible format characters, lone surrogates, and the two Unicode line separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def escape_controls(text: str) -> str:
    r"""Spell out every character that could steer a terminal or fool the eye, but not \n and \t.

    Parameters: text, as the board sent it. Returns: the text with such characters as escapes
    (an ESC becomes the four characters \x1b). Source: Unicode general categories (UAX #44).
    """
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in _UNSAFE
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
