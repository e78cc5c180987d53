"""What can go wrong, each with its sentence: what is wrong, and what to do next.

Every error a user can meet is a class here; its `message` and `remedy` are the one place where it
is put into words. Classes without words of their own are groups, for whoever treats several errors
alike. The tables in docs/errors.md list the same classes, and a test compares the two.
"""

from __future__ import annotations


class RkernelError(Exception):
    """Carry the facts of a failure; `str()` turns them into a sentence for people.

    Parameters: keyword arguments that fill the fields of the class's `message` and `remedy`.
    """

    message = "Something went wrong: {detail}."
    remedy = "Run the command again with --debug for details."

    retry_after = 0.0  # seconds to wait, at least, before the same is tried again

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(f"{self.message.format(**facts)} {self.remedy.format(**facts)}")


# --- The board could not be reached ---------------------------------------------------------------


class Unreachable(RkernelError):
    """The board could not be reached."""


class UnknownHost(Unreachable):
    """The host's name does not resolve."""

    message = "The host {host} is not known."
    remedy = "Check its spelling, or give the board's IP address."


class NobodyAnswers(Unreachable):
    """Nothing answers at that address and port."""


class PortRefused(NobodyAnswers):
    """Nothing listens at the port."""

    message = "{host} refused the connection to port {port}."
    remedy = "Check that {service} runs on the board, and the port number."


class ConnectTimeout(NobodyAnswers):
    """The host does not answer in time."""

    message = "{host} did not answer on port {port} within {seconds:.0f} s."
    remedy = "Check that the board is on and on this network."


class NoRoute(NobodyAnswers):
    """The network does not lead to the host."""

    message = "{host} cannot be reached on port {port}: {detail}."
    remedy = "Check that the board is on and on this network."


class SshSilent(NobodyAnswers):
    """Something accepts the connection and says nothing."""

    message = "{host} accepts connections to port {port}, but its SSH server says nothing."
    remedy = "Check the port number, and that the board is not too busy; restart it if it hangs."


class SshBusy(Unreachable):
    """The server hung up before the login began."""

    message = "The SSH server of {host} hung up before the login began: {detail}."
    remedy = (
        "Wait a minute and try again. If it goes on, port {port} is not that of an SSH server, or "
        "the server does not let this PC in."
    )


class NoCommonAlgorithm(Unreachable):
    """Client and server have no cipher, key type or the like in common."""

    message = "ssh and the server of {host} have no {what} in common; the server has {offer}."
    remedy = (
        "The server is too old, or allows too little. Update it, or add these lines to "
        "~/.ssh/config: Host {host}, and below it: {setting}"
    )


class NoWay(Unreachable):
    """The board could be reached neither over ssh nor over rpyc."""

    message = "{host} can be reached neither over ssh ({ssh}) nor over rpyc ({rpyc})."
    remedy = "Start sshd or MaixPy3's rpyc service on the board, and check the address."


class ProxyFailed(Unreachable):
    """The ProxyCommand of the ssh settings did not bring us to a server."""

    message = "The ProxyCommand for {host} failed: {detail}."
    remedy = "Try it in a terminal: {command}"


class JumpFailed(Unreachable):
    """The jump host cannot reach the next host."""

    message = "The way over {jump} did not lead to {host}, port {port}: {detail}."
    remedy = (
        "Check the address as {jump} sees it, and that its sshd allows TCP forwarding. "
        "Try it in a terminal: {command}"
    )


class SshFailed(Unreachable):
    """The SSH connection failed in some other way."""

    message = "The SSH connection to {host} failed: {detail}."
    remedy = "Try it in a terminal: {command}"


class NotRpyc(Unreachable):
    """Something answers at the port, but it is no SlaveService of rpyc."""

    message = "{host} answers on port {port}, but not as an rpyc service ({detail})."
    remedy = "Check the port number, and that rpyc's SlaveService runs there."


class BoardSilent(Unreachable):
    """A request to the board is not answered in time."""

    message = "The board did not answer within {seconds:.0f} s."
    remedy = "Check that the board is on and not too busy, and try again."


