"""What can go wrong, each with its sentences: what is wrong, and what to do next.

Every error that a user can meet is a class here. Its `message` and `remedy` are the one place that
puts the error into words. Classes without words of their own are groups, for code that treats
several errors alike. The tables in docs/errors.md list the same classes, and a test compares the
two.
"""

from __future__ import annotations


class RkernelError(Exception):
    """Carry the facts of a failure; `str()` turns them into sentences for people.

    Args:
        **facts: The values for the fields of the class's `message` and `remedy`. Further facts are
            for the program alone.
    """

    message = "Something went wrong: {detail}."
    remedy = "Run the command again with --debug for details."

    retry_after = 0.0  # seconds to wait, at least, before the same is tried again

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(f"{self.message.format(**facts)} {self.remedy.format(**facts)}")


# --- rkernel could not reach the board ------------------------------------------------------------


class Unreachable(RkernelError):
    """rkernel could not reach the board."""


class UnknownHost(Unreachable):
    """The host's name does not resolve."""

    message = "This PC cannot find the host {host}."
    remedy = "Check the spelling, or give the board's IP address."


class NobodyAnswers(Unreachable):
    """Nothing answers at that address and port."""


class PortRefused(NobodyAnswers):
    """Nothing listens at the port."""

    message = "{host} refused the connection to port {port}."
    remedy = "Check the port number, and check that {service} runs on the board."


class PortNotForwarded(PortRefused):
    """Nothing listens at a port of this PC that should lead to the board."""

    message = "{host} is this PC, and nothing listens at its port {port}."
    remedy = "Start again the program that forwards that port to the board, or correct the port."


class ConnectTimeout(NobodyAnswers):
    """The host does not answer in time."""

    message = "{host} did not answer on port {port} within {seconds:.0f} s."
    remedy = "Check that the board is on and on this network."


class PortFiltered(NobodyAnswers):
    """The host is there, and something drops what we send to the port."""

    message = "{host} is on, but nothing answers on port {port}: a firewall drops what comes there."
    remedy = "Allow port {port} in the firewall of the board, or use the port that it allows."


class NoRoute(NobodyAnswers):
    """The network does not lead to the host."""

    message = "This PC cannot reach {host} on port {port}: {detail}."
    remedy = "Check that the board is on and on this network."


class SshSilent(NobodyAnswers):
    """Something accepts the connection and says nothing."""

    message = "{host} accepts connections to port {port}, but its SSH server says nothing."
    remedy = "Check the port number. If the board is busy, wait. If it hangs, restart it."


class SshBusy(Unreachable):
    """The server hung up before the login began."""

    message = "The SSH server of {host} closed the connection before the login began: {detail}."
    remedy = (
        "Wait a minute and try again. If it happens again, check that an SSH server has port "
        "{port}, and that this server allows this PC to connect."
    )


class NoCommonAlgorithm(Unreachable):
    """Client and server have no cipher, key type or the like in common."""

    message = "ssh and the server of {host} have no {what} in common. The server offers {offer}."
    remedy = (
        "Update the server. If you cannot, add these lines to ~/.ssh/config: Host {host}, and "
        "below it: {setting}"
    )


class CommandFailed(Unreachable):
    """The command of --command ends before a program of ours runs."""

    message = "The command `{command}` ended with status {status}: {detail}."
    remedy = "Try it in a terminal: {command} python3 --version"


class CommandSilent(Unreachable):
    """The command of --command runs, and no answer of our program comes."""

    message = "The command `{command}` gave no answer within {seconds:.0f} s. It said: {detail}."
    remedy = (
        "rkernel cannot answer a command that asks: log in without a question, as with sudo -n. "
        "Try it in a terminal: {command} python3 --version"
    )


class NoInput(Unreachable):
    """What starts our program does not pass its stdin on."""

    message = "Python starts on the board, but it receives no input."
    remedy = "The command must pass its input on: docker exec and kubectl exec need the option -i."


class NoTransport(Unreachable):
    """The board answers neither over ssh nor over rpyc."""

    message = "{host} answers neither over ssh ({ssh}) nor over rpyc ({rpyc})."
    remedy = "Start sshd or MaixPy3's rpyc service on the board, and check the address."


