"""After a login with a password: a key in its place, or the password in the keyring."""

from __future__ import annotations

import getpass
import socket
from pathlib import Path

from ..board.board import Board
from ..errors import KeyNotInstalled
from ..transports import private_keys, ssh
from ..transports.prompts import Prompts, offer_to_keep


def offer_key(board: Board, prompts: Prompts) -> None:
    """Offer to install a key on a board, or else to keep the secrets that were typed.

    Nothing is asked where no secret was typed.

    Args:
        board: The board.
        prompts: What the person was asked with, and is asked with now.

    Raises:
        KeyNotInstalled: The key could not be made, or not be put there.
    """
    if not prompts.typed:
        return
    account, identities = ssh.login(board.target)
    for name, secret in prompts.typed.items():
        if name != account or not _offer_key(board, account, identities, prompts):
            offer_to_keep(name, secret, prompts)


def _offer_key(board: Board, account: str, identities: list[Path], prompts: Prompts) -> bool:
    place = account.rpartition(":")[0]
    path = private_keys.public_key(identities)
    if path is not None:
        question = f"Install the key {path} on {place}, to log in without a password"
    else:
        new = Path.home() / ".ssh" / "id_ed25519"
        question = f"Make a key {new} and install it on {place}, to log in without a password"
    if not prompts.confirm(question):
        return False
    try:
        if path is None:
            path = private_keys.make(new, f"{getpass.getuser()}@{socket.gethostname()}")
        board.install_key(path.read_bytes())
    except OSError as error:
        raise KeyNotInstalled(place=place, detail=str(error)) from error
    return True
