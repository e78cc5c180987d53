"""maixpy3 in the kernel: each of its pitfalls, with its real Python files.

Its compiled parts run on musl and the board's own hardware, so tests/maix_stand_in has others. What
the hook leaves with board_agent.display.show() is recorded where it arrives.
"""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import boards, maixpy3
from tests.support.boards import ROOT
from tests.support.kernels import started
from tests.support.pythons import interpreter, rpyc_folder

BOARD = """
import logging, os, signal, sys, threading, types
from types import SimpleNamespace

shown = []
def show(img, stream="", bgr=False):
    if isinstance(img, str):
        raise TypeError("expected a picture")
    size = getattr(img, "width", None), getattr(img, "height", None)
    shown.append(SimpleNamespace(img=img, size=size, data=getattr(img, "tobytes", lambda: img)()))

sys.modules["board_agent.display"] = types.ModuleType("board_agent.display")
sys.modules["board_agent.display"].show = show
sys.modules["cv2"] = None  # not on the board
from _maix_display import drawn
"""
HOOK = "from board_agent.kernel import maix_hook; maix_hook.install()\n"
PICTURE = "from maix import image; img = image.new((32, 24), (1, 2, 3), 'RGB')\n"
Run = Callable[..., str]


@pytest.fixture(params=["3.8", "this"])
def run(request: pytest.FixtureRequest) -> Run:
    """Give a function that runs a source on the board's Python, and returns what that printed."""
    python = interpreter(request.param)

    def run(
        source: str,
        *more: Path,
        maix: bool = True,
        hook: str = HOOK,
        before: str = "",
        warn: str = "error",
        rpyc: bool = False,
    ) -> str:
        path = [ROOT, maixpy3.STAND_IN, *more]
        if maix:
            path.append(maixpy3.files())
        if rpyc:
            path.append(rpyc_folder("5.3.1")[1])
        lacking = "" if rpyc else "sys.modules['rpyc'] = None\n"
        whole = BOARD + lacking + hook + before + textwrap.dedent(source)
        result = subprocess.run(
            [python, "-B", "-W", warn, "-c", whole],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    return run


def test_without_the_hook_the_import_replaces_the_handler_and_fails_in_a_thread(run: Run) -> None:
    source = """
    import maix
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    del sys.modules["maix"]
    def load():
        try:
            import maix
        except ValueError as error:
            print(error)
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    """
    answers = run(source, hook="").splitlines()
    assert answers[0] == "False"
    assert "main thread" in answers[1]


def test_the_hook_imports_nothing_of_maix_and_is_there_once(run: Run) -> None:
    source = """
    maix_hook.install()
    print([name for name in sys.modules if name.partition(".")[0] == "maix"])
    print(sys.meta_path.count(maix_hook))
    """
    assert run(source).split() == ["[]", "1"]


def test_a_board_without_maix_has_the_usual_error(run: Run) -> None:
    source = """
    for name in "maix", "maix.mjpg":
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            print(error)
    """
    assert run(source, maix=False) == "No module named 'maix'\n" * 2


def test_the_import_keeps_the_handler_and_a_reload_does(run: Run) -> None:
    source = """
    import importlib
    handler, real = (lambda number, frame: None), signal.signal
    signal.signal(signal.SIGINT, handler)
    import maix
    assert signal.getsignal(signal.SIGINT) is handler
    importlib.reload(maix)
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.signal is real
    print(maix.version)
    """
    assert run(source) == f"{maixpy3.VERSION}\n"


def test_an_interrupt_after_the_import_ends_a_loop(run: Run) -> None:
    source = """
    import maix, time
    looping = threading.Event()
    def interrupt():
        looping.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    try:
        for _ in range(1000):
            looping.set()
            time.sleep(0.01)
        print("the interrupt had no effect in 10 s")
    except KeyboardInterrupt:
        print("interrupted")
    """
    assert run(source) == "interrupted\n"


def test_maix_can_be_imported_in_a_thread(run: Run) -> None:
    source = """
    def load():
        from maix import display
        print(display.width())
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """
    assert run(source) == "24\n"


def test_handlers_of_others_are_set_while_maix_is_imported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "_maix_nn.py").write_text(
        "import signal\nF = load = signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    )
    source = """
    import types
    sys.modules["maix.nn.decoder"] = sys.modules["maix.nn.app"] = types.ModuleType("none")
    import maix
    print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    """
    assert run(source, tmp_path) == "True\n"


def test_an_import_that_fails_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    (tmp_path / "_maix_nn.py").write_text("raise OSError('no such device')")
    source = f"""
    real = signal.signal
    try:
        import maix
    except OSError as error:
        print(error)
    assert signal.signal is real
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "maix" not in sys.modules
    sys.path.remove({str(tmp_path)!r})
    sys.path_importer_cache.clear()
    import maix
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """
    assert run(source, tmp_path) == "no such device\n"


@pytest.mark.parametrize(
    "statement",
    ["import maix.display", "from maix import display", "import maix; import maix.display"],
)
def test_show_reaches_the_notebook_and_the_lcd_however_it_is_imported(
    run: Run, statement: str
) -> None:
    source = f"""
    {statement}
    from maix import display, image
    display.show(image.new((24, 24), (1, 2, 3)))
    print(shown[0].size, shown[0].data == drawn[0] == bytes((1, 2, 3)) * 24 * 24)
    """
    assert run(source) == "(24, 24) True\n"


def test_the_notebook_has_the_picture_as_it_was_before_the_lcd_changed_its_size(run: Run) -> None:
    source = """
    from maix import display
    display.show(img)
    print(shown[0].size, shown[0].data == bytes((1, 2, 3)) * 32 * 24)
    print((img.width, img.height), drawn[0] == img.tobytes())
    """
    assert run(source, before=PICTURE) == "(32, 24) True\n(24, 24) True\n"


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [("", "1 1"), ("remote_show=False", "0 1"), ("local_show=False", "1 0")],
)
def test_remote_show_and_local_show_are_honoured(run: Run, arguments: str, counts: str) -> None:
    source = f"""
    from maix import display
    display.show(img, {arguments})
    print(len(shown), len(drawn))
    """
    assert run(source, before=PICTURE).strip() == counts