class ProxyFailed(Unreachable):
    """The ProxyCommand of the ssh settings did not bring us to a server."""

    message = "The ProxyCommand for {host} failed: {detail}."
    remedy = "Try it in a terminal: {command}"


class JumpFailed(Unreachable):
    """The jump host cannot reach the next host."""

    message = "The jump host {jump} could not reach {host} on port {port}: {detail}."
    remedy = (
        "Check that {jump} can use that address, and that the sshd of {jump} allows TCP "
        "forwarding. Try it in a terminal: {command}"
    )


class SshFailed(Unreachable):
    """The SSH connection failed for another reason."""

    message = "The SSH connection to {host} failed: {detail}."
    remedy = "Try it in a terminal: {command}"


class NotRpyc(Unreachable):
    """Something answers at the port, but it is not rpyc's SlaveService."""

    message = "{host} answers on port {port}, but not as an rpyc service ({detail})."
    remedy = "Check the port number, and check that rpyc's SlaveService runs there."


class BoardSilent(Unreachable):
    """The board does not answer a request in time."""

    message = "The board did not answer within {seconds:.0f} s."
    remedy = "Check that the board is on and not too busy, then try again."


class ShellSilent(BoardSilent):
    """What a login runs on the board says something, and then nothing, and starts no Python."""

    message = (
        "The login shell on the board said “{detail}”, but did not start Python "
        "within {seconds:.0f} s."
    )
    remedy = (
        "Look for what waits there, such as a menu, in the startup files of that account "
        "(~/.bashrc, ~/.profile, ~/.zshenv), and let it run in interactive shells only."
    )


class BoardLost(Unreachable):
    """The connection ended while the board worked for us."""

    message = "The connection to the board broke ({detail})."
    remedy = "Check that the board is on and on this network, then try again."


class AdbFailed(Unreachable):
    """The adb server could not do what it was asked."""

    message = "adb could not reach {what}: {detail}."
    remedy = "Check that the device is on, and that adb devices lists it."


class NoDevice(Unreachable):
    """The adb server has no device."""

    message = "adb finds no device."
    remedy = (
        "Plug the board in with a USB cable that carries data, and check that adbd runs on it. "
        "For a board on the network use --host adb:HOST:PORT."
    )


class UnknownDevice(NoDevice):
    """The adb server has no device of that name."""

    message = "adb finds no device {name}, but only: {devices}."
    remedy = "Check the name and the cable. For a board on the network use --host adb:HOST:PORT."


class SeveralDevices(Unreachable):
    """The adb server has several devices, and none was named."""

    message = "adb finds several devices: {devices}."
    remedy = "Name one of them with --host adb:NAME."


class DeviceNotReady(Unreachable):
    """The adb server has the device, but not for us, or not yet."""

    message = "The device {name} is not ready: adb says {state}."
    remedy = "Wait a moment. If that does not help, unplug the cable and plug it in again."


class NoExec(Unreachable):
    """The device's adbd starts no programs for us, and no rpyc service answers."""

    message = "The adbd of {host} is too old to carry a program's bytes, and no rpyc service runs."
    remedy = (
        "Start MaixPy3's rpyc service on the board (python -c 'import maix.mjpg; "
        "maix.mjpg.start()'), or update the board's adbd."
    )


class NoAgent(Unreachable):
    """What answers at the agent's port is not our agent, or nothing does."""


class AgentRefused(NoAgent):
    """Nothing listens at the agent's port."""

    message = "{host} refused the connection to the agent's port {port}."
    remedy = "Check that no firewall blocks that port, or choose another port with --link-port."


class AgentNotForwarded(AgentRefused):
    """Nothing listens at the agent's port of this PC, to which something forwards the board's."""

    message = "The rpyc service at {host} answers, but the agent's port {port} there refuses."
    remedy = (
        "If adb forward leads to the board, use --via adb, which needs no forwarded port. "
        "If ssh -L does, use --via ssh."
    )


class AgentGone(NoAgent):
    """The agent that we knew has ended."""

    message = "The agent on {host} has ended."
    remedy = "Start the kernel again from the frontend."


