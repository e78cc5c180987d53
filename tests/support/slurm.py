"""A Slurm cluster of one node: this machine, with Debian's own slurmctld, slurmd and munge."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.boards import wait_until
from tests.support.ports import unused_port
from tests.support.requirements import skip_or_fail

LIMIT = 60.0
_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "salloc", "scancel")
_SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A cluster; its commands find it by `environment`."""

    def __init__(self, folder: Path) -> None:
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def run(self, *words: str) -> str:
        """Run one of Slurm's commands; return what it says."""
        run = subprocess.run(
            words,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        assert run.returncode == 0, run.stdout
        return run.stdout

    def allocate(self) -> str:
        """Allocate a job that runs nothing yet; return its number."""
        match = re.search(r"allocation (\d+)", self.run("salloc", "--no-shell", "--ntasks=1"))
        assert match
        return match[1]

    def cancel(self, job: str) -> None:
        """End a job."""
        self.run("scancel", job)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a cluster."""
    search = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=search)]
    if missing or os.geteuid() != 0:
        skip_or_fail(f"Slurm needs root and {', '.join(missing) or 'its programs'}")
    with tempfile.TemporaryDirectory(prefix="rk-", dir="/tmp") as name, ExitStack() as stack:
        folder, host = Path(name), socket.gethostname().partition(".")[0]
        folder.chmod(0o755)
        for part in ("state", "spool", "munge"):
            (folder / part).mkdir(mode=0o700)
        (folder / "munge" / "key").write_bytes(os.urandom(1024))
        (folder / "munge" / "key").chmod(0o400)
        ports = {"control": unused_port(), "node": unused_port()}
        settings = _SETTINGS.format(folder=folder, host=host, **ports)
        (folder / "slurm.conf").write_text(settings)
        found = Cluster(folder)
        munge = [
            *("munged", "--foreground", "--force", f"--socket={folder}/munge.socket"),
            *(f"--key-file={folder}/munge/key", f"--seed-file={folder}/munge/seed"),
            *(f"--pid-file={folder}/munge/pid", f"--log-file={folder}/munge/log"),
        ]
        for words in (munge, ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            program = subprocess.Popen(
                words,
                env={**os.environ, **found.environment, "PATH": search},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(program.wait, 30)
            stack.callback(program.terminate)
            if words is munge:
                listens = folder / "munge.socket"
                wait_until(listens.exists, "munged listens", LIMIT)
        wait_until(lambda: _is_idle(found), "the node is idle", LIMIT)
        yield found


def _is_idle(found: Cluster) -> bool:
    words = ["sinfo", "--noheader", "--format=%T"]
    run = subprocess.run(
        words, env={**os.environ, **found.environment}, capture_output=True, text=True
    )
    return run.stdout.strip() == "idle"
