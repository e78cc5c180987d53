"""Load modules when they are used, not when they are imported.

A kernel imports a third of its modules for what it may never be asked to do. While `lazily` lasts,
an import of one of those in `LAZY` gives a module that loads itself when anything of it is asked
for. It is then what it would have been: the same object, complete, for whoever has it.
"""

import contextlib
import importlib
import os
import sys
import threading
from datetime import datetime
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Callable, Dict, Iterator, Optional, Set, Tuple

from ..common import hashlib_without_openssl
from ..common.typing_stub import AnyType

_bootstrap: Any = importlib._bootstrap

# Modules, each with what others take from it while they are imported and call later, if ever. Not
# uuid: compiled code, such as orjson's, looks into its dict, and finds nothing there.
LAZY: Dict[str, Tuple[str, ...]] = {
    "_strptime": (),
    "asyncio.sslproto": (),
    "bz2": (),
    "configparser": (),
    "csv": (),
    "ctypes": (),
    "curses": (),
    "dateutil.parser": ("isoparse",),
    "dateutil.tz": ("tzlocal",),
    "decimal": (),
    "dis": (),
    "email": (),
    "getpass": ("getpass",),
    "gettext": ("gettext", "ngettext"),
    "glob": ("glob",),
    "html": ("escape",),
    "html.entities": (),
    "IPython.core.debugger": (),
    "IPython.display": (),
    "IPython.terminal.embed": ("embed",),
    "importlib.metadata": ("entry_points",),
    "ipaddress": (),
    "ipykernel.eventloops": (),
    "jedi": (),
    "jedi.api": (),
    "jedi.api.classes": (),
    "jedi.api.helpers": (),
    "jupyter_client": (),
    "jupyter_client.localinterfaces": ("localhost",),
    "logging.config": ("dictConfig",),
    "logging.handlers": (),
    "lzma": (),
    "packaging.version": ("Version",),
    "pdb": (),
    "pexpect": (),
    "pickle": ("loads",),
    "platform": (),
    "platformdirs": (),
    "pprint": ("pformat",),
    "pydoc": (),
    "shutil": ("get_terminal_size",),
    "sqlite3": (),
    "ssl": (),
    "stack_data": (),
    "subprocess": ("CalledProcessError", "Popen"),
    "tempfile": ("TemporaryDirectory",),
    "typing_extensions": (),
    "urllib.request": ("Request", "urlopen"),
    "xml.dom.minidom": (),
    "zipfile": (),
}
# The same while NumPy is imported, where memory is short: 4 MB of it, until version 2.
NUMPY: Dict[str, Tuple[str, ...]] = {
    "numpy.ctypeslib": (),
    "numpy.fft": (),
    "numpy.linalg": ("eigvals", "inv", "lstsq", "matrix_power"),
    "numpy.ma": (),
    "numpy.polynomial": (),
    "numpy.random": (),
    "numpy.testing": (),
}
# Those that are compiled may be absent, and whoever imports them is to notice.
_COMPILED = {
    "bz2": "_bz2",
    "ctypes": "_ctypes",
    "curses": "_curses",
    "lzma": "_lzma",
    "sqlite3": "_sqlite3",
    "ssl": "_ssl",
    "asyncio.sslproto": "_ssl",
}
# What is had of a package without loading it: where it is, or that it is a module itself.
_ELSEWHERE = {
    ("IPython.display", "HTML"): "IPython.core.display",
    ("IPython.display", "Javascript"): "IPython.core.display",
    ("IPython.display", "Latex"): "IPython.core.display",
    ("IPython.display", "Markdown"): "IPython.core.display",
    ("IPython.display", "SVG"): "IPython.core.display",
    ("IPython.display", "display"): "IPython.core.display_functions",
    ("jedi", "settings"): "jedi.settings",
    ("jupyter_client", "find_connection_file"): "jupyter_client.connect",
    ("jupyter_client", "protocol_version"): "jupyter_client._version",  # until version 8
    ("jupyter_client", "protocol_version_info"): "jupyter_client._version",
    ("jupyter_client", "write_connection_file"): "jupyter_client.connect",
}