class BoardLost(Unreachable):
    """The connection ended while the board was at work for us."""

    message = "The connection to the board was lost ({detail})."
    remedy = "Check that the board is on and on this network, and try again."


class NoAgent(Unreachable):
    """What answers at the agent's port is not our agent, or nothing does."""


class AgentRefused(NoAgent):
    """Nothing listens at the agent's port."""

    message = "{host} refused the connection to the agent's port {port}."
    remedy = "Check that no firewall closes that port, or use another one with --link-port."


class AgentGone(NoAgent):
    """There is no agent where there was one."""

    message = "The agent on {host} is not there any more."
    remedy = "Start the kernel again from the frontend."


class NoHandover(NoAgent):
    """The agent could not take a connection over."""

    message = "The agent on {host} could not take the connection over: {detail}."
    remedy = "Try again; if that does not help, restart the board."


class NotAnAgent(NoAgent):
    """Something else answers at the agent's port."""

    message = "What answers at the agent's port on {host} is not an rkernel agent."
    remedy = "End the program that listens there, or use another port with --link-port."


class OtherAgent(NoAgent):
    """The agent speaks another version of the protocol."""

    message = "The agent on {host} speaks version {version} of the protocol, which we do not."
    remedy = "Update rkernel on the older PC, or use another port with --link-port."


class LinkRefused(NoAgent):
    """The agent hung up before the handshake was over."""

    message = "The agent on {host} does not accept our token."
    remedy = "Start the kernel again; if that does not help, restart the board."


class WrongToken(NoAgent):
    """What listens at the agent's port does not know the agent's token."""

    message = "What listens at the agent's port on {host} cannot prove that it is our agent."
    remedy = "Check that nothing sits between this PC and the board, or use --via ssh."


class HandshakeCut(Unreachable):
    """The connection to the agent broke, or the agent was silent, before it had proven itself."""

    message = "The connection to the agent on {host} broke at its beginning: {detail}."
    remedy = "Try again; if that does not help, check what answers there."


# --- The board did not let us in, or may be another machine ---------------------------------------


class NotLetIn(RkernelError):
    """The board did not let us in, or may be another machine."""


class UnknownHostKey(NotLetIn):
    """The host's key is in no known_hosts file."""

    message = "The SSH key of {host} is not known here ({key})."
    remedy = (
        "Run rkernel add --host {address} in a terminal and check the key there; "
        "scripts can say --host-key accept-new."
    )


class WrongHostKey(NotLetIn):
    """The host shows a key that it must not have."""


class ChangedHostKey(WrongHostKey):
    """The host's key differs from the one in known_hosts."""

    message = "The SSH key of {host} has changed ({key}): this may be another machine."
    remedy = (
        "If you know why, as when the board was flashed anew, remove the old key with: "
        "ssh-keygen -f '{path}' -R '{entry}'"
    )


class RevokedHostKey(WrongHostKey):
    """The host shows a key that known_hosts marks as revoked."""

    message = "The SSH key of {host} is marked as revoked ({key})."
    remedy = "Do not connect; if the mark is wrong, remove the @revoked line for it in {path}."


class LoginRefused(NotLetIn):
    """No way of logging in that we could try was accepted."""

    message = "{host} did not let the user {user} in ({tried} refused)."
    remedy = "Check the user name, or install a key there: ssh-copy-id -p {port} {user}@{host}"


class LoginCut(NotLetIn):
    """The server closed the connection in the middle of logging in."""

    message = "{host} closed the connection while {user} was logging in ({tried} refused)."
    remedy = "If it was shown too many keys, name the right one with --identity."


class PasswordRefused(NotLetIn):
    """The password is wrong."""

    message = "{host} did not accept the password of {user}."
    remedy = "Check the password and the user name."


class PasswordNeeded(NotLetIn):
    """The server wants a password, and there is nobody to ask."""

    message = "{host} wants a password for {user}, and none is kept here ({tried} refused)."
    remedy = (
        "Run rkernel add --host {address} in a terminal and keep the password, "
        "or install a key: ssh-copy-id -p {port} {user}@{host}"
    )


