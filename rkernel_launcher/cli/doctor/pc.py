"""The rungs of this PC alone: what frontends, ssh, keyring and adb find here."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core import paths

from ... import errors, os_support
from ...errors import RkernelError
from ...transports import prompts
from ...transports.openssh import program
from .. import kernelspecs
from .rung import Rung

_AGENT_SECONDS = 10.0
_NO_AGENT = 2  # the status of ssh-add where no agent answers
_VS_CODE = ("code", "code-insiders", "codium")
_VS_CODE_FOLDERS = (".vscode", ".vscode-server", ".vscode-oss")


def rkernel(_: None) -> str:
    """Name the versions."""
    return f"{metadata.version('rkernel')} on Python {platform.python_version()}, {sys.executable}"


def jupyter(_: None) -> str | RkernelError:
    """Look at where Jupyter keeps kernels."""
    folder = Path(KernelSpecManager().user_kernel_dir)
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        return errors.KernelsUnusable(path=folder, detail=f"{place} is not writable")
    added = sum(entry.metadata is not None for entry in kernelspecs.find().values())
    return f"{added} kernel{'' if added == 1 else 's'} of rkernel; they are written to {folder}"


def vs_code(_: None) -> str | RkernelError | None:
    """Look at whether VS Code looks there, too."""
    home = Path.home()
    if not any(map(shutil.which, _VS_CODE)) and not any(
        (home / name).exists() for name in _VS_CODE_FOLDERS
    ):
        return None
    data = Path(paths.jupyter_data_dir())
    read = [Path(part) for part in os.environ.get("JUPYTER_PATH", "").split(os.pathsep) if part]
    if data in (_usual_data_folder(home), *read) or "JUPYTER_DATA_DIR" not in os.environ:
        return "finds these kernels"
    return errors.HiddenFromVsCode(folder=data / "kernels", data=data)


def _usual_data_folder(home: Path) -> Path:
    """Return where VS Code looks for the kernels of a user."""
    if os_support.WINDOWS:
        return Path(os.environ.get("APPDATA", home / "AppData" / "Roaming"), "jupyter")
    if sys.platform == "darwin":
        return home / "Library" / "Jupyter"
    return home / ".local" / "share" / "jupyter"


def ssh_program(_: None) -> str:
    """Look at which ssh client takes us to boards."""
    command = os.environ.get("RKERNEL_SSH") or None
    try:
        return program.find(command).name
    except (errors.NoProgram, errors.SshUnusable) as error:
        wrong = str(error).partition(". ")[0]
        return f"{wrong}; --ssh auto takes the client that comes with rkernel"


def ssh_agent(_: None) -> str | RkernelError:
    """Look at whether an SSH agent answers."""
    if os_support.WINDOWS or not os.environ.get("SSH_AUTH_SOCK"):
        return "none: SSH_AUTH_SOCK is not set"
    try:
        run = subprocess.run(
            ["ssh-add", "-l"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_AGENT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return errors.SshAgentGone(detail=str(error))
    if run.returncode == _NO_AGENT:
        detail = run.stderr.decode("utf-8", "replace").strip().rstrip(".")
        return errors.SshAgentGone(detail=detail or "it says nothing")
    keys = len(run.stdout.splitlines()) if run.returncode == 0 else 0
    return f"answers, with {keys} key{'' if keys == 1 else 's'}"


def keyring(_: None) -> str:
    """Look at whether passwords can be kept."""
    return prompts.keyring_name() or "none: rkernel cannot keep a password"


def adb(_: None) -> str:
    """Look at whether boards on a USB cable can be reached."""
    try:
        return f"adbutils {metadata.version('adbutils')}"
    except metadata.PackageNotFoundError:
        return 'not installed; --via adb needs: pip install "rkernel[adb]"'


RUNGS = [
    Rung("rkernel", rkernel),
    Rung("Jupyter", jupyter),
    Rung("VS Code", vs_code),
    Rung("ssh", ssh_program),
    Rung("SSH agent", ssh_agent),
    Rung("Keyring", keyring),
    Rung("adb", adb),
]
