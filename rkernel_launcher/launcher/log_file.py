"""The launcher's log: a file for each kernel, in rkernel-logs in Jupyter's runtime folder."""

from __future__ import annotations

import logging
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

MAX_SIZE = 1 << 20  # bytes of a log, at which it becomes the backup and a new one begins
KEPT_DAYS = 7


def folder() -> Path:
    """Return the folder of the logs."""
    return Path(jupyter_runtime_dir()) / "rkernel-logs"


def start(connection_file: str, debug: bool) -> Path | None:
    """Log to a file that is named after the connection file, and remove logs of old kernels.

    Args:
        connection_file: Its path.
        debug: Whether to log details as well.

    Returns:
        The log's path; None if we cannot write there.
    """
    path = folder() / f"{Path(connection_file).stem}.log"
    logger = logging.getLogger("rkernel_launcher")
    logger.addHandler(logging.NullHandler())  # without any, Python would print to stderr
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_old(path.parent)
        handler = RotatingFileHandler(path, maxBytes=MAX_SIZE, backupCount=1, encoding="utf-8")
    except OSError:
        return None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    return path


def _remove_old(path: Path) -> None:
    oldest = time.time() - KEPT_DAYS * 86400
    for log in path.glob("*.log*"):
        if log.stat().st_mtime < oldest:
            log.unlink(missing_ok=True)
