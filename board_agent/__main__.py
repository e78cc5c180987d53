"""Run the agent, without what takes memory and is not for it."""

import sys

from .common import hashlib_without_openssl, typing_stub

hashlib_without_openssl.use_builtin_hashes()
typing_stub.install()
for _name in ("_bz2", "_lzma"):  # shutil imports them
    sys.modules[_name] = None  # type: ignore[assignment]

from .agent.agent import main  # noqa: E402

main(sys.argv[1:])
