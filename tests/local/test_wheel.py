"""The README's second way to install: a wheel of `python -m build`, in a fresh environment."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.boards import ROOT, Board

LIMIT = 240.0  # seconds for pip, which may have to fetch everything
PACKAGES = ("board_agent", "kernelspecs", "rkernel_launcher")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from the sdist, as `python -m build` does."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    [found] = folder.glob("rkernel-*.whl")
    return found


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment; give the folder of its commands."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", str(folder))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", str(wheel))
    return folder / "bin"


def run(*command: str, **options: object) -> str:
    """Run a command, and return what it says on stdout."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, **options)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def test_the_wheel_contains_every_file_of_the_packages(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        "kernelspecs/logo-svg.svg",
        "rkernel_launcher/board/bundle/pins/3.8.txt",
        "rkernel_launcher/board/bundle/trim.ini",
        "rkernel_launcher/launcher/video/view.html",
    } <= files
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == files


def test_a_fresh_environment_adds_a_kernel(scripts: Path, home: Board) -> None:
    environment = {k: v for k, v in home.environment.items() if k != "PYTHONPATH"}
    rkernel = str(scripts / "rkernel")

    def said(*arguments: str) -> str:
        return run(rkernel, *arguments, cwd=home.folder, env=environment)

    assert said("--version").split()[-1] == version("rkernel")
    assert "3.8" in said("fetch", "--help")  # it finds the pins
    assert "Starting a kernel there" in said("add", "--via", "local", "--name", "here")
    folder = Path(environment["JUPYTER_DATA_DIR"], "kernels", "here")
    assert {path.name for path in folder.iterdir()} == {
        *("kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg"),
    }
    argv = json.loads((folder / "kernel.json").read_text())["argv"]
    assert argv[0] == str(scripts / "python")
    [listed] = json.loads(said("list", "--json"))
    assert listed["name"] == "here"
    said("remove", "here")
    assert not folder.exists()