def test_the_camera_is_live(run: Run) -> None:
    source = """
    from maix import camera, display
    for _ in range(3):
        display.show(camera.capture())
    print(len({one.data for one in shown}), [one.data for one in shown] == drawn)
    """
    assert run(source).splitlines()[-1] == "3 True"


def test_a_busy_camera_shows_the_canvas_as_the_lcd_does(run: Run) -> None:
    source = """
    import _maix_vivo
    from maix import camera, display
    _maix_vivo.busy = True
    display.as_image().load(bytes((7, 7, 7)) * 24 * 24, (24, 24))
    picture = camera.capture()
    display.show(picture)
    print(picture, shown[0].data == drawn[0] == bytes((7, 7, 7)) * 24 * 24)
    """
    assert run(source).splitlines()[-1] == "None True"


def test_bare_pixels_are_what_the_lcd_makes_of_them_and_a_jpeg_stays_one(run: Run) -> None:
    source = """
    from maix import display
    display.show(bytes(range(192)) * 9)
    display.show(b"\\xff\\xd8\\xff...", local_show=False)
    print(shown[0].size, shown[0].data == drawn[0], shown[1].img)
    """
    assert run(source) == "(24, 24) True b'\\xff\\xd8\\xff...'\n"


def test_what_cannot_be_shown_is_one_warning_and_no_end_of_the_loop(run: Run) -> None:
    source = """
    from maix import display
    for _ in range(3):
        display.show("a name")
        display.show(img)
    print(len(shown), len(drawn))
    """
    counts, *warnings = run(source, before=PICTURE, warn="default").splitlines()
    assert counts == "3 3"
    [warning] = [line for line in warnings if "Warning" in line]
    assert warning.startswith("<string>:"), "it names the user's line"
    assert "TypeError: expected a picture" in warning


