"""The soak for a while: four kernels, eight clients, a network that breaks all the time."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.boards import ROOT

SEED = "7"
LONG = 15.0  # minutes


@pytest.mark.parametrize(
    "minutes",
    [0.5, pytest.param(LONG, marks=[pytest.mark.slow, pytest.mark.timeout((LONG + 5) * 60)])],
)
def test_nothing_is_lost_in_minutes_of_cuts(minutes: float) -> None:
    command = [sys.executable, "-m", "benchmarks", "soak"]
    command += ["--minutes", str(minutes), "--seed", SEED]
    limit = (minutes + 4) * 60
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)
    assert run.returncode == 0, run.stderr
    said = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", run.stdout, re.MULTILINE))
    assert int(said["lines received"]) > 500
    assert said["lost"] == said["twice"] == said["faults in all"] == "0"
    assert sum(int(count) for what, count in said.items() if what.startswith("cuts: ")) >= 3
