"""JSON as bytes."""

from __future__ import annotations

import json
from typing import Any


def dumps(o: Any, **kwargs: Any) -> Any:
    """Return an object as JSON."""
    return json.dumps(o, **kwargs).encode()


def loads(s: Any, **kwargs: Any) -> Any:
    """Return the object that some JSON is."""
    return json.loads(s, **kwargs)
