"""Pythons that lack modules, as those of small systems do: this one, with a library of links."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

MODULES = {  # what is commonly left out, with the compiled parts that go with it
    "sqlite3": ("_sqlite3",),
    "ssl": ("_ssl",),
    "ctypes": ("_ctypes",),
    "curses": ("_curses", "_curses_panel"),
    "lzma": ("_lzma",),
    "bz2": ("_bz2",),
    "multiprocessing": ("_multiprocessing", "_posixshmem"),
    "_hashlib": (),
    "readline": (),
    "pydoc": ("pydoc_data",),
    "unittest": ("doctest",),
    "distutils": ("lib2to3", "ensurepip", "venv", "idlelib", "turtledemo", "tkinter", "_tkinter"),
    "dbm": ("_dbm", "_gdbm"),
    "decimal": ("_decimal", "_pydecimal"),
    "xml": ("pyexpat", "_elementtree", "xmlrpc", "plistlib"),
}
COMPILED = (  # the same, where only the compiled part was left out
    *("_sqlite3", "_ssl", "_ctypes", "_curses", "_lzma", "_bz2", "_multiprocessing", "_decimal"),
    *("_uuid", "pyexpat", "_zoneinfo", "_posixshmem", "_codecs_jp", "resource"),
)


def trimmed(folder: Path, names: Iterable[str]) -> str:
    """Make a Python without some modules; it has the packages of this one.

    Args:
        folder: Made here.
        names: The modules; those of `MODULES` go with their parts.

    Returns:
        The path of the Python.
    """
    gone = {part for name in names for part in (name, *MODULES.get(name, ()))}
    library = Path(sysconfig.get_path("stdlib"))
    home = folder / "lib" / library.name
    (home / "lib-dynload").mkdir(parents=True)
    for path in [*library.iterdir(), *(library / "lib-dynload").iterdir()]:
        name = path.name.partition(".")[0]
        if name not in gone and path.name not in ("lib-dynload", "site-packages", "__pycache__"):
            (home / path.relative_to(library)).symlink_to(path)
    packages = sysconfig.get_path("purelib")
    program = folder / "python"
    program.write_text(
        "#!/bin/sh\n"
        f"export PYTHONHOME={folder} PYTHONPATH={packages}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        f'exec {Path(sys.executable).resolve()} "$@"\n'
    )
    program.chmod(0o755)
    return str(program)