class KeyUnusable(NotLetIn):
    """A private key's file cannot be read or decrypted."""

    message = "The key {path} cannot be used: {detail}."
    remedy = "Check the file given with --identity and its passphrase."


class KeyLocked(KeyUnusable):
    """A private key has a passphrase that nobody can give."""

    message = "The key {path} has a passphrase, which is neither in the agent nor in the keyring."
    remedy = (
        "Run ssh-add '{path}', or rkernel add in a terminal and keep the passphrase. "
        "On macOS, where the keychain has it: ssh-add --apple-load-keychain"
    )


class AgentDeclined(NotLetIn):
    """The SSH agent did not sign with a key that the server would take."""

    message = "The SSH agent did not use the key that {host} would take for {user}."
    remedy = "It asks at each use: confirm it, or touch the security key, when the kernel starts."
    retry_after = 60.0  # seconds: each attempt asks the person again


class SecondFactorNeeded(NotLetIn):
    """The server takes the key, and then wants an answer that changes each time."""

    message = "{host} took the key of {user}, and now wants an answer, such as a code."
    remedy = (
        "Keep a connection open for rkernel to use: put ControlMaster auto, ControlPath "
        "~/.ssh/%C and ControlPersist 8h under Host {host} in ~/.ssh/config, and log in once in "
        "a terminal with ssh."
    )


class KeyNotInstalled(NotLetIn):
    """The public key could not be put into authorized_keys."""

    message = "The key could not be installed on {place}: {detail}."
    remedy = "Check that the home folder there is writable, or install it by hand."


# --- The board lacks what a kernel needs ----------------------------------------------------------


class BoardCannot(RkernelError):
    """The board lacks what a kernel needs."""


class UnknownBoard(BoardCannot):
    """The machine is of a kind that rkernel does not run on."""

    message = "{host} is a board of an unknown kind ({system} on {machine})."
    remedy = "rkernel needs a board that runs Linux."


class NoPython(BoardCannot):
    """The board has no Python of that name."""

    message = "The board has no Python that can be started ({detail})."
    remedy = "Install Python 3.8 or newer there, or say where it is with --python."


class OldPython(BoardCannot):
    """The board's Python is too old."""

    message = "The board's Python is {version}, rkernel needs 3.8 or newer."
    remedy = "Install a newer one there, or say where it is with --python."


class FirstStageFailed(BoardCannot):
    """Python starts on the board, but our code does not."""

    message = "Our code did not start on the board ({detail})."
    remedy = "Check that the board's shell prints nothing odd and that its Python works."


class UnfitPackages(BoardCannot):
    """The board's own packages will not do."""


class NoIpykernel(UnfitPackages):
    """The board's Python lacks ipykernel or a package that it needs."""

    message = "The Python on {host} has no {package}."
    remedy = "{hint}"


class OldPackages(UnfitPackages):
    """The board's packages are too old for its ipykernel."""

    message = "The board's ipykernel {ipykernel} needs {needs}, it has {has}."
    remedy = "{hint}"


class NoBundle(BoardCannot):
    """There are no packages to send for the board's version of Python."""

    message = "There are no packages to send for Python {version}, only for {versions}."
    remedy = "Install ipykernel on the board, or name another Python there with --python."


class BundleFailed(BoardCannot):
    """The board could not unpack what its kernel needs."""

    message = "The board could not install the packages that were sent to it: {detail}."
    remedy = "Run the command again; it goes on where it was."


class NoSpaceForBundle(BoardCannot):
    """The board's disk cannot take what its kernel needs."""

    message = (
        "A kernel's packages take {needed:.1f} MB in {path} of the board, {free:.1f} MB are free."
    )
    remedy = "Free some there, or set XDG_CACHE_HOME on the board to a folder with space."


class NoSpace(BoardCannot):
    """The board's disk is full."""

    message = "There is no space left on the board for {path}."
    remedy = "Free about 1 MB there, or set XDG_CACHE_HOME on the board to a folder with space."


class CacheUnusable(BoardCannot):
    """Our folder on the board cannot be written."""

    message = "The board's folder {path} cannot be written: {detail}."
    remedy = "Make it writable, or set XDG_CACHE_HOME on the board to a folder that is."


