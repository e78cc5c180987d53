"""MaixPy3 in the kernel: its pictures go to the notebook, and its imports leave the process alone.

This module imports nothing of maix. It waits in sys.meta_path for the user's own import, and then
executes two modules in its own way (as they are in maixpy3 0.5.3):

- maix sets a SIGINT handler that calls exit(). It may not, so that the interrupt goes on working,
  and so that maix can be imported in any thread.
- maix.mjpg is where maix.display.show() leaves each picture, unless remote_show is false. Its file
  wants rpyc and sets logging up, so it is not executed before something else than store_mjpg() is
  asked of it: pictures need neither rpyc nor the memory that it takes.
"""

import logging
import signal
import sys
import threading
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Dict, Optional


def install() -> None:
    """Wait for the import of maix from now on; a second call changes nothing."""
    this = sys.modules[__name__]  # it has find_spec(), which is all that a finder needs
    if this not in sys.meta_path:
        sys.meta_path.insert(0, this)


def find_spec(name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
    """Find one of the two modules as the other finders do, and put our loader around its own.

    Called by the import system: https://docs.python.org/3/reference/import.html#the-meta-path
    """
    wrap: Any = {"maix": _Maix, "maix.mjpg": _Mjpg}.get(name)
    if wrap is None:
        return None
    for finder in sys.meta_path:
        if finder is not sys.modules[__name__] and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = wrap(spec.loader)
                return spec
    return None


class _Loader:
    """A module's own loader, for all but the execution of the module."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


class _Maix(_Loader):
    """Execute maix, whose call of signal.signal() for SIGINT does nothing."""

    def exec_module(self, module: ModuleType) -> None:
        real = signal.signal

        def guarded(number: int, handler: Any) -> Any:
            if number == signal.SIGINT and sys._getframe(1).f_globals is module.__dict__:
                return signal.getsignal(number)
            return real(number, handler)

        signal.signal = guarded  # type: ignore[assignment]
        try:
            self._own.exec_module(module)
        finally:
            signal.signal = real


class _Mjpg(_Loader):
    """Make a maix.mjpg that has our store_mjpg(), and all of its own once it is asked for it."""

    _own_store: Optional[Callable[[Any], None]] = None

    def exec_module(self, module: ModuleType) -> None:
        self._names = module.__dict__
        self._lock = threading.RLock()
        if "start_mjpg" in self._names:  # a reload
            self._execute(module, {"store_mjpg": self.store_mjpg})
            return

        def missing(name: str) -> Any:  # PEP 562
            if not name.startswith("__") or name == "__all__":  # the others only tools look for
                with self._lock:
                    if "start_mjpg" not in self._names:
                        kept = {k: v for k, v in self._names.items() if not k.startswith("__")}
                        self._execute(module, kept)  # store_mjpg, and what the user has set
            if name in self._names:
                return self._names[name]
            raise AttributeError("module 'maix.mjpg' has no attribute {!r}".format(name))

        self._names.update(store_mjpg=self.store_mjpg, __getattr__=missing)

    def store_mjpg(self, img: Any) -> None:
        """Show a picture in the notebook, and give it to maix's MJPEG server if that runs.

        What cannot be shown causes a RuntimeWarning at the line that called maix.display.show(),
        once for each line. maix itself is silent about it, so the user's loop and LCD must go on.

        Args:
            img: Whatever board_agent.display.show() takes, or bytes that maix's LCD would take: the
                RGB pixels of a picture of its size.
        """
        try:
            from ..display import show

            show(_sized(img))
        except Exception as error:
            problem = "the notebook cannot show this: {}: {}".format(type(error).__name__, error)
            warnings.warn(problem, RuntimeWarning, stacklevel=3)
        if self._own_store:
            self._own_store(img)

    def _execute(self, module: ModuleType, kept: Dict[str, Any]) -> None:
        before = dict(self._names)
        handler = logging.NullHandler()
        logging.root.addHandler(handler)  # while there is one, logging.basicConfig() does nothing
        try:
            self._own.exec_module(module)
        except BaseException:
            self._names.update(before)
            for name in self._names.keys() - before.keys():
                del self._names[name]
            raise
        finally:
            logging.root.removeHandler(handler)
        self._own_store = self._names["store_mjpg"]
        self._names.update(kept)


def _sized(img: Any) -> Any:
    """Make a maix image of bare RGB pixels, which have the size of maix's display."""
    display = sys.modules.get("maix.display")
    if isinstance(img, bytes) and display is not None:
        size = (display.width(), display.height())
        if len(img) == size[0] * size[1] * 3:
            return sys.modules["maix.image"].Image().load(img, size, "RGB")
    return img
