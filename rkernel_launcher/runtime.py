"""What a kernel needs beside Python, made for boards that have nothing but Python.

A runtime is one archive, made of unmodified wheels, less what no kernel on a board imports:

    near          the modules that are compiled on the board, one a line, as paths
    sources.zip   the sources of all modules: for those that are not near, for tracebacks, for ??
    …             files that are no modules, where their packages expect them

It is named after the pins and the rules below, so that nobody has to make it to know its name.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import io
import zipfile
from dataclasses import dataclass

from . import wheels

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the archive depends on the pins alone, not on when it is made
_PYC = 0.9  # bytes of compiled code for one of its source, at most
_LAYOUT = 1  # another one, another name

# Nobody misses these: tests, what is compiled for another machine, what documents or packages; of
# the descriptions of libraries that complete what is typed, all but most of the standard library's.
_LEFT_OUT = """
    */tests/* */test/* */conftest.py */sphinxext/* pygments/sphinxext.py ipykernel/resources/*
    *.so *.pyd *.c */py.typed *.data/* *LICENSE* *.tar.gz jupyter.py
    *.dist-info/licenses/* *.dist-info/R* *.dist-info/W* *.dist-info/top_level.txt
    *.dist-info/AUTHORS* *.dist-info/INSTALLER
    jedi/third_party/django-stubs/* jedi/third_party/typeshed/stubs/*
    jedi/third_party/typeshed/third_party/* jedi/third_party/typeshed/tests/*
    jedi/third_party/typeshed/stdlib/2/* */stdlib/3/tkinter/* */stdlib/3/distutils/*
    */stdlib/3/lib2to3/* */stdlib/3/msilib/* */stdlib/2and3/lib2to3/* */stdlib/2and3/pyexpat/*
    */stdlib/2and3/wsgiref/* */stdlib/2and3/curses/* */stdlib/2and3/xml/* */stdlib/3/email/*
    */stdlib/2and3/ssl.pyi */stdlib/3/smtplib.pyi */stdlib/2and3/mailbox.pyi
""".split()

# Of the languages that Pygments can colour, those that it needs itself, or a notebook may show.
_LEXERS = frozenset(
    """
    __init__ _mapping python special text shell html css _css_builtins javascript perl ruby c_cpp
    c_like data diff configs markup make sql textedit textfmts web rust go jvm math
    """.split()
)

# Compiled, as is all that `_FAR` does not name.
_NEAR = """
    */__init__.py pygments/lexers/_mapping.py pygments/lexers/python.py pygments/styles/_mapping.py
    pygments/styles/default.py pygments/formatters/_mapping.py pygments/formatters/terminal*.py
    packaging/version.py packaging/_structures.py
""".split()

# Not compiled, since a kernel seldom imports them.
_FAR = """
    pygments/lexers/* pygments/styles/* pygments/formatters/* pygments/cmdline.py packaging/*
    IPython/testing/* IPython/extensions/* ipykernel/inprocess/* ipykernel/gui/*
    ipykernel/datapub.py ipykernel/pickleutil.py ipykernel/pylab/*
    tornado/web.py tornado/auth.py tornado/websocket.py tornado/http*.py tornado/template.py
    tornado/simple_httpclient.py tornado/curl_httpclient.py tornado/locale.py tornado/wsgi.py
    tornado/_locale_data.py tornado/testing.py tornado/routing.py tornado/autoreload.py
    tornado/options.py tornado/tcp*.py tornado/platform/twisted.py tornado/platform/caresresolver.py
    pexpect/pxssh.py pexpect/screen.py pexpect/ANSI.py pexpect/FSM.py dateutil/zoneinfo/*
    jupyter_client/kernelspecapp.py jupyter_client/runapp.py jupyter_client/consoleapp.py
    jupyter_core/troubleshoot.py traitlets/config/sphinxdoc.py
""".split()
_FAR_SINCE_3_11 = ["prompt_toolkit/*", "wcwidth/*", "IPython/terminal/*"]  # not imported at start
_STUBS = "jedi/third_party/typeshed/"


@dataclass(frozen=True)
class Archive:
    """A runtime: its name, the archive, and the bytes that it takes on the board's flash."""

    name: str
    content: bytes
    unpacked: int


def name(version: str) -> str:
    """Return the name of the runtime for a version of Python. Raises NoRuntime."""
    rules = (_LAYOUT, _LEFT_OUT, sorted(_LEXERS), _NEAR, _FAR, _FAR_SINCE_3_11)
    digest = hashlib.sha256(repr((wheels.pins(version), rules)).encode())
    return f"runtime-{version}-{digest.hexdigest()[:12]}"


@functools.cache
def build(version: str) -> Archive:
    """Make the runtime for a version of Python. Raises the errors of `wheels.get`."""
    modules: dict[str, bytes] = {}
    others: dict[str, bytes] = {}
    for wheel in wheels.get(version):
        with zipfile.ZipFile(io.BytesIO(wheel)) as files:
            for path in files.namelist():
                if not path.endswith("/") and not _left_out(path):
                    kind = modules if path.endswith(".py") else others
                    kind[path] = files.read(path)
    near = [path for path in sorted(modules) if _is_near(path, version)]
    content = _zipped(
        {
            **others,
            "near": "\n".join(near).encode(),
            "sources.zip": (sources := _zipped(modules)),
        }
    )
    compiled = int(_PYC * sum(len(modules[path]) for path in near))
    unpacked = len(sources) + sum(map(len, others.values())) + compiled
    return Archive(name(version), content, unpacked)


def _left_out(path: str) -> bool:
    if path.startswith("pygments/lexers/"):
        return path.removeprefix("pygments/lexers/").removesuffix(".py") not in _LEXERS
    if path.endswith(".pyi") and not path.startswith(_STUBS):
        return True
    return _matches(path, _LEFT_OUT)


def _is_near(path: str, version: str) -> bool:
    far = _FAR if version in ("3.8", "3.9", "3.10") else _FAR + _FAR_SINCE_3_11
    return _matches(path, _NEAR) or not _matches(path, far)


def _matches(path: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for path in sorted(files):
            target.writestr(zipfile.ZipInfo(path, _EPOCH), files[path], _kind(path))
    return buffer.getvalue()


def _kind(path: str) -> int:
    return zipfile.ZIP_STORED if path.endswith(".zip") else zipfile.ZIP_DEFLATED