class NoMemory(BoardCannot):
    """The board has too little memory for a kernel."""

    message = "{host} has {available} MB of memory available, a kernel takes about {needed} MB."
    remedy = "End programs that run there; --no-check writes the kernel all the same."


class AgentFailed(BoardCannot):
    """The agent does not start."""

    message = "The agent did not start on the board: {detail}."
    remedy = "Check that the board's Python is whole, or name another with --python."


class LinkPortTaken(BoardCannot):
    """Another program on the board listens at the link's port."""

    message = "Port {port} on the board is taken by another program ({detail})."
    remedy = "End that program, perhaps an rkernel agent of another version, or use --link-port."


# --- What runs on the board does not work as it should --------------------------------------------


class BoardBroken(RkernelError):
    """What runs on the board does not work as it should."""


class BoardMisbehaved(BoardBroken):
    """Something sent what it never sends.

    Parameters: what it should be; detail, what came.
    """

    message = "What answers is not {what}: it sent {detail}."
    remedy = "Nothing of this PC was read or run. Check which machine answers there."

    def __init__(self, *, what: str, detail: str) -> None:
        super().__init__(what=what, detail=detail)


class BoardError(BoardBroken):
    """Our code raised an exception on the board; `facts["traceback"]` has all that it said."""

    message = "The board reports: {detail}."


# --- A kernel did not start, has ended, or is not to be had ---------------------------------------


class NoKernelRuns(RkernelError):
    """A kernel did not start, has ended, or is not to be had."""


class KernelNotStarted(NoKernelRuns):
    """The kernel's process could not be started."""

    message = "The kernel could not be started on the board: {detail}."
    remedy = "Check --python, --workdir and --env; rkernel add shows what the board has."


class KernelSilent(NoKernelRuns):
    """The kernel started but did not answer."""

    message = "The kernel on {host} did not answer within {seconds:.0f} s."
    remedy = "Look at the log with --debug; --no-check writes the kernel all the same."


class CheckFailed(NoKernelRuns):
    """The kernel that rkernel add started to see whether it works did not."""

    message = "A kernel was tried on {host}, and it failed: {said}"
    remedy = "To write the kernel all the same, use --no-check."


class DemoFailed(NoKernelRuns):
    """A cell of the demonstration did not do what it is there to show."""

    message = "The demonstration went wrong: {detail}."


class KernelDied(NoKernelRuns):
    """The kernel's process ended by itself."""

    message = "The kernel {how}."
    remedy = "{hint}"


class KernelGone(NoKernelRuns):
    """The link is back, and the kernel is not."""

    message = "The kernel on {host} is gone: {why}."
    remedy = "{hint}"


class LinkLost(NoKernelRuns):
    """The link broke, and did not come back while the kernel waited."""

    message = (
        "The link to {host} was lost for longer than the orphan timeout of {orphan_timeout} "
        "({detail})."
    )
    remedy = "The kernel's variables are gone; check the network and start the kernel again."


class NoKernel(NoKernelRuns):
    """There is no such kernel on the board, or none that can be taken over."""

    message = "There is no kernel {kernel} on {host}, or none that is ready."
    remedy = "rkernel ps shows those that are there."


class NoOrphan(NoKernelRuns):
    """There is no kernel on the board whose launcher is gone."""

    message = "There is no kernel on {host} whose launcher is gone."
    remedy = "rkernel ps shows the kernels that are there."


class KernelBusy(NoKernelRuns):
    """The kernel has a launcher that is connected."""

    message = "The kernel {kernel} on {host} has a launcher that is connected."
    remedy = "Use the frontend that has it, or end that one first."


class KernelsStay(NoKernelRuns):
    """Kernels that were to be stopped are still there."""

    message = "The kernels on {host} could not be stopped: {detail}."
    remedy = "Try again; if that does not help, restart the board."


class NoView(NoKernelRuns):
    """No launcher serves the pictures of a board."""

    message = "No kernel on {host} serves its pictures now."
    remedy = "Add it with rkernel add --video mjpeg, and start it in a notebook."