class NoHandover(NoAgent):
    """The agent could not take a connection over."""

    message = "The agent on {host} could not take over the connection: {detail}."
    remedy = "Try again. If that does not help, restart the board."


class NotAnAgent(NoAgent):
    """Something else answers at the agent's port."""

    message = "The program that answers at the agent's port on {host} is not an rkernel agent."
    remedy = "End that program, or choose another port with --link-port."


class OtherAgent(NoAgent):
    """The agent speaks another version of the protocol."""

    message = (
        "The agent on {host} speaks version {version} of the link's protocol, "
        "but this rkernel speaks another version."
    )
    remedy = (
        "Update rkernel on the PC that has the older one, or choose another port with --link-port."
    )


class LinkRefused(NoAgent):
    """The agent closed the connection before the handshake was over."""

    message = "The agent on {host} does not accept the token of this launcher."
    remedy = "Start the kernel again. If that does not help, restart the board."


class WrongToken(NoAgent):
    """What listens at the agent's port does not know the agent's token."""

    message = "The agent on {host} cannot prove that it is rkernel's agent."
    remedy = "Check that no other machine answers in the board's place, or use --via ssh."


class HandshakeCut(Unreachable):
    """The connection broke, or the agent was silent, before the agent had proven itself."""

    message = "The connection to the agent on {host} broke during the handshake: {detail}."
    remedy = "Try again. If that does not help, check which program answers there."


# --- The board refused the login, or may be another machine ---------------------------------------


class NotLetIn(RkernelError):
    """The board refused the login, or may be another machine."""


