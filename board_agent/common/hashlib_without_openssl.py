"""Python's own hashes in place of OpenSSL's, which take nearly 1 MB of a process."""

import sys
from importlib.util import find_spec

_OWN = ["_blake2", "_md5", "_sha1", "_sha3"]
_OWN += ["_sha2"] if sys.version_info >= (3, 12) else ["_sha256", "_sha512"]


def use_builtin_hashes() -> bool:
    """Have hashlib and hmac use Python's own hashes; return whether this call achieved it.

    They are not as good in all ways: `restore_openssl` gives later users the usual modules.
    """
    if "hashlib" in sys.modules:
        return False
    if not all(map(find_spec, _OWN)):
        return False  # this Python was built to leave hashes to OpenSSL
    sys.modules["_hashlib"] = None  # type: ignore[assignment]
    return True


def restore_openssl() -> None:
    """Give whoever imports hashlib or hmac from now on OpenSSL's hashes."""
    for name in ("_hashlib", "hashlib", "hmac"):
        sys.modules.pop(name, None)