class _TypedDict(dict):  # type: ignore[type-arg]
    """Stand in for a class that says what is in a dict, which matters to nobody here."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        pass


def _parse_date(date: Any, *args: str) -> Any:
    """Parse a date, without `_strptime` if packages parse it only to have that imported."""
    if args == ("2000-01-01", "%Y-%m-%d"):
        return date(2000, 1, 1)
    if args == ("1", "%d"):
        return date(1900, 1, 1)
    return _called_later(sys.modules["_strptime"], "_strptime_datetime")(date, *args)


_FLAGS = "optimized newlocals varargs varkeywords nested generator nofree coroutine"
_FLAGS += " iterable_coroutine async_generator"  # of code objects, see inspect

_STANDING_IN: Dict[Tuple[str, str], Any] = {
    ("_strptime", "_strptime_datetime"): _parse_date,
    ("pickle", "DEFAULT_PROTOCOL"): 5 if sys.version_info >= (3, 14) else 4,
    ("platform", "system"): lambda: os.uname().sysname,
    ("subprocess", "DEVNULL"): -3,
    ("subprocess", "PIPE"): -1,
    ("subprocess", "STDOUT"): -2,
    ("typing_extensions", "TypedDict"): _TypedDict,
    **{("typing_extensions", n): AnyType for n in ("NotRequired", "Protocol", "TypeAlias")},
}
if sys.implementation.name == "cpython":
    _STANDING_IN["platform", "python_implementation"] = lambda: "CPython"
if sys.platform != "darwin":
    _STANDING_IN["ipykernel.eventloops", "_use_appnope"] = lambda: False
if sys.version_info < (3, 14):
    _STANDING_IN["dis", "COMPILER_FLAG_NAMES"] = {
        1 << bit: flag for bit, flag in enumerate(_FLAGS.upper().split())
    }
if sys.version_info >= (3, 11):  # since when it takes all that jupyter_client calls a date
    _STANDING_IN["dateutil.parser", "isoparse"] = datetime.fromisoformat
# What can be said of a module without loading it; the import system asks for these.
_KNOWN = {
    *("__name__", "__spec__", "__loader__", "__package__", "__path__", "__file__", "__class__"),
}


class _Module(ModuleType):
    """A module that is loaded when it is asked for something else than what is known of it."""

    def __getattribute__(self, name: str) -> Any:
        if name not in _KNOWN:
            fullname = ModuleType.__getattribute__(self, "__name__")
            if fullname in _finder.names:
                if _finder.stands_in and (fullname, name) in _STANDING_IN:
                    return _STANDING_IN[fullname, name]
                if _finder.stands_in and name in _finder.names[fullname]:
                    return _called_later(self, name)
                if (fullname, name) in _ELSEWHERE:
                    module = importlib.import_module(_ELSEWHERE[fullname, name])
                    return getattr(module, name, module)
            if not _is_submodule(self, name):
                _load(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, ModuleType):  # else most likely one of its own was imported
            _load(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _load(self)
        ModuleType.__delattr__(self, name)


class _Finder:
    """Find some modules, and have something else done with them than executing them.

    Args:
        names: The names of the modules, as in LAZY.
        execute: What to do with each module.
    """

    stands_in = False  # whether things of such modules are stood in for

    def __init__(
        self, names: Dict[str, Tuple[str, ...]], execute: Callable[[ModuleType], None]
    ) -> None:
        self.names = names
        self._execute = execute
        self._looking: Set[str] = set()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Optional[ModuleSpec]:
        """Find a module as the finders after this one do."""
        if fullname not in self.names or fullname in self._looking:
            return None
        if fullname in _COMPILED and find_spec(_COMPILED[fullname]) is None:
            return None
        self._looking.add(fullname)
        try:
            spec = find_spec(fullname)
        finally:
            self._looking.remove(fullname)
        if spec is not None:
            spec.loader = _Loader(spec.loader, self._execute)  # type: ignore[assignment]
        return spec


class _Loader:
    """Stand in for a loader until the module is to be executed."""

    def __init__(self, real: Any, execute: Callable[[ModuleType], None]) -> None:
        self._real = real
        self._execute = execute

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system, which sets what is known of a module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its real loader, and do with it what is to be done."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._real
        self._execute(module)


def _leave_to_itself(module: ModuleType) -> None:
    module.__class__ = _Module


def _execute_sparingly(module: ModuleType) -> None:
    assert module.__spec__ is not None and module.__spec__.loader is not None
    with _lazy(NUMPY):
        module.__spec__.loader.exec_module(module)


_finder = _Finder({}, _leave_to_itself)  # of what is to be lazy at present
_loading: Dict[str, int] = {}  # modules, with the threads that load them
_then: Dict[str, Callable[[], None]] = {}  # what to do once one is loaded


@contextlib.contextmanager
def lazily() -> Iterator[None]:
    """Import what is in LAZY lazily for a while, and hashes without OpenSSL."""
    own = hashlib_without_openssl.use_builtin_hashes()
    try:
        with _lazy(LAZY):
            yield
    finally:
        if own:
            hashlib_without_openssl.restore_openssl()


@contextlib.contextmanager
def _lazy(names: Dict[str, Tuple[str, ...]]) -> Iterator[None]:
    _finder.names, _finder.stands_in = names, True
    sys.meta_path.insert(0, _finder)
    try:
        yield
    finally:
        sys.meta_path.remove(_finder)
        _finder.names, _finder.stands_in = {}, False


def disable_stand_ins() -> None:
    """Give the contents of lazy modules themselves: the user's own code may ask for them."""
    _finder.stands_in = False


def lazy_numpy() -> None:
    """Have NumPy load parts of itself lazily, when it is imported."""
    sys.meta_path.insert(0, _Finder({"numpy": ()}, _execute_sparingly))


def when_loaded(name: str, then: Callable[[], None]) -> None:
    """Call `then` once a module has been loaded, or now if it is not lazy."""
    if type(importlib.import_module(name)) is _Module:
        _then[name] = then
    else:
        then()


def _called_later(module: ModuleType, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if type(module) is _Module:
            _load(module)
        return ModuleType.__getattribute__(module, name)(*args, **kwargs)

    return call


def _is_submodule(module: ModuleType, name: str) -> bool:
    """Return whether it names a submodule that is imported already, which loads nothing."""
    names = object.__getattribute__(module, "__dict__")
    known = sys.modules.get("%s.%s" % (names["__name__"], name))
    return known is not None and names.get(name) is known


def _load(module: ModuleType) -> None:
    spec = ModuleType.__getattribute__(module, "__spec__")
    if _loading.get(spec.name) == threading.get_ident():
        return  # it asks for something of itself, or what it imports does
    try:
        with _bootstrap._ModuleLockManager(spec.name):
            if type(module) is _Module:  # else another thread has loaded it meanwhile
                _execute(module, spec)
    except _bootstrap._DeadlockError:
        return  # as import has it: two threads need what each other loads, and get it unfinished
    _then.pop(spec.name, lambda: None)()


def _execute(module: ModuleType, spec: ModuleSpec) -> None:
    _loading[spec.name] = threading.get_ident()
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    finally:
        del _loading[spec.name]
    ModuleType.__setattr__(module, "__class__", ModuleType)
