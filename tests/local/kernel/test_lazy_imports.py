"""Modules that are loaded when they are used, in the oldest interpreter and in ours."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.boards import ROOT
from tests.support.pythons import interpreters

OLDEST = interpreters().get("3.8", sys.executable)
PYTHONS = sorted({OLDEST, sys.executable})
LOADED = "def loaded(name): return type(sys.modules[name]) is type(sys)"

# Uses of what a kernel finds in sys.modules when a cell runs, each in an interpreter of its own.
USES = [
    "import ssl; ssl.create_default_context()",
    "from ssl import SSLContext",
    "from decimal import *; Decimal(1) / 3",
    "import sqlite3; sqlite3.connect(':memory:').close()",
    "import sqlite3.dbapi2 as d; d.connect(':memory:').close()",
    "import html.entities; assert html.escape('<') == '&lt;'; html.entities.html5",
    "import importlib; ssl = importlib.import_module('ssl'); ssl.CERT_NONE",
    "import importlib, csv; assert importlib.reload(csv) is csv and csv.reader",
    "import csv; csv.extra = 1; assert csv.reader and csv.extra == 1; del csv.reader; csv.writer",
    "import csv; assert 'reader' in dir(csv) and 'reader' in vars(csv)",
    "import csv, types; assert isinstance(csv, types.ModuleType) and 'csv.py' in repr(csv)",
    "import csv, inspect; assert 'class DictReader' in inspect.getsource(csv)",
    "import pickle; assert pickle.loads(pickle.dumps([csv for csv in 'ab'])) == ['a', 'b']",
    "import ctypes.util, ctypes; ctypes.c_int(1)",
    "import hashlib, hmac; hashlib.scrypt; hmac.new(b'k', b'm', 'sha256').hexdigest()",
    "import asyncio.sslproto as p; p.SSLProtocol",
    "import asyncio; asyncio.run(asyncio.sleep(0))",
    "import uuid; assert 'UUID' in object.__getattribute__(uuid, '__dict__')",  # orjson wants it
    "import dis, inspect; assert inspect.CO_GENERATOR == 32 and dis.COMPILER_FLAG_NAMES[32]",
    "import gettext; assert gettext.gettext('a') == 'a'",
    "import datetime; assert datetime.datetime.strptime('2000-01-02', '%Y-%m-%d').day == 2",
    "import subprocess; assert subprocess.check_output(['echo', '1']) == b'1\\n'",
    "from subprocess import *; assert Popen('exit 3', shell=True, stdout=PIPE).wait() == 3",
    "import bz2, lzma, zipfile; assert bz2.decompress(bz2.compress(b'x')) == b'x'; zipfile.ZipFile",
    "import sys; [getattr(m, 'x', None) for m in list(sys.modules.values())]",
]


def run(python: str, source: str, *paths: Path) -> str:
    begin = f"import sys; sys.path[:0] = {[str(ROOT), *map(str, paths)]}\n{LOADED}\n"
    command = [python, "-W", "error", "-c", begin + textwrap.dedent(source)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(params=PYTHONS, ids=lambda path: "oldest" if path == OLDEST else "ours")
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("use", USES)
def test_a_cell_gets_modules_that_are_complete(python: str, use: str) -> None:
    source = f"""
    from board_agent.kernel import lazy_imports
    from importlib.util import find_spec
    with lazy_imports.lazily():
        import asyncio, hashlib, hmac
        for name in lazy_imports.LAZY:
            if find_spec(name.partition(".")[0]):
                __import__(name)
    {use}
    """
    run(python, source)


def test_what_is_not_used_is_not_loaded(python: str) -> None:
    source = """
    from board_agent.kernel import lazy_imports
    with lazy_imports.lazily():
        import asyncio, ssl, decimal, html
        from asyncio import sslproto
        assert not any(map(loaded, ("asyncio.sslproto", "ssl", "decimal", "html")))
    decimal.Decimal(1)
    assert loaded("decimal")
    assert not any(map(loaded, ("asyncio.sslproto", "ssl", "html")))
    assert not {"_ssl", "_hashlib"} & set(sys.modules)
    import csv
    assert loaded("csv")
    """
    run(python, source)


def test_a_module_of_the_user_comes_first(python: str, tmp_path: Path) -> None:
    (tmp_path / "csv.py").write_text("mine = True")
    source = """
    from board_agent.kernel import lazy_imports
    with lazy_imports.lazily():
        import csv
    assert csv.mine
    """
    run(python, source, tmp_path)


def test_what_a_python_lacks_is_found_missing_at_once(python: str) -> None:
    source = """
    from board_agent.kernel import lazy_imports
    sys.modules["_ssl"] = None
    with lazy_imports.lazily():
        try:
            import ssl
        except ImportError:
            print("missing")
        import asyncio
    assert asyncio.sslproto.ssl is None
    """
    assert run(python, source) == "missing\n"


@pytest.mark.parametrize("during", ["pass", "assert double(1) == 2"])
def test_functions_that_were_taken_load_their_module_when_called(
    python: str, tmp_path: Path, during: str
) -> None:
    (tmp_path / "given.py").write_text("def double(x): return 2 * x\nclass Error(Exception): pass")
    source = """
    from board_agent.kernel import lazy_imports
    lazy_imports.LAZY["given"] = ("double",)
    said = []
    with lazy_imports.lazily():
        from given import double
        lazy_imports.when_loaded("given", lambda: said.append("loaded"))
        assert not loaded("given") and not said
        DURING
    assert double(21) == 42
    assert loaded("given") and said == ["loaded"]
    lazy_imports.when_loaded("given", lambda: said.append("at once"))
    assert said == ["loaded", "at once"]
    """
    run(python, source.replace("DURING", during), tmp_path)


def test_dates_are_parsed_meanwhile(python: str) -> None:
    source = """
    from datetime import datetime
    from board_agent.kernel import lazy_imports
    with lazy_imports.lazily():
        assert datetime.strptime("2000-01-01", "%Y-%m-%d") == datetime(2000, 1, 1)
        assert type(sys.modules["_strptime"]) is not type(sys)
        assert datetime.strptime("2000-02-03", "%Y-%m-%d") == datetime(2000, 2, 3)
    """
    run(python, source)


def test_code_of_the_user_gets_no_stand_ins(python: str) -> None:
    source = """
    from board_agent.kernel import lazy_imports
    with lazy_imports.lazily():
        import subprocess, urllib.request
        assert not isinstance(subprocess.Popen, type)
        lazy_imports.disable_stand_ins()
        assert not any(map(loaded, ("subprocess", "urllib.request")))
        from subprocess import CalledProcessError, Popen
        from urllib.request import Request
    assert all(isinstance(kind, type) for kind in (CalledProcessError, Popen, Request))
    """
    run(python, source)


def test_threads_that_need_a_module_wait_until_it_is_loaded(python: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import gate\ngate.begun.set()\ngate.go.wait(30)\ndone = 1")
    (tmp_path / "gate.py").write_text("import threading as t\nbegun, go = t.Event(), t.Event()")
    source = """
    import threading, gate
    from board_agent.kernel import lazy_imports
    lazy_imports.LAZY["slow"] = ()
    with lazy_imports.lazily():
        import slow
    found = []
    threads = [threading.Thread(target=lambda: found.append(slow.done)) for _ in range(4)]
    threads[0].start()
    assert gate.begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    gate.go.set()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1, 1], found
    """
    run(python, source, tmp_path)


def test_two_threads_may_need_what_each_other_loads(python: str, tmp_path: Path) -> None:
    for one, other in (("one", "other"), ("other", "one")):
        source = f"import gate\ngate.both.wait(30)\nimport {other}\n{other}.__dict__\nhere = 1"
        (tmp_path / f"{one}.py").write_text(source)
    (tmp_path / "gate.py").write_text("import threading as t\nboth = t.Barrier(2)")
    source = """
    import threading
    from board_agent.kernel import lazy_imports
    lazy_imports.LAZY.update(one=(), other=())
    with lazy_imports.lazily():
        import one, other
    threads = [threading.Thread(target=getattr, args=(m, "here")) for m in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert one.here == other.here == 1
    """
    run(python, source, tmp_path)


def test_a_module_that_cannot_be_loaded_says_so_each_time(python: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ImportError('no library')")
    source = """
    from board_agent.kernel import lazy_imports
    lazy_imports.LAZY["broken"] = ()
    with lazy_imports.lazily():
        import broken
    for _ in range(2):
        try:
            broken.x
        except ImportError as error:
            print(error)
    """
    assert run(python, source, tmp_path) == "no library\nno library\n"


def test_hashes_are_the_same_without_openssl(python: str) -> None:
    source = """
    from board_agent.common import hashlib_without_openssl
    assert hashlib_without_openssl.use_builtin_hashes()
    import hashlib, hmac
    names = ("md5", "sha1", "sha256", "sha384", "sha512", "sha3_256", "blake2b")
    own = [hmac.new(b"key", b"text", getattr(hashlib, name)).hexdigest() for name in names]
    assert "_hashlib" not in filter(sys.modules.get, sys.modules)
    hashlib_without_openssl.restore_openssl()
    import hashlib, hmac, _hashlib
    assert own == [hmac.new(b"key", b"text", getattr(hashlib, name)).hexdigest() for name in names]
    assert not hashlib_without_openssl.use_builtin_hashes()
    """
    run(python, source)


def test_numpy_loads_parts_of_itself_later_where_memory_is_short() -> None:
    source = """
    from board_agent.kernel import lazy_imports
    lazy_imports.lazy_numpy()
    import numpy
    assert not loaded("numpy.linalg")
    numpy.zeros((4, 4)).mean()
    assert not loaded("numpy.linalg")
    assert numpy.roots([1, -3, 2]).tolist() == [2, 1]
    assert loaded("numpy.linalg")
    assert "inverse" in numpy.linalg.inv.__doc__
    from numpy.matrixlib.defmatrix import matrix_power  # as it was taken
    assert matrix_power(numpy.array([[1, 1], [0, 1]]), 3).tolist() == [[1, 3], [0, 1]]
    from numpy.random import default_rng
    assert default_rng(1).integers(5) < 5
    assert numpy.fft.fft([1, 2]).real.tolist() == [3, -1]
    assert numpy.ma.array([1, 2], mask=[0, 1]).sum() == 1
    import importlib
    assert importlib.import_module("numpy").__spec__.loader.get_source("numpy")
    """
    run(sys.executable, source)
