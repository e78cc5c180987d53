"""Make text that came from elsewhere fit for a sentence or a terminal."""

from __future__ import annotations

import unicodedata

# Controls, invisible format characters, lone surrogates, and the two Unicode line separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def escape_controls(text: str) -> str:
    r"""Spell out every character that could steer a terminal or mislead the eye.

    A line feed and a tab stay as they are. Source: Unicode's general categories (UAX #44).

    Args:
        text: As the board sent it.

    Returns:
        The text with an escape for each such character: an ESC becomes the four characters \x1b.
    """
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in _UNSAFE
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
