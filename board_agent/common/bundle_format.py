"""The files of a bundle on a board: written when it is unpacked, read by a kernel's imports.

On a small flash, five hundred files in which code lies uncompressed take three times the room, and
longer to find. What a bundle has instead:

    code          an index, a line for each module: its path, where its code begins, how long it is,
                  or NOT_COMPILED; then the code of each, marshalled and compressed
    sources.zip   the sources of all modules: opened when somebody asks for one, as a traceback
                  does, or imports a module that is seldom wanted and so was not compiled
"""

import marshal
import zlib
from types import CodeType
from typing import BinaryIO, Iterable, Tuple

CODE = "code"
SOURCES = "sources.zip"
NOT_COMPILED = 0, 0
HEAD = 10  # digits of the index's length


def pack(file: BinaryIO, modules: Iterable[Tuple[str, CodeType]], others: Iterable[str]) -> None:
    """Write the file `code`.

    Args:
        file: Where to write it.
        modules: Each with its path below the folder, such as IPython/core/magic.py.
        others: The paths of those that are not compiled.
    """
    index, parts, offset = ["%s %d %d\n" % (path, *NOT_COMPILED) for path in others], [], 0
    for path, code in modules:
        parts.append(zlib.compress(marshal.dumps(code)))
        index.append("%s %d %d\n" % (path, offset, len(parts[-1])))
        offset += len(parts[-1])
    head = ("\n" + "".join(index)).encode()
    file.write(b"%*d" % (HEAD, len(head)) + head)
    for part in parts:
        file.write(part)