def test_an_interrupt_in_show_is_the_users(run: Run) -> None:
    source = """
    from maix import display
    def interrupted(img):
        raise KeyboardInterrupt
    sys.modules["board_agent.display"].show = interrupted
    try:
        display.show(img)
    except KeyboardInterrupt:
        print("interrupted")
    """
    assert run(source, before=PICTURE) == "interrupted\n"


def test_pictures_need_neither_rpyc_nor_a_server(run: Run) -> None:
    source = """
    import importlib
    from maix import display, mjpg
    display.show(img)
    try:
        mjpg.start
    except ModuleNotFoundError as error:
        print(error)
    assert logging.root.handlers == [] and not hasattr(mjpg, "__path__")
    display.show(img)
    importlib.reload(mjpg)
    display.show(img)
    print(len(shown), "http.server" in sys.modules)
    """
    refusal, answer = run(source, before=PICTURE).splitlines()
    assert "rpyc" in refusal
    assert answer == "3 False"


def test_logging_stays_as_it_was(run: Run) -> None:
    source = """
    logging.root.setLevel(logging.ERROR)
    from maix import display, mjpg
    display.show(img)
    assert "rpyc" not in sys.modules
    mjpg.MjpgReader
    assert "rpyc" in sys.modules
    print(logging.root.handlers, logging.root.level == logging.ERROR, len(shown))
    """
    assert run(source, before=PICTURE, rpyc=True) == "[] True 1\n"


def test_the_rest_of_mjpg_is_there_and_survives_a_reload(run: Run) -> None:
    source = """
    import importlib
    from maix import display
    import maix.mjpg
    maix.mjpg.MjpgPort = 0
    from maix.mjpg import *
    print(boundary, MjpgPort, RpycPort, hasattr(maix.mjpg, "nothing"))
    importlib.reload(maix.mjpg)
    print(maix.mjpg.MjpgPort)
    display.show(img)
    print(len(shown))
    """
    lines = run(source, before=PICTURE, rpyc=True).splitlines()
    assert lines == ["--boundarydonotcross 0 18812 False", "18811", "1"]


def test_the_server_of_maix_has_the_pictures_too(run: Run) -> None:
    source = """
    import time, urllib.request
    from maix import display, mjpg
    mjpg.HostName, mjpg.MjpgPort = "127.0.0.1", 0
    mjpg.start_mjpg()
    until = time.monotonic() + 10
    while mjpg.MjpgSrv.server is None:
        assert time.monotonic() < until, "maix's server did not start in 10 s"
        time.sleep(0.01)
    display.show(img)
    try:
        port = mjpg.MjpgSrv.server.server_address[1]
        with urllib.request.urlopen("http://127.0.0.1:%d" % port, timeout=10) as answer:
            print(bytes((1, 2, 3)) * 32 * 24 in answer.read(3 * 32 * 24 + 200), len(shown))
    finally:
        mjpg.MjpgSrv.server.shutdown()
        mjpg.MjpgSrv.server.server_close()
    """
    assert run(source, before=PICTURE, rpyc=True) == "True 1\n"


def test_a_camera_in_a_notebook(home: boards.Board) -> None:
    """What Sipeed's notebooks do: until the user interrupts, and then variables are still there."""
    with started(home, *maixpy3.options()) as kernel:
        number = kernel.send(
            "from maix import camera, display\ncount = 0\n"
            "while True: display.show(camera.capture()); count += 1"
        )
        shown = kernel.until(lambda m: m["msg_type"] == "update_display_data", "it is live")
        assert "image/jpeg" in shown[-1]["content"]["data"]
        kernel.manager.interrupt_kernel()
        result = kernel.finish(number)
        assert result.reply["content"]["ename"] == "KeyboardInterrupt"
        assert int(kernel.value("count")) > 1
        assert not kernel.run("display.show(camera.capture(), remote_show=False)").of(
            "display_data"
        )
        unknown = kernel.run("display.show(camera.capture()); from maix import mjpg")
        assert len(unknown.of("display_data")) == 1 and not unknown.text("stderr")
