"""JPEG encoders: the best of those that the board has.

Each is a function of a picture and a quality (1 to 100) that returns a JPEG. libjpeg-turbo by
itself is the fastest; OpenCV and Pillow bring a copy of it along, with more around it. The one of
maix comes last: it is another libjpeg, and ends the process if that finds a fault.
"""

import contextlib
import importlib
import importlib.util
import logging
import os
import threading
from typing import Any, Callable, Dict, NamedTuple, Optional

from .images import Picture

log = logging.getLogger(__name__)


class Encoder(NamedTuple):
    """A way to make a JPEG.

    Args:
        name: For people.
        encode: Returns a picture as JPEG, in a quality from 1 to 100.
    """

    name: str
    encode: Callable[[Picture, int], bytes]


class NoEncoder(ValueError):
    """Nothing on this board makes a JPEG."""


_LIBRARIES = ("libturbojpeg.so.0", "libturbojpeg.so")
_FORMATS = {"RGB": 0, "BGR": 1, "RGBX": 2, "L": 6}  # of TurboJPEG: TJPF_RGB, BGR, RGBX, GRAY
_420, _GRAY = 2, 3  # TJSAMP_420, TJSAMP_GRAY
_chosen: Optional[Encoder] = None
_lock = threading.Lock()  # the cell's thread and the one that sends both encode


def encode(picture: Picture, quality: int) -> bytes:
    """Return a picture as JPEG, or as it is if it is a file already.

    Args:
        picture: What to encode.
        quality: 1 to 100.

    Raises:
        NoEncoder: Nothing on this board makes a JPEG.
        ValueError: The encoder refused the picture.
    """
    global _chosen
    if not picture.mode:
        return bytes(picture.pixels)
    with _lock:
        if _chosen is None:
            _chosen = choose()
            log.debug("pictures are encoded by %s", _chosen.name)
        return _chosen.encode(_opaque(picture), quality)


def choose() -> Encoder:
    """Return the best encoder that works here.

    Raises:
        NoEncoder: None does.
    """
    for name, make in _MAKERS.items():
        try:
            return Encoder(name, make())
        except (ImportError, OSError, AttributeError):
            continue
    raise NoEncoder(
        "there is nothing on this board that makes a JPEG; install one of libturbojpeg0, "
        "python3-opencv and python3-pil, or show the bytes of a JPEG or PNG"
    )


def name() -> str:
    """Return the name of the encoder that would be chosen, without loading it; empty if none."""
    for name, module in _MODULES.items():
        if module is None:
            with contextlib.suppress(OSError, ImportError):  # a Python may have no ctypes
                _load()
                return name
        elif importlib.util.find_spec(module) is not None:
            return name
    return ""


def _opaque(picture: Picture) -> Picture:
    """Return the picture without transparency, which a JPEG does not have."""
    if picture.mode != "RGBA":
        return picture
    if hasattr(picture.pixels, "convert"):
        return picture._replace(mode="RGB", pixels=picture.pixels.convert("RGB"))
    return picture._replace(mode="RGBX")


def _raw(picture: Picture) -> Any:
    """Return the pixels as bytes or a bytearray."""
    pixels = picture.pixels
    return pixels if isinstance(pixels, (bytes, bytearray)) else pixels.tobytes()


def _make_turbojpeg() -> Callable[[Picture, int], bytes]:
    import ctypes

    library = _load()
    library.tjInitCompress.restype = ctypes.c_void_p
    library.tjFree.argtypes = [ctypes.c_void_p]
    library.tjFree.restype = None
    library.tjGetErrorStr.restype = ctypes.c_char_p
    library.tjCompress2.argtypes = [
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int),
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int),
    ]
    handle = library.tjInitCompress()
    if not handle:
        raise OSError("libturbojpeg does not start")

    def compress(picture: Picture, quality: int) -> bytes:
        pixels = _raw(picture)
        if isinstance(pixels, bytearray):
            pixels = (ctypes.c_char * len(pixels)).from_buffer(pixels)
        data = ctypes.c_void_p()
        size = ctypes.c_ulong()
        sampling = _GRAY if picture.mode == "L" else _420
        failed = library.tjCompress2(
            *(handle, pixels, picture.width, 0, picture.height, _FORMATS[picture.mode]),
            *(ctypes.byref(data), ctypes.byref(size), sampling, quality, 0),
        )
        try:
            if failed:
                raise ValueError("libturbojpeg: %s" % library.tjGetErrorStr().decode())
            return ctypes.string_at(data.value or 0, size.value)
        finally:
            library.tjFree(data)

    return compress


