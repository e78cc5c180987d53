"""Within a package, imports are relative: ruff has a rule for the opposite only (TID252)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boards import ROOT

# On a board these are imported as `zmq` and `psutil`: from there, no relative import leads to us.
STAND_INS = ROOT / "board_agent" / "stand_ins"


@pytest.mark.parametrize("package", ["board_agent", "rkernel_launcher"])
def test_a_package_imports_itself_relatively(package: str) -> None:
    paths = [p for p in sorted((ROOT / package).rglob("*.py")) if STAND_INS not in p.parents]
    assert paths
    assert [line for path in paths for line in absolute_imports(path, package)] == []


def test_stand_ins_need_to_be_an_exception() -> None:
    paths = sorted(STAND_INS.rglob("*.py"))
    assert [line for path in paths for line in absolute_imports(path, "board_agent")]


def absolute_imports(path: Path, package: str) -> Iterator[str]:
    """Yield where a file imports a package by its name, as file:line: name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] == package:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
