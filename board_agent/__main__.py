"""Run the agent, without what takes memory and is not for it."""

import sys

from . import hashes, untyped

hashes.own()
untyped.install()
for _name in ("_bz2", "_lzma"):  # shutil imports them
    sys.modules[_name] = None  # type: ignore[assignment]

from .agent import main  # noqa: E402

main(sys.argv[1:])
