"""Passwords and passphrases: asked of a person, or kept in the system's keyring.

`keyring` is imported when a secret is wanted and not before: it is slow, and most logins use a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "rkernel"


@dataclass(frozen=True)
class Prompts:
    """How to talk with a person at a terminal. All texts are shown as they are.

    Attributes:
        confirm: Puts a yes-or-no question.
        ask: Reads a line.
        secret: Reads a line and does not show it.
        say: Shows a text.
        typed: The passwords that were typed in this visit, by the name that the keyring gives them.
    """

    confirm: Callable[[str], bool]
    ask: Callable[[str], str]
    secret: Callable[[str], str]
    say: Callable[[str], None]
    typed: dict[str, str] = field(default_factory=dict)


def recall(name: str) -> str | None:
    """Look a secret up in the keyring.

    Args:
        name: What it opens: "user@host:port", or the path of a key.

    Returns:
        The secret, or None when the keyring has none or there is no keyring.
    """
    keyring = _keyring()
    if keyring is None:
        return None
    try:
        return keyring.get_password(SERVICE, name)
    except Exception:  # a locked or vanished keyring raises whatever its platform does
        return None


def offer_to_keep(name: str, secret: str, prompts: Prompts) -> bool:
    """Ask whether to keep a secret in the keyring, and do so; nothing is asked without a keyring.

    Args:
        name: As for `recall`.
        secret: The secret.
        prompts: To ask with.

    Returns:
        Whether it is kept now.
    """
    keyring = _keyring()
    if keyring is None or not prompts.confirm(f"Keep the secret of {name} in the keyring"):
        return False
    try:
        keyring.set_password(SERVICE, name, secret)
    except Exception:  # as above
        return False
    return True


def keyring_name() -> str | None:
    """Return what this PC's keyring calls itself; None if there is no keyring."""
    keyring = _keyring()
    return None if keyring is None else str(keyring.name)


def _keyring() -> KeyringBackend | None:
    try:
        import keyring
        from keyring.backends import fail, null

        backend = keyring.get_keyring()
    except Exception:  # a backend that breaks while it is chosen is as good as none
        return None
    return None if isinstance(backend, (fail.Keyring, null.Keyring)) else backend
