"""Passwords and passphrases: asked of a person, or kept in the system's keyring.

`keyring` is imported when a secret is wanted and not before: it is slow, and most logins use a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "rkernel"


@dataclass(frozen=True)
class Prompts:
    """How to ask a person.

    Parameters: `confirm` puts a yes-or-no question, `secret` reads a line without showing it. Both
    take the text without a trailing colon or question mark's "[y/n]".
    """

    confirm: Callable[[str], bool]
    secret: Callable[[str], str]


def recall(name: str) -> str | None:
    """Look a secret up.

    Parameters: `name`, what it opens: "user@host:port", or a key's path.
    Returns: the secret, or None when the keyring has none or there is no keyring.
    """
    keyring = _keyring()
    if keyring is None:
        return None
    try:
        return keyring.get_password(SERVICE, name)
    except Exception:  # a locked or vanished keyring raises whatever its platform does
        return None


def offer_to_keep(name: str, secret: str, prompts: Prompts) -> bool:
    """Ask whether to keep a secret in the keyring, and do so; a no-op where there is no keyring.

    Parameters: `name` as for `recall`; `secret`; `prompts` to ask with.
    Returns: whether it is kept now.
    """
    keyring = _keyring()
    if keyring is None or not prompts.confirm(f"Keep the secret of {name} in the keyring"):
        return False
    try:
        keyring.set_password(SERVICE, name, secret)
    except Exception:  # as above
        return False
    return True


def _keyring() -> KeyringBackend | None:
    try:
        import keyring
        from keyring.backends import fail, null

        backend = keyring.get_keyring()
    except Exception:  # a backend that breaks while it is chosen is as good as none
        return None
    return None if isinstance(backend, (fail.Keyring, null.Keyring)) else backend