def _load() -> Any:
    import ctypes

    for name in _LIBRARIES[:-1]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return ctypes.CDLL(_LIBRARIES[-1])


def _make_opencv() -> Callable[[Picture, int], bytes]:
    cv2: Any = importlib.import_module("cv2")
    numpy: Any = importlib.import_module("numpy")
    to_bgr = {"RGB": cv2.COLOR_RGB2BGR, "RGBX": cv2.COLOR_RGBA2BGR}

    def compress(picture: Picture, quality: int) -> bytes:
        colours = {"L": 1, "RGBX": 4}.get(picture.mode, 3)
        shape = (picture.height, picture.width, colours)
        array = numpy.frombuffer(_raw(picture), numpy.uint8).reshape(shape)
        if picture.mode in to_bgr:
            array = cv2.cvtColor(array, to_bgr[picture.mode])
        done, data = cv2.imencode(".jpg", array, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise ValueError("OpenCV could not encode the picture")
        return bytes(data.tobytes())

    return compress


def _make_pillow() -> Callable[[Picture, int], bytes]:
    images: Any = importlib.import_module("PIL.Image")
    importlib.import_module("PIL.JpegImagePlugin")
    save: Any = images.SAVE["JPEG"]  # image.save() would load the plugins for other formats, too
    try:
        images.frombytes("L", (1, 1), bytearray(1))
        given: Callable[[Any], Any] = lambda pixels: pixels  # noqa: E731
    except TypeError:  # before Pillow 9.5
        given = bytes

    def compress(picture: Picture, quality: int) -> bytes:
        image = picture.pixels
        if isinstance(image, (bytes, bytearray)):
            size, raw = (picture.width, picture.height), {"BGR": "BGR", "RGBX": "RGBX"}
            mode = "L" if picture.mode == "L" else "RGB"
            order = raw.get(picture.mode, mode)
            image = images.frombytes(mode, size, given(image), "raw", order, 0, 1)
        image.encoderinfo, image.encoderconfig = {"quality": quality}, ()
        with _file() as file:
            save(image, file, "")
            file.seek(0)
            return bytes(file.read())

    return compress


def _file() -> Any:
    """Open a file with a descriptor: only while it encodes to one does Pillow let threads run."""
    if hasattr(os, "memfd_create"):  # since Linux 3.17, if Python knows it
        return open(os.memfd_create("picture"), "w+b", buffering=0)
    return importlib.import_module("tempfile").TemporaryFile(buffering=0)


def _make_maix() -> Callable[[Picture, int], bytes]:
    rgb2jpg: Any = importlib.import_module("maix.utils").rgb2jpg

    def compress(picture: Picture, quality: int) -> bytes:
        pixels, colours = bytes(_raw(picture)), (3, 2)  # how many, and which: JCS_RGB of libjpeg
        if picture.mode == "L":
            colours = (1, 1)
        elif picture.mode != "RGB":
            raise ValueError("maix encodes RGB and grey only, not %s" % picture.mode)
        return bytes(rgb2jpg(pixels, picture.width, picture.height, *colours, quality))

    return compress


_MAKERS: Dict[str, Callable[[], Callable[[Picture, int], bytes]]] = {
    "libjpeg-turbo": _make_turbojpeg,
    "OpenCV": _make_opencv,
    "Pillow": _make_pillow,
    "maix": _make_maix,
}
_MODULES = {"libjpeg-turbo": None, "OpenCV": "cv2", "Pillow": "PIL", "maix": "maix"}
