"""The page with a kernel's live pictures: a launcher serves it, `rkernel view` finds it."""

from __future__ import annotations

import html
import json
import logging
import os
import urllib.request
from contextlib import suppress
from pathlib import Path

from jupyter_core.paths import jupyter_runtime_dir

from ... import target as targets
from ...errors import NoView, VideoPortInUse
from ...target import Target
from .http_server import MjpegServer
from .latest_frames import LatestFrames

log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0  # for a launcher to take a connection


class View:
    """Serve the latest frames for as long as a launcher runs, and write down where.

    Args:
        frames: What to serve.
        target: Its port and its path; if the port is taken, any other port serves.

    Raises:
        VideoPortInUse: We cannot listen at any port.
        OSError: We cannot write down where.
    """

    def __init__(self, frames: LatestFrames, target: Target) -> None:
        try:
            self._server = MjpegServer(frames, target.video_port, target.video_path)
        except VideoPortInUse as error:
            log.warning("%s The launcher now uses another port.", error)
            self._server = MjpegServer(frames, 0, target.video_path)
        log.info("the launcher serves pictures at port %d", self._server.port)
        self._record = _folder() / f"{os.getpid()}.json"
        record = {"url": self._server.url, "argv": targets.to_argv(target)}
        try:
            _write(self._record, json.dumps(record))
        except OSError:
            self._server.close()
            raise

    def close(self) -> None:
        """End the connections of all viewers, and remove the record."""
        self._server.close()
        _remove(self._record)


def find(target: Target) -> tuple[str, Path]:
    """Find the page of the newest kernel of a target.

    Returns:
        The page's address, and a file that leads a browser there. The address is a secret, and so
        not for a browser's command line.

    Raises:
        NoView: No launcher serves pictures for that target.
    """
    records = sorted(_folder().glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for record in records:
        try:
            content = json.loads(record.read_text("utf-8"))
            url, argv = str(content["url"]), content["argv"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not _answers(url):
            _remove(record)  # its launcher was killed
        elif argv == targets.to_argv(target):
            page = record.with_suffix(".html")
            _write(page, f'<meta http-equiv="refresh" content="0;url={html.escape(url)}">\n')
            return url, page
    raise NoView(host=target.name)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _remove(record: Path) -> None:
    for path in (record, record.with_suffix(".html")):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _folder() -> Path:
    return Path(jupyter_runtime_dir()) / "rkernel-views"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_text(text, "utf-8")
