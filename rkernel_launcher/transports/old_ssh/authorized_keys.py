"""A key on the board in place of a password, as ssh-copy-id puts it there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import paramiko

from ...errors import KeyNotInstalled, KeyUnusable
from ...target import Target
from . import keys, passwords
from .config import Route, resolve
from .passwords import Prompts
from .transport import Connection

_TIMEOUT = 30.0  # seconds for the board to append a line

# For any sh, run by whatever the login shell is (so: no single quotes inside). On OpenWrt and what
# is made from it, dropbear reads root's keys in /etc/dropbear; another sshd there would not, so
# the key goes to both places.
_INSTALL = """exec sh -c '
umask 077
IFS= read -r key || exit
set -- "$HOME/.ssh"
if [ -f /etc/openwrt_release ] && [ -d /etc/dropbear ] && [ "$(id -u)" = 0 ]; then
    set -- "$@" /etc/dropbear
fi
body=${key#* }
body=${key%% *}\\ ${body%% *}
for folder do
    file=$folder/authorized_keys
    mkdir -p "$folder" && chmod 700 "$folder" && touch "$file" && chmod 600 "$file" || exit
    grep -v "^[[:space:]]*#" "$file" | grep -qF -e "$body" && continue
    [ -z "$(tail -c 1 "$file")" ] || echo >> "$file" || exit
    printf "%s\\n" "$key" >> "$file" || exit
done
'"""


def install_key(transport: paramiko.Transport, public_key_text: str) -> None:
    """Let a key log in to the account that a transport is logged in to; once is enough.

    Parameters: `transport`; `public_key_text`, the one line of a .pub file.
    Errors: KeyNotInstalled.
    """
    facts = {"user": transport.get_username(), "host": transport.getpeername()[0]}
    line = public_key_text.strip()
    if len(line.splitlines()) != 1 or len(line.split()) < 2:
        raise KeyNotInstalled(**facts, detail="this is not the line of a public key")
    try:
        with transport.open_session(timeout=_TIMEOUT) as channel:
            channel.settimeout(_TIMEOUT)
            channel.set_combine_stderr(True)
            channel.exec_command(_INSTALL)
            channel.sendall(line.encode() + b"\n")
            channel.shutdown_write()
            said = b"".join(iter(lambda: channel.recv(1 << 12), b"")).decode(errors="replace")
            status = channel.recv_exit_status()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise KeyNotInstalled(**facts, detail=str(error) or "no answer") from error
    if status != 0:
        detail = said.strip().splitlines()[-1:] or [f"its shell ended with status {status}"]
        raise KeyNotInstalled(**facts, detail=detail[0])


def offer_key(transport: paramiko.Transport, target: Target, prompts: Prompts) -> None:
    """After a login with a password, offer to install a key, or else to keep the password.

    The jump hosts on the way are treated alike. Nothing is asked where no password was typed.

    Parameters: `transport`, from `ssh.connect` with `target`; `prompts` to ask with.
    Errors: KeyNotInstalled, KeyUnusable.
    """
    connection: paramiko.Transport | None = transport
    route: Route | None = resolve(target)
    while isinstance(connection, Connection) and route is not None:
        if connection.typed_password is not None and not _offer(connection, route, prompts):
            passwords.offer_to_keep(route.account, connection.typed_password, prompts)
        connection, route = connection.below, route.jump


def _offer(connection: Connection, route: Route, prompts: Prompts) -> bool:
    place = f"{route.user}@{route.host}"
    path = _public_key(route)
    if path is not None:
        if not prompts.confirm(f"Install the key {path} on {place}, to log in without a password"):
            return False
        install_key(connection, path.read_text())
        return True
    path = Path.home() / ".ssh" / "id_ed25519"
    if not prompts.confirm(
        f"Make a key {path} and install it on {place}, to log in without a password"
    ):
        return False
    install_key(connection, keys.make(path))
    return True


def _public_key(route: Route) -> Path | None:
    """Choose among the public keys at hand: one that needs no passphrase, if there is one."""
    places = [*route.identities, *sorted((Path.home() / ".ssh").glob("id_*.pub"))]
    files = [p if p.suffix == ".pub" else p.with_name(p.name + ".pub") for p in places]
    there = [file for file in files if keys.public_blob(file)]
    with keys.agent_keys() as agent:
        held = {key.asbytes() for key in agent}
    for file in there:
        if keys.public_blob(file) in held:
            return file
        with suppress(keys.PassphraseMissing, KeyUnusable):
            keys.load(file.with_suffix(""))
            return file
    return there[0] if there else None
