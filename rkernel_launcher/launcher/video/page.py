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
    """Serve a gallery for as long as a launcher runs, and note where.

    Parameters: gallery; target, whose port is taken if it is free, else another one.
    """

    def __init__(self, frames: LatestFrames, target: Target) -> None:
        try:
            self._server = MjpegServer(frames, target.video_port, target.video_path)
        except VideoPortInUse as error:
            log.warning("%s Another one is taken.", error)
            self._server = MjpegServer(frames, 0, target.video_path)
        log.info("pictures are served at port %d", self._server.port)
        self._note = _folder() / f"{os.getpid()}.json"
        note = {"url": self._server.url, "argv": targets.to_argv(target)}
        try:
            _write(self._note, json.dumps(note))
        except OSError:
            self._server.close()
            raise

    def close(self) -> None:
        """Send the viewers away."""
        self._server.close()
        _forget(self._note)


def find(target: Target) -> tuple[str, Path]:
    """Return the page of the newest kernel of a target: its address, and a file that leads there.

    The address is a secret, and so not for a browser's command line. Raises NoView.
    """
    notes = sorted(_folder().glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for note in notes:
        try:
            content = json.loads(note.read_text("utf-8"))
            url, argv = str(content["url"]), content["argv"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not _answers(url):
            _forget(note)  # its launcher was killed
        elif argv == targets.to_argv(target):
            page = note.with_suffix(".html")
            _write(page, f'<meta http-equiv="refresh" content="0;url={html.escape(url)}">\n')
            return url, page
    raise NoView(host=target.name)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _forget(note: Path) -> None:
    for path in (note, note.with_suffix(".html")):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _folder() -> Path:
    return Path(jupyter_runtime_dir()) / "rkernel-views"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_text(text, "utf-8")
