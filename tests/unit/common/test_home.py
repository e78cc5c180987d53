"""The folders that the board's processes use."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from board_agent.common import home
from board_agent.common.home import NoHome


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_the_runtime_folder_is_made_and_private(folder: Path) -> None:
    assert home.runtime_folder() == f"{folder}/run/rkernel"
    assert mode(home.runtime_folder()) == 0o700
    assert home.runtime_folder() == f"{folder}/run/rkernel", "the second time too"


@pytest.mark.parametrize(
    "bad", ["open to others", "closed to us", "a link", "a file", "too long", "not there"]
)
def test_a_folder_that_is_not_private_is_not_used(
    folder: Path, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "run" / "rkernel"
    if bad == "open to others":
        path.mkdir(mode=0o755)
    elif bad == "closed to us":
        path.mkdir(mode=0o500)
    elif bad == "a link":
        (folder / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(folder / "elsewhere")
    elif bad == "a file":
        path.touch(0o600)
    elif bad == "too long":
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{folder}/{'x' * 50}")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null")
    assert home.runtime_folder() == f"/tmp/rkernel-{os.getuid()}"
    assert mode(home.runtime_folder()) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can lay a folder of somebody else's")
def test_a_folder_of_somebody_else_is_not_used(folder: Path) -> None:
    path = folder / "run" / "rkernel"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    assert home.runtime_folder() != str(path)


def test_no_folder_at_all_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "is_private", lambda path: False)
    with pytest.raises(NoHome, match=f"{folder}/run/rkernel"):
        home.runtime_folder()


def test_the_cache_is_where_the_user_has_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.cache() == f"{folder}/cache/rkernel"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(folder))
    assert home.cache() == f"{folder}/.cache/rkernel"


def test_the_folder_of_a_login_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes with the login, and kernels are to stay."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    assert home.runtime_folder() == f"/tmp/rkernel-{os.getuid()}"
