"""Import from a bundle: compiled modules, all in one file; the others from their sources.

`bundle_format` describes the files.
"""

import importlib.util
import marshal
import os
import sys
import zipimport
import zlib
from importlib.machinery import ModuleSpec, SourcelessFileLoader
from types import CodeType
from typing import Any, Optional, Tuple

from ..common.bundle_format import CODE, HEAD, NOT_COMPILED, SOURCES


def use(folder: str) -> str:
    """Import from the bundle in a folder first; return its entry in sys.path."""
    folder = os.path.abspath(folder)
    finder = _Finder(folder)

    def hook(path: str) -> "_Finder":
        inside = path == folder or path.startswith(folder + os.sep)
        if not inside or path.startswith(finder.sources):
            raise ImportError("not in the bundle", path=path)
        return finder

    sys.path_hooks.insert(0, hook)
    sys.path.insert(0, folder)
    return folder


class _Finder:
    """Find for sys.path what is in a bundle, at its root and in its packages."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.sources = os.path.join(folder, SOURCES)
        self._code = os.path.join(folder, CODE)
        with open(self._code, "rb") as file:
            length = int(file.read(HEAD))
            self._index = file.read(length)  # searched as it is: a dict would take 100 kB
        self._begin = HEAD + length

    def find_spec(self, fullname: str, target: Any = None) -> Optional[ModuleSpec]:
        """Find a compiled module, or else its source."""
        stem = fullname.replace(".", "/")
        for path in (stem + ".py", stem + "/__init__.py"):
            place = self._place(path)
            if place == NOT_COMPILED:
                return self._find_source(fullname)
            if place:
                loader = _Loader(fullname, os.path.join(self.folder, path), self, path)
                return importlib.util.spec_from_file_location(fullname, loader.path, loader=loader)
        return None

    def _find_source(self, fullname: str) -> Optional[ModuleSpec]:
        found = _in_archive(self.sources, fullname)
        if hasattr(found, "find_spec"):
            return found.find_spec(fullname)  # type: ignore[no-any-return]
        return importlib.util.spec_from_loader(fullname, found)  # up to Python 3.9

    def read(self, path: str) -> bytes:
        """Return a module's code as it was marshalled; its path is that in the index."""
        place = self._place(path)
        assert place
        with open(self._code, "rb") as file:
            file.seek(self._begin + place[0])
            return zlib.decompress(file.read(place[1]))

    def _place(self, path: str) -> Optional[Tuple[int, int]]:
        """Return what the index says of a module: where its code begins, how long it is."""
        start = self._index.find(b"\n%s " % path.encode()) + 1
        if not start:
            return None
        line = self._index[start : self._index.index(b"\n", start)]
        offset, length = line.split(b" ")[-2:]
        return int(offset), int(length)


class _Loader(SourcelessFileLoader):
    def __init__(self, fullname: str, path: str, finder: _Finder, inner: str) -> None:
        super().__init__(fullname, path)
        self._finder, self._inner = finder, inner

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module."""
        code: CodeType = marshal.loads(self._finder.read(self._inner))
        return code

    def get_source(self, fullname: str) -> Optional[str]:  # type: ignore[override]
        """Return the source of the module, for tracebacks and for people."""
        source: Optional[str] = _in_archive(self._finder.sources, fullname).get_source(fullname)
        return source


def _in_archive(sources: str, fullname: str) -> Any:
    """Return the importer for the folder, within the archive, that a module is in."""
    return zipimport.zipimporter(os.path.join(sources, *fullname.split(".")[:-1]))
