"""The wheels for a bundle: pinned by hash, fetched once, kept on this PC.

`pins/` contains a file for each version of Python that a board may have, in pip's format;
`python dev.py pins` writes them. In the cache the name of a wheel is its hash, which we compare
with the content before we use it. A version of Python is a text such as "3.11" here.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import platformdirs

from ... import errors
from ...sanitize import escape_controls

# Tornado has no pure wheel. The compiled part of this one is optional; the bundle leaves it out.
PLATFORM = "manylinux2014_x86_64"
PLATFORMS = (PLATFORM, "manylinux_2_17_x86_64", "manylinux_2_5_x86_64")
_PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\S+) --hash=sha256:(?P<hash>[0-9a-f]{64})")
_RETRIES = ("--retries", "1", "--timeout", "15")  # pip's own are two minutes without a word


def versions() -> list[str]:
    """Return the versions of Python that have pins, such as "3.8", the oldest first."""
    names = [entry.name.removesuffix(".txt") for entry in _folder().iterdir()]
    return sorted(names, key=lambda name: tuple(map(int, name.split("."))))


def pins(version: str) -> str:
    """Return the requirements for a version of Python, in pip's format.

    Raises:
        NoBundle: There are no pins for that version.
    """
    if version not in versions():
        raise errors.NoBundle(version=version, versions=", ".join(versions()))
    return _folder().joinpath(f"{version}.txt").read_text("utf-8")


def packages(version: str) -> dict[str, str]:
    """Return the versions of the packages for a version of Python, by name.

    Raises:
        NoBundle: There are no pins for that version.
    """
    return {pin["name"]: pin["version"] for pin in _PIN.finditer(pins(version))}


def cache() -> Path:
    """Return the folder that keeps wheels on this PC; it may not exist yet.

    It is not the folder that rkernel has on a board, since this machine may be a board too.
    """
    return platformdirs.user_cache_path("rkernel-wheels", appauthor=False)


def get(version: str) -> list[bytes]:
    """Return the wheels for a version of Python, fetched from PyPI if they are not in the cache.

    Raises:
        NoBundle: There are no pins for that version.
        NoWheels: pip could not fetch a wheel, or fetched another one.
        PcCacheUnusable: We cannot read or write the cache.
    """
    wanted = {pin["hash"]: pin[0] for pin in _PIN.finditer(pins(version))}
    try:
        missing = [line for digest, line in wanted.items() if _read(digest) is None]
        if missing:
            _fetch(version, missing)
        found = [_read(digest) for digest in wanted]
    except OSError as error:
        detail = error.strerror or str(error)
        raise errors.PcCacheUnusable(path=cache(), detail=detail) from error
    if None in found:
        raise _no_wheels(version, "other files came than the pins name")
    return [wheel for wheel in found if wheel is not None]


def _folder() -> resources.abc.Traversable:
    return resources.files(__package__).joinpath("pins")


def _read(digest: str) -> bytes | None:
    """Return a wheel, or None if it is missing; remove one whose content has changed."""
    path = cache() / f"{digest}.whl"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if hashlib.sha256(content).hexdigest() == digest:
        return content
    path.unlink()
    return None


def _fetch(version: str, requirements: list[str]) -> None:
    """Make pip put wheels into the cache, or raise NoWheels or OSError."""
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as part:
        wanted = Path(part, "requirements.txt")
        wanted.write_text("\n".join(requirements) + "\n", "utf-8")
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", *_RETRIES]
        command += ["--python-version", version, "--implementation", "cp"]
        for platform in PLATFORMS:
            command += ["--platform", platform]
        command += ["--dest", part, "-r", str(wanted)]
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        if run.returncode:
            raise _no_wheels(version, _complaint(run.stderr))
        for wheel in Path(part).glob("*.whl"):
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            wheel.replace(cache() / f"{digest}.whl")


def _complaint(stderr: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in stderr.strip().splitlines()]
    return escape_controls(lines[-1].strip().rstrip(".")) if lines else "pip said nothing"


def _no_wheels(version: str, detail: str) -> errors.NoWheels:
    return errors.NoWheels(version=version, detail=detail, folder=cache())
