"""Advice on packages: for the board's own package manager, or none."""

from __future__ import annotations

import pytest

from rkernel_launcher.board import package_managers
from tests.unit.board.test_requirements import found


@pytest.mark.parametrize(
    ("installers", "line"),
    [
        (["apt-get"], "Run there, as root: apt-get install python3"),
        (["opkg"], "Run there, as root: opkg install python3"),
        (["apk"], "Run there, as root: apk add python3"),
        (["dnf"], "Run there, as root: dnf install python3"),
        (["pacman"], "Run there, as root: pacman -S python"),
        ([], "Install all of Python there, or name another Python with --python."),
    ],
)
def test_a_part_of_python(installers: list[str], line: str) -> None:
    detail = "ModuleNotFoundError: No module named 'asyncio.events'"
    for python in (None, "python3", "/usr/bin/python3"):
        error = package_managers.trimmed(detail, python, installers)
        assert str(error).endswith(line) and "lacks asyncio.events" in str(error)
    own = package_managers.trimmed(detail, "/opt/python/bin/python3", installers)
    assert "Install all of Python there" in str(own), "it is no package's"


@pytest.mark.parametrize("detail", ["No module named 'zmq'", "SyntaxError", "status 1", ""])
def test_what_is_no_part_of_python(detail: str) -> None:
    assert package_managers.trimmed(detail, None, ["apt-get"]) is None


@pytest.mark.parametrize(
    ("installers", "line"),
    [
        (["pacman"], "Run there, as root: pacman -S python-ipykernel"),
        (["dnf", "apk"], "Run there, as root: dnf install python3-ipykernel"),
        (["opkg"], "opkg install python3-pip && /usr/bin/python3 -m pip install ipykernel"),
    ],
)
def test_ipykernel(installers: list[str], line: str) -> None:
    assert line in package_managers.how_to_install("ipykernel", found(installers=installers))


def test_debugpy_where_pip_is_missing() -> None:
    said = package_managers.how_to_install("debugpy", found(installers=["apk"]))
    assert said == "Run there: apk add py3-pip && /usr/bin/python3 -m pip install debugpy"
