"""The last rungs: a kernel starts and runs a cell, and the board's camera."""

from __future__ import annotations

import time
from dataclasses import replace

from ... import errors
from ...errors import RkernelError
from .. import trial
from .rung import Rung
from .visit import Visit


def kernel(visit: Visit) -> str:
    """Start a kernel by the launcher, run a cell, and stop it."""
    begun = time.monotonic()
    trial.kernel(replace(visit.wanted, reattach=False), visit.python)  # a new one, nobody's
    return f"started, ran a cell and stopped within {time.monotonic() - begun:.1f} s"


def camera(visit: Visit) -> str | RkernelError | None:
    """Look at whether the account may use the board's cameras, and whether maix is there."""
    assert visit.condition is not None and visit.facts is not None
    for found in visit.condition.cameras:
        if not found.usable:
            return errors.CameraForbidden(path=found.path)
    maix = visit.facts.packages.get("maixpy3")
    things = [found.path for found in visit.condition.cameras]
    return ", ".join([*things, *([f"maixpy3 {maix}"] if maix else [])]) or None


RUNGS = [Rung("Kernel", kernel), Rung("Camera", camera)]
