"""What a child process of ours reports on stdout, whatever else its Python or a wrapper prints."""

from __future__ import annotations

import json

TYPE_CHECKING = False  # typing would take memory of the service that we may be in
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

MARK = "rkernel-reply: "  # what a line of ours begins with; also in bootstrap.loader


def say(content: Dict[str, Any]) -> None:
    """Print a reply, on a line of its own even where others have not ended theirs.

    Raises:
        OSError: Nobody reads it.
    """
    print("\n" + MARK + json.dumps(content), flush=True)


def last(stdout: bytes) -> Optional[Dict[str, Any]]:
    """Return the last reply in what a child has printed; None if it holds no whole one."""
    for line in reversed(stdout.split(b"\n")[:-1]):
        if line.startswith(MARK.encode()):
            try:
                return dict(json.loads(line[len(MARK) :]))
            except ValueError:
                return None
    return None
