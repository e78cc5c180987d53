"""What can go wrong, each with its sentence: what is wrong, and what to do next.

Every error a user can meet is a class here; its `message` and `remedy` are the one place where it
is put into words. The table in docs/errors.md lists the same classes, and a test compares the two.
"""

from __future__ import annotations


class RkernelError(Exception):
    """Carry the facts of a failure; `str()` turns them into a sentence for people.

    Parameters: keyword arguments that fill the fields of the class's `message` and `remedy`.
    """

    message = "Something went wrong: {detail}."
    remedy = "Run the command again with --debug for details."

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(f"{self.message.format(**facts)} {self.remedy.format(**facts)}")


# --- reaching the board -----------------------------------------------------------------------


class UnknownHost(RkernelError):
    """The host's name does not resolve."""

    message = "The host {host} is not known."
    remedy = "Check its spelling, or give the board's IP address."


class PortRefused(RkernelError):
    """Nothing listens at the port."""

    message = "{host} refused the connection to port {port}."
    remedy = "Check that {service} runs on the board, and the port number."


class ConnectTimeout(RkernelError):
    """The host does not answer in time."""

    message = "{host} did not answer on port {port} within {seconds:.0f} s."
    remedy = "Check that the board is on and on this network."


class LoginRefused(RkernelError):
    """No way of logging in that we could try was accepted."""

    message = "{host} did not let the user {user} in ({tried} refused)."
    remedy = "Check the user name, or install a key there: ssh-copy-id -p {port} {user}@{host}"


class PasswordRefused(RkernelError):
    """The password is wrong."""

    message = "{host} did not accept the password of {user}."
    remedy = "Check the password and the user name."


class KeyUnusable(RkernelError):
    """A private key's file cannot be read or decrypted."""

    message = "The key {path} cannot be used: {detail}."
    remedy = "Check the file given with --identity and its passphrase."


class UnknownHostKey(RkernelError):
    """The host's key is in no known_hosts file."""

    message = "The SSH key of {host} is not known here ({kind} {fingerprint})."
    remedy = "Run rkernel add --host {host} in a terminal and check the key there."


class ChangedHostKey(RkernelError):
    """The host's key differs from the one in known_hosts."""

    message = (
        "The SSH key of {host} has changed ({kind} {fingerprint}): this may be another machine."
    )
    remedy = "If you know why, remove the old key with: ssh-keygen -R '{entry}'"


class SshFailed(RkernelError):
    """The SSH connection failed in some other way."""

    message = "The SSH connection to {host} failed: {detail}."
    remedy = "Try: ssh -v -p {port} {user}@{host}"