class UnknownHostKey(NotLetIn):
    """No known_hosts file contains the host's key."""

    message = "This PC does not know the SSH key of {host} ({key})."
    remedy = (
        "Run rkernel add --host {address} in a terminal, and check the key that it shows. "
        "A script can use --host-key accept-new."
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

    message = "The file {path} marks the SSH key of {host} as revoked ({key})."
    remedy = "Do not connect. If the mark is wrong, remove the @revoked line from that file."


class LoginRefused(NotLetIn):
    """The server accepted none of the methods that we could try."""

    message = "{host} did not let {user} log in (tried: {tried})."
    remedy = "Check the user name, or install a key there: ssh-copy-id -p {port} {user}@{host}"


class LoginCut(NotLetIn):
    """The server closed the connection during the login."""

    message = "{host} closed the connection during the login of {user} (tried: {tried})."
    remedy = "If the server saw too many keys, name the right one with --identity."


class PasswordRefused(NotLetIn):
    """The password is wrong."""

    message = "{host} did not accept the password of {user}."
    remedy = "Check the password and the user name."


class PasswordNeeded(NotLetIn):
    """The server wants a password, and there is nobody to ask."""

    message = (
        "{host} wants a password for {user}, but this PC's keyring does not contain it "
        "(tried: {tried})."
    )
    remedy = (
        "Run rkernel add --host {address} in a terminal and store the password, "
        "or install a key: ssh-copy-id -p {port} {user}@{host}"
    )


class KeyUnusable(NotLetIn):
    """We cannot read or decrypt the file of a private key."""

    message = "rkernel cannot use the key {path}: {detail}."
    remedy = "Check that file and its passphrase, or name another key with --identity."


class KeyLocked(KeyUnusable):
    """A private key has a passphrase that nobody can give."""

    message = "The key {path} needs a passphrase, and neither the SSH agent nor the keyring has it."
    remedy = (
        "Run ssh-add '{path}'. Or run rkernel add in a terminal and store the passphrase. "
        "If the keychain of macOS has it: ssh-add --apple-load-keychain"
    )


class AgentDeclined(NotLetIn):
    """The SSH agent did not sign with a key that the server would take."""

    message = "{host} would accept a key of {user}, but the SSH agent did not sign with it."
    remedy = "Confirm the use of the key, or touch the security key, when the kernel starts."
    retry_after = 60.0  # seconds: each attempt asks the person again


class SecondFactorNeeded(NotLetIn):
    """The server takes the key, and then wants an answer that changes each time."""

    message = "{host} accepted the key of {user}, and also wants an answer, such as a code."
    remedy = (
        "Let rkernel share a connection that you open: put ControlMaster auto, ControlPath "
        "~/.ssh/%C and ControlPersist 8h under Host {host} in ~/.ssh/config, and log in once in "
        "a terminal with ssh."
    )


class DeviceUnauthorized(NotLetIn):
    """The device does not accept the key of this PC's adb."""

    message = "The device {name} does not accept the key of this PC's adb."
    remedy = (
        "If it has a screen, accept the key there. Otherwise put the content of "
        "~/.android/adbkey.pub into its list of keys."
    )


class KeyNotInstalled(NotLetIn):
    """The public key did not get into authorized_keys."""

    message = "rkernel could not install the key on {place}: {detail}."
    remedy = "Check that you can write to the home folder there, or install the key by hand."


# --- The board lacks what a kernel needs ----------------------------------------------------------


class BoardCannot(RkernelError):
    """The board lacks what a kernel needs."""


class UnknownBoard(BoardCannot):
    """rkernel does not run on machines of this kind."""

    message = "{host} is a board of an unknown kind ({system} on {machine})."
    remedy = "rkernel needs a board that runs Linux."


class NoPython(BoardCannot):
    """The board has no Python of that name."""

    message = "The board could not start Python ({detail})."
    remedy = "Install Python 3.8 or newer there, or give its path with --python."


class OldPython(BoardCannot):
    """The board's Python is too old."""

    message = "The board's Python is {version}, but rkernel needs 3.8 or newer."
    remedy = "Install a newer Python there, or give the path of another one with --python."


class TrimmedPython(BoardCannot):
    """The board's Python lacks a module of its own library."""

    message = "The Python on the board lacks {module}, a part of Python's own library."
    remedy = "{hint}"


class FirstStageFailed(BoardCannot):
    """Python starts on the board, but our code does not."""

    message = "rkernel's code did not start on the board ({detail})."
    remedy = (
        "Check that Python works on the board. Check also what the board's shell prints at login."
    )


class ShellEnded(FirstStageFailed):
    """What a login runs on the board ends, or becomes another program, before it starts Python."""

    message = (
        "The login shell on the board, or what --python names, ended before Python started "
        "({detail})."
    )
    remedy = (
        "Look for exit, exec or tmux in the startup files of that account there (such as "
        "~/.bashrc, ~/.profile, ~/.zshenv), and let them act in interactive shells only."
    )


class UnfitPackages(BoardCannot):
    """The board's own packages do not suffice."""


class NoIpykernel(UnfitPackages):
    """The board's Python lacks ipykernel or a package that it needs."""

    message = "The Python on {host} has no {package}."
    remedy = "{hint}"


class OldPackages(UnfitPackages):
    """The board's packages are too old for its ipykernel."""

    message = "The board's ipykernel {ipykernel} needs {needs}, but the board has {has}."
    remedy = "{hint}"


class NoBundle(BoardCannot):
    """rkernel has no packages to send for the board's version of Python."""

    message = "rkernel has no packages to send for Python {version}, only for {versions}."
    remedy = "Install ipykernel on the board, or name another Python there with --python."


class BundleFailed(BoardCannot):
    """The board could not unpack the packages for its kernel."""

    message = "The board could not install the packages that rkernel sent: {detail}."
    remedy = "Run the command again. It goes on where it stopped."


class NoSpaceForBundle(BoardCannot):
    """The board's disk has no space for the packages of a kernel."""

    message = (
        "A kernel's packages take {needed:.1f} MB in {path} on the board, "
        "but only {free:.1f} MB are free."
    )
    remedy = "Remove files there, or set XDG_CACHE_HOME on the board to a folder with space."


class NoSpace(BoardCannot):
    """The board's disk is full."""

    message = "The board has no space left for {path}."
    remedy = "Free about 1 MB there, or set XDG_CACHE_HOME on the board to a folder with space."


class NoInodes(NoSpace):
    """The board's disk takes no further file."""

    message = "The board's disk has room left, but for no further file in {path}."
    remedy = "Remove files on that disk: small ones count as much as large ones. See df -i."


class TmpUnusable(BoardCannot):
    """Programs cannot write to /tmp on the board."""

    message = "On the board, programs cannot write to {path}: {detail}."
    remedy = "Look at it with: df {path}, and ls -ld {path}. Free space there, or set mode 1777."


class ClockOff(BoardCannot):
    """The board's clock and this PC's differ."""

    message = "The board's clock is {seconds:.0f} s {direction} this PC's: it says {now}."
    remedy = (
        "Kernels run all the same, but https and file times go wrong. Set the clock there, as "
        "root: date -s '@{right:.0f}'"
    )


class CodeDamaged(BoardCannot):
    """Our code on the board is not what we sent."""

    message = "rkernel's code on the board is damaged: {path}."
    remedy = "Remove that folder on the board. rkernel sends it again at the next start."


class CameraForbidden(BoardCannot):
    """Our account on the board may not use a camera."""

    message = "Your account on the board may not use the camera {path}."
    remedy = "Run there, as root: usermod -aG video YOUR-ACCOUNT. Then log in again."


class CacheUnusable(BoardCannot):
    """We cannot write to our folder on the board."""

    message = "On the board, rkernel cannot write to {path}: {detail}."
    remedy = "Make it writable, or set XDG_CACHE_HOME on the board to a writable folder."


class NoMemory(BoardCannot):
    """The board has too little memory for a kernel."""

    message = "{host} has {available} MB of memory available, but a kernel takes about {needed} MB."
    remedy = "End programs on the board, or use --no-check to add the kernel all the same."


class AgentFailed(BoardCannot):
    """The agent does not start."""

    message = "The agent did not start on the board: {detail}."
    remedy = "Check that the board's Python is complete, or name another one with --python."


class LinkPortTaken(BoardCannot):
    """Another program on the board listens at the link's port."""

    message = "Another program on the board uses port {port} ({detail})."
    remedy = (
        "End that program (perhaps an rkernel agent of another version), "
        "or choose another port with --link-port."
    )


class OtherAgentHasPort(LinkPortTaken):
    """An agent of another version has the link's port."""

    message = "An rkernel agent of another version uses port {port} on the board."
    remedy = (
        "End its kernels with the rkernel that started them: rkernel stop NAME --all. The agent "
        "ends a minute later. Or choose another port with --link-port."
    )


# --- What runs on the board does not work as it should --------------------------------------------


class BoardBroken(RkernelError):
    """What runs on the board does not work as it should."""


class BoardMisbehaved(BoardBroken):
    """A program on the board sent what it never sends.

    Args:
        what: The program that should answer.
        detail: What came from it.
    """

    message = "The program that answers is not {what}: it sent {detail}."
    remedy = "It read and ran nothing on this PC. Check which machine answers there."

    def __init__(self, *, what: str, detail: str) -> None:
        super().__init__(what=what, detail=detail)


class BoardError(BoardBroken):
    """Our code raised an exception on the board; `facts["traceback"]` contains its traceback."""

    message = "The board reports: {detail}."


# --- A kernel did not start, has ended, or is not available ---------------------------------------


class NoKernelRuns(RkernelError):
    """A kernel did not start, has ended, or is not available."""


class KernelNotStarted(NoKernelRuns):
    """The kernel's process did not start."""

    message = "The board could not start the kernel: {detail}."
    remedy = "Check --python, --workdir and --env. rkernel add shows what the board has."


class KernelSilent(NoKernelRuns):
    """The kernel started but did not answer."""

    message = "The kernel on {host} did not answer within {seconds:.0f} s."
    remedy = (
        "Look at the launcher's log, or try again: the first start takes longest. "
        "rkernel add --no-check adds the kernel without a trial."
    )


class CheckFailed(NoKernelRuns):
    """The kernel that `rkernel add` started for a trial did not work."""

    message = "The trial of a kernel on {host} failed: {detail}"
    remedy = "To add the kernel all the same, use --no-check."


class DemoFailed(NoKernelRuns):
    """A cell of the demonstration did not show what it should."""

    message = "The demonstration failed: {detail}."


class KernelDied(NoKernelRuns):
    """The kernel's process ended by itself."""

    message = "The kernel {how}."
    remedy = "{hint}"


class KernelGone(NoKernelRuns):
    """The link is back, but the kernel is gone."""

    message = "The kernel on {host} is gone: {why}."
    remedy = "{hint}"


class LinkLost(NoKernelRuns):
    """The link broke, and did not come back while the kernel waited."""

    message = (
        "The link to {host} was down for longer than the orphan timeout of {orphan_timeout} "
        "({detail})."
    )
    remedy = "The kernel's variables are lost. Check the network and start the kernel again."


class NoKernel(NoKernelRuns):
    """The board has no such kernel, several that fit, or none that can be taken over."""

    message = "{host} has no kernel {kernel} that is ready, or several whose ids begin like that."
    remedy = "rkernel ps shows the kernels there."


class NoOrphan(NoKernelRuns):
    """The board has no kernel whose launcher is gone."""

    message = "{host} has no kernel whose launcher is gone."
    remedy = "rkernel ps shows the kernels there."


class OtherMachine(NoKernelRuns):
    """The way to the board now leads to another machine."""

    message = "{host} now leads to the machine {now}, but the kernel runs on {before}."
    remedy = (
        "Start the kernel again to use {now}. The kernel on {before} ends when its orphan timeout "
        "is over."
    )


class KernelBusy(NoKernelRuns):
    """The kernel has a launcher that is connected."""

    message = "Another launcher is connected to the kernel {kernel} on {host}."
    remedy = "Use the frontend that started that launcher, or end that frontend first."


class KernelsStay(NoKernelRuns):
    """Kernels that should end are still there."""

    message = "rkernel could not stop the kernels on {host}: {detail}."
    remedy = "Try again. If that does not help, restart the board."


class NoView(NoKernelRuns):
    """No launcher serves the pictures of a board."""

    message = "No kernel on {host} serves its pictures now."
    remedy = "Add the kernel with rkernel add --video mjpeg, and start it in a notebook."


# --- The reason is on this PC: an option, a file, a port ------------------------------------------


class OnThisPc(RkernelError):
    """The reason is on this PC: an option, a file, a port."""


class BadOption(OnThisPc):
    """An option cannot have this value."""

    message = "{option} cannot be {value!r}: {detail}."
    remedy = "See rkernel add --help."


class BadName(OnThisPc):
    """A kernel cannot have this name."""

    message = "{name!r} cannot be the name of a kernel."
    remedy = (
        "Begin with a letter or a digit, and use only letters, digits, dots, dashes and "
        "underscores."
    )


class NameTaken(OnThisPc):
    """A kernel of that name exists already."""

    message = "A kernel named {name} exists already."
    remedy = "Choose another name with --name, or replace that kernel with --yes."


class ForeignName(NameTaken):
    """A kernel of that name exists already, and rkernel did not write it."""

    message = "A kernel named {name} exists already, and rkernel did not add it."
    remedy = "Choose another name with --name."


class NoSuchKernel(OnThisPc):
    """rkernel has written no kernelspec of that name."""

    message = "rkernel has added no kernel named {name}."
    remedy = "rkernel list shows the kernels that it has added."


class OldKernelspec(OnThisPc):
    """A kernelspec's argv contains words that are not options of this version."""

    message = "An older rkernel wrote this kernelspec: it contains {words}."
    remedy = "Run rkernel add again for that board."


class KernelspecBroken(OnThisPc):
    """A kernelspec of rkernel's cannot be read."""

    message = "The kernelspec {path} is damaged: {detail}."
    remedy = "Remove that folder, and run rkernel add again for that board."


class KernelspecWithoutPython(OnThisPc):
    """The Python that a kernelspec starts cannot run the launcher."""

    message = "The kernelspec {name} starts {python}, which cannot run rkernel: {detail}."
    remedy = (
        "Run rkernel add again for that board, with --name {name} --yes, from the Python that has "
        "rkernel."
    )


class HiddenFromVsCode(OnThisPc):
    """VS Code does not look for kernels where rkernel writes them."""

    message = "VS Code does not find the kernels in {folder}: it does not read JUPYTER_DATA_DIR."
    remedy = "Unset JUPYTER_DATA_DIR, or set JUPYTER_PATH to {data} where VS Code starts."


class SshAgentGone(OnThisPc):
    """SSH_AUTH_SOCK names an agent that does not answer."""

    message = "The SSH agent that SSH_AUTH_SOCK names does not answer: {detail}."
    remedy = "Start it again, or unset SSH_AUTH_SOCK."


class KernelsUnusable(OnThisPc):
    """We cannot write to the folder of the kernelspecs on this PC."""

    message = "rkernel cannot change the kernels in {path}: {detail}."
    remedy = "Make that folder writable for yourself."


class BadConnectionFile(OnThisPc):
    """We cannot use the frontend's connection file."""

    message = "rkernel cannot use the connection file {path}: {detail}."
    remedy = (
        "A frontend writes this file. To start a launcher by hand, use a file that jupyter_client "
        "wrote."
    )


class PortInUse(OnThisPc):
    """Another program uses an endpoint of the connection file."""

    message = "The launcher cannot listen at {endpoint}: {detail}."
    remedy = "Start the kernel again, so that the frontend chooses other ports."


class VideoPortInUse(OnThisPc):
    """Another program uses the port for pictures in a browser."""

    message = "rkernel cannot serve pictures at port {port} of this PC: {detail}."
    remedy = "End the program that uses the port, or choose another port with --video-port."


class SshConfigBroken(OnThisPc):
    """We cannot understand the ssh settings."""

    message = "rkernel cannot use the ssh settings for {host}: {detail}."
    remedy = "Correct them. ssh -G {host} shows what ssh reads."


class NoProgram(OnThisPc):
    """A program that should carry the bytes is not on this PC."""

    message = "This PC has no program {program}."
    remedy = "Install it, or check its name and PATH."


class AdbMissing(OnThisPc):
    """The package that talks to adb is not installed."""

    message = "rkernel needs the package adbutils to reach a board over adb."
    remedy = 'Run: pip install "rkernel[adb]"'


class AdbUnusable(OnThisPc):
    """The adb server does not run, and we cannot start it."""

    message = "rkernel cannot use this PC's adb: {detail}."
    remedy = "Install adb (apt install adb, or brew install android-platform-tools)."


class DeviceForbidden(OnThisPc):
    """This PC's user may not open the USB device."""

    message = "You may not use the USB device {name} on this PC (adb says no permissions)."
    remedy = (
        "On Debian and Ubuntu, run: sudo apt install android-sdk-platform-tools-common, and "
        "sudo adduser $USER plugdev. Then log in again, and plug the cable in again."
    )


class SshUnusable(OnThisPc):
    """We cannot use the `ssh` of this PC."""

    message = "rkernel cannot use the program {program}: {detail}."
    remedy = "Install OpenSSH's client, or use --ssh paramiko."


class SettingNotHonoured(OnThisPc):
    """The ssh settings say what the embedded client cannot do."""

    message = "The ssh settings for {host} say {setting}, which the embedded client cannot do."
    remedy = "Install OpenSSH's client and use --ssh openssh, or remove that setting for {host}."


class KnownHostsUnusable(OnThisPc):
    """We cannot read or write a known_hosts file."""

    message = "rkernel cannot use the file {path}: {detail}."
    remedy = "Make it readable and writable for yourself."


class NoWheels(OnThisPc):
    """This PC lacks the packages for a board without any, and cannot fetch them."""

    message = "This PC lacks the packages for Python {version} and could not fetch them: {detail}."
    remedy = (
        "Connect this PC to the internet and run: rkernel fetch --python {version} "
        "(or copy {folder} from a PC that has fetched them)."
    )


class PcCacheUnusable(OnThisPc):
    """We cannot write to our folder on this PC."""

    message = "rkernel cannot use this PC's folder {path}: {detail}."
    remedy = "Make it writable, and check that the disk is not full."


class NotSupportedHere(OnThisPc):
    """This system cannot play the board."""

    message = "This system cannot play the board."
    remedy = "Use Linux or macOS for --via local, or name a board with --host."