# --- The reason is on this PC: an option, a file, a port ------------------------------------------


class OnThisPc(RkernelError):
    """The reason is on this PC: an option, a file, a port."""


class BadOption(OnThisPc):
    """An option's value cannot be used."""

    message = "{option} cannot be {value!r}: {detail}."
    remedy = "See rkernel add --help."


class BadName(OnThisPc):
    """The name cannot name a kernel."""

    message = "{name!r} cannot be the name of a kernel."
    remedy = "Use letters, digits, dots, dashes and underscores only."


class NameTaken(OnThisPc):
    """A kernel of that name is there already."""

    message = "A kernel named {name} is there already."
    remedy = "Choose another with --name, or replace it with --yes."


class ForeignName(NameTaken):
    """A kernel of that name is there, and it was not written by rkernel."""

    message = "A kernel named {name} is there already, and it is not one of rkernel's."
    remedy = "Choose another with --name."


class NoSuchKernel(OnThisPc):
    """There is no kernel of ours by that name."""

    message = "There is no rkernel kernel named {name}."
    remedy = "rkernel list shows those that are there."


class OldKernelspec(OnThisPc):
    """A kernelspec's argv has words that are no options of this version."""

    message = "The kernelspec was written by an older rkernel: it says {words}."
    remedy = "Run rkernel add again for that board."


class KernelsUnusable(OnThisPc):
    """The folder of the kernelspecs on this PC cannot be written."""

    message = "The kernels in {path} cannot be changed: {detail}."
    remedy = "Make that folder writable for yourself."


class BadConnectionFile(OnThisPc):
    """The frontend's connection file cannot be used."""

    message = "The connection file {path} cannot be used: {detail}."
    remedy = "The frontend writes it; by hand, take one that jupyter_client wrote."


class PortInUse(OnThisPc):
    """An endpoint of the connection file is taken."""

    message = "The endpoint {endpoint} cannot be served here: {detail}."
    remedy = "Start the kernel again, so that the frontend chooses other ports."


class VideoPortInUse(OnThisPc):
    """The port for pictures in a browser cannot be had."""

    message = "Pictures cannot be served at port {port} of this PC: {detail}."
    remedy = "End the program that has the port, or choose another one with --video-port."


class SshConfigBroken(OnThisPc):
    """The ssh settings cannot be understood."""

    message = "The ssh settings for {host} cannot be used: {detail}."
    remedy = "Correct them; ssh -G {host} shows what ssh makes of them."


class NoProgram(OnThisPc):
    """A program that is to carry the bytes is not on this PC."""

    message = "There is no program {program} on this PC."
    remedy = "Install it, or check its name and PATH."


class SshUnusable(OnThisPc):
    """The `ssh` of this PC cannot be used."""

    message = "The program {program} cannot be used: {detail}."
    remedy = "Install OpenSSH's client, or use --ssh paramiko."


class SettingNotHonoured(OnThisPc):
    """The ssh settings say what the embedded client cannot do."""

    message = "The ssh settings for {host} say {setting}, which the embedded client cannot do."
    remedy = "Install OpenSSH's client and use --ssh openssh, or leave that setting out for {host}."


class KnownHostsUnusable(OnThisPc):
    """A known_hosts file cannot be read or written."""

    message = "The file {path} cannot be used: {detail}."
    remedy = "Make it readable and writable for yourself."


class NoWheels(OnThisPc):
    """What a board without packages needs is not on this PC and cannot be fetched."""

    message = "This PC lacks the packages for Python {version}, and could not fetch them: {detail}."
    remedy = (
        "Connect this PC to the internet and run: rkernel fetch --python {version} "
        "(or copy {folder} from a PC where that was done)."
    )


class PcCacheUnusable(OnThisPc):
    """Our folder on this PC cannot be written."""

    message = "This PC's folder {path} cannot be used: {detail}."
    remedy = "Make it writable, and check that the disk is not full."


class NotSupportedHere(OnThisPc):
    """This system cannot play a board."""

    message = "This system cannot play a board itself."
    remedy = "Use Linux or macOS for --via local, or name a board with --host."
