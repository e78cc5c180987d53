"""The harnesses of fuzz.py, on what was found before, and for a moment on what is new."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.harnesses import CORPUS, HARNESSES, LONGEST, MOST_FILES, seeds
from tests.support.boards import ROOT


@pytest.mark.parametrize("name", HARNESSES)
def test_what_was_found_before(name: str) -> None:
    files = sorted((CORPUS / name).iterdir())
    assert 0 < len(files) <= MOST_FILES
    for path in files:
        data = path.read_bytes()
        assert len(data) <= LONGEST
        try:
            HARNESSES[name](data)
        except BaseException as error:
            error.add_note(f"with {path}") if sys.version_info >= (3, 11) else print(path)
            raise


def test_every_corpus_has_its_harness() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(HARNESSES)


@pytest.mark.parametrize("name", HARNESSES)
@given(data=st.data())
def test_what_nobody_thought_of(name: str, data: st.DataObject) -> None:
    """Blind, but needs no atheris: right input with some bytes changed, or any bytes."""
    seed = data.draw(st.sampled_from([*seeds(name), b""]))
    changed = bytearray(seed[:LONGEST])
    for _ in range(data.draw(st.integers(0, 4)) if changed else 0):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    HARNESSES[name](bytes(changed) + data.draw(st.binary(max_size=100)))


@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris is not here")
@pytest.mark.parametrize("name", HARNESSES)
def test_what_coverage_leads_to(name: str, tmp_path: Path) -> None:
    shutil.copytree(CORPUS / name, tmp_path / name)
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.harnesses",
        name,
        "--seconds",
        "1",
        "--corpus",
        str(tmp_path),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-4000:]
    assert "DONE" in result.stderr or "Done" in result.stderr, result.stderr[-4000:]
    assert 0 < len(list((tmp_path / name).iterdir())) <= MOST_FILES
