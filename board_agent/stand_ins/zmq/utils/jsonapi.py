"""JSON as bytes."""

import json


def dumps(o, **kwargs):
    """Return an object as JSON."""
    return json.dumps(o, **kwargs).encode()


def loads(s, **kwargs):
    """Return the object that JSON says."""
    return json.loads(s, **kwargs)
