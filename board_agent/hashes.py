"""Python's own hashes in place of OpenSSL's, which take nearly 1 MB of a process."""

import sys


def own() -> bool:
    """Have hashlib and hmac use Python's own hashes; say whether that can be, and was not before.

    Not in all ways are they as good: `complete` gives later users the modules as they ought to be.
    """
    if "hashlib" in sys.modules:
        return False
    try:
        import _blake2  # noqa: F401
        import _md5  # noqa: F401
        import _sha1  # noqa: F401
        import _sha3  # noqa: F401

        if sys.version_info >= (3, 12):
            import _sha2  # noqa: F401
        else:
            import _sha256  # noqa: F401
            import _sha512  # noqa: F401
    except ImportError:
        return False  # this Python was built to leave hashes to OpenSSL
    sys.modules["_hashlib"] = None  # type: ignore[assignment]
    return True


def complete() -> None:
    """Have who imports hashlib or hmac from now on get them with OpenSSL's hashes."""
    for name in ("_hashlib", "hashlib", "hmac"):
        sys.modules.pop(name, None)
