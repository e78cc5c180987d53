#!/usr/bin/env python3
"""Try rkernel or test it from a checkout.

    python3 dev.py demo              a kernel on this machine; what follows goes to rkernel
    python3 dev.py test              lint, types, contracts and all tests but the slow ones
    python3 dev.py test --fast       lint, types, contracts and tests/unit, within two minutes
    python3 dev.py test --only KIND  one folder of tests/: unit, local, emulated, browser, …
    python3 dev.py test --full       the slow tests too, such as the long soak
    python3 dev.py test -k link      what follows goes to pytest
    python3 dev.py docs              the documentation, in docs/_build
    python3 dev.py pins              choose anew what boards are sent that have no ipykernel

Needs only Python: makes a virtual environment in .venv and installs there what is wanted. Run as
root on Debian, `test` installs the system packages that the tests need as well; elsewhere the tests
that need them are skipped with a reason. `test --fast` needs neither.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PINS = ROOT / "rkernel_launcher" / "board" / "bundle" / "pins"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
PACKAGES = [
    *("chromium", "chromium-driver"),  # JupyterLab in a browser
    *("openssh-server", "openssh-client", "dropbear-bin"),  # real servers to log in to
    *("mmdebstrap", "qemu-system-arm", "qemu-utils", "e2fsprogs", "cpio"),  # the emulated board
    *("iproute2", "iptables", "procps", "faketime"),
    "avahi-daemon",  # publishes a host by mDNS
    *("sudo", "munge", "slurm-client", "slurmctld", "slurmd"),  # --via command
    "libturbojpeg0",  # the fastest of the encoders
]
CHECKS = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["lint-imports"],
]
KINDS = ["unit", "local", "emulated", "browser", "fuzz", "conformance"]
FAST_SECONDS = 120  # that --fast may take
# Two processes run the tests: while one waits for a board, the other computes.
PYTEST = ["-m", "pytest", "-q", "--numprocesses=2", "--durations=25"]
# What boards are sent, by version of Python. What ipykernel imports of zmq, board_agent/zmtp has to
# know: 6.31 wants the same of it as 6.29. The other limits are for size; a newer jedi has 30 MB.
KERNELS = {"3.8": "6.29.5", "3.9": "6.29.5"}
KERNELS.update(dict.fromkeys(("3.10", "3.11", "3.12", "3.13"), "6.31.0"))
LIMITS = ["wcwidth<0.3", "jedi<0.20", "python-dateutil<3", "platformdirs<4.5", "packaging<26"]
NOT_SENT = ("debugpy", "psutil", "pyzmq", "tzdata")


def main(argv):
    """Do what the first argument says."""
    if not argv or argv[0] not in ("demo", "docs", "test", "pins"):
        sys.exit(__doc__)
    if sys.version_info < (3, 10):
        sys.exit(
            "rkernel needs Python 3.10 or newer on the PC; this is %d.%d." % sys.version_info[:2]
        )
    os.chdir(ROOT)
    if argv[0] == "demo":
        make_environment(".")
        return run(BIN / "rkernel", "demo", *argv[1:])
    if argv[0] == "docs":
        return build_docs()
    if argv[0] == "pins":
        make_environment(".")
        return make_pins()
    return test(argv[1:])


def test(argv):
    """Check the code and run its tests, or those that the options ask for."""
    parser = argparse.ArgumentParser("dev.py test", usage=__doc__, allow_abbrev=False)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--fast", action="store_true")
    kind.add_argument("--full", action="store_true")
    kind.add_argument("--only", choices=KINDS)
    asked, rest = parser.parse_known_args(argv)
    if not asked.fast:
        install_system_packages(PACKAGES)
    make_environment(".[test]")
    started = time.monotonic()
    if not asked.only:
        for check in CHECKS:
            run(BIN / check[0], *check[1:])
    if not asked.only and not asked.fast:
        build_docs()
    folders = ["tests/" + (asked.only or "unit")] if asked.fast or asked.only else []
    marks = [] if asked.full else ["-m", "not slow"]
    run(BIN / "python", *PYTEST, *folders, *marks, *rest)
    seconds = time.monotonic() - started
    if asked.fast and seconds > FAST_SECONDS:
        print("This took %.0f s. It has to stay below %d s." % (seconds, FAST_SECONDS))
    return 0


def make_environment(what):
    """Install the project, editable, into .venv."""
    if not (BIN / "python").exists() and not (BIN / "python.exe").exists():
        try:
            import ensurepip  # noqa: F401
        except ImportError:  # Debian leaves it out of python3
            install_system_packages(["python3-venv"])
        run(sys.executable, "-m", "venv", VENV)
    run(BIN / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-e", what)


def build_docs():
    """Build the documentation in docs/_build; warnings, such as of a dead link, are errors."""
    make_environment(".[docs]")
    options = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "--fresh-env"]
    return run(BIN / "sphinx-build", *options, "docs", "docs/_build")


def make_pins():
    """Write the bundle's pins: of each package one version, and of that one wheel."""
    run(BIN / "python", "-m", "pip", "install", "-q", "uv")
    options = ["--no-header", "--no-annotate", "--only-binary", ":all:", "--python-version"]
    code = "from rkernel_launcher.board.bundle.wheels import PLATFORMS; print(*PLATFORMS)"
    platforms = subprocess.check_output([str(BIN / "python"), "-c", code], text=True).split()
    for version, kernel in KERNELS.items():
        with tempfile.TemporaryDirectory() as folder:
            wanted, chosen = Path(folder, "wanted.in"), Path(folder, "chosen.txt")
            wanted.write_text("\n".join(["ipykernel==" + kernel, *LIMITS]))
            run(BIN / "uv", "pip", "compile", "-q", *options, version, wanted, "-o", chosen)
            lines = [n for n in chosen.read_text().split() if n.split("==")[0] not in NOT_SENT]
            chosen.write_text("\n".join(lines))
            command = ["-m", "pip", "download", "-q", "--no-deps", "--implementation", "cp"]
            command += ["--only-binary", ":all:"]
            for platform in platforms:
                command += ["--platform", platform]
            command += ["--python-version", version, "-d", folder, "-r", chosen]
            run(BIN / "python", *command)
            wheels = {}
            for wheel in Path(folder).glob("*.whl"):
                digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
                wheels[wheel.name.split("-")[0].lower().replace("_", "-")] = digest
            pins = ["%s --hash=sha256:%s\n" % (n, wheels[n.split("==")[0]]) for n in lines]
        (PINS / (version + ".txt")).write_text("".join(pins))


def install_system_packages(names):
    """Install Debian packages that are missing, where that is possible."""
    if not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    query = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n", *names]
    found = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    there = {line[3:].strip() for line in found.stdout.splitlines() if line.startswith("ii")}
    if missing := [name for name in names if name not in there]:
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", *command], check=True, env=environment)


def run(*command):
    """Run a command; end with its status if it fails."""
    status = subprocess.run([str(word) for word in command]).returncode
    if status:
        sys.exit(status)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
