"""Half a minute of the soak: four kernels, eight clients, a network that breaks all the time."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.boards import ROOT

SEED = "7"


def test_nothing_is_lost_in_half_a_minute_of_cuts() -> None:
    command = [sys.executable, "-m", "benchmarks", "soak", "--minutes", "0.5", "--seed", SEED]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    said = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|$", run.stdout, re.MULTILINE))
    assert int(said["lines received"]) > 500
    assert said["lost"] == said["twice"] == said["faults in all"] == "0"
    assert sum(int(count) for what, count in said.items() if what.startswith("cuts: ")) >= 3
