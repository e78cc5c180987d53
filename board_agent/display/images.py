"""Pictures as users have them: what they are, and a copy of their pixels as they are now."""

import base64
import struct
import sys
from typing import Any, NamedTuple, Optional, Tuple

from ..link.video_format import JPEG, PNG

_PLAIN = {"L": "L", "RGB": "RGB", "RGBA": "RGBA", "RGBX": "RGB"}  # PIL's modes that stay
_WANTED = (
    "a PIL image, a NumPy array of uint8 (height x width, or with 3 or 4 colours), an image of "
    "maix, or the bytes of a JPEG or PNG"
)


class Picture(NamedTuple):
    """A picture that nobody will change any more.

    Args:
        mode: L, RGB, BGR or RGBA for pixels, empty for the content of a file.
        width: In pixels.
        height: In pixels.
        pixels: Bytes or a bytearray, row by row; an image of PIL with these pixels; or the file's
            bytes.
        mime: The type of the file.
    """

    mode: str
    width: int
    height: int
    pixels: Any
    mime: str = JPEG


def copy(image: Any, bgr: bool = False, into: Optional[Picture] = None) -> Picture:
    """Return a copy of a picture.

    Args:
        image: What `show` takes.
        bgr: Whether the colours of an array are in the order of OpenCV.
        into: A copy that nobody needs any more. The new one uses its memory if it fits: fresh
            memory costs a slow board more than the copy.

    Raises:
        TypeError: It is no picture; the error says what was expected.
        ValueError: Its size, shape, colours or bytes cannot be shown; the error says why.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _file(bytes(image))
    pil: Any = sys.modules.get("PIL.Image")
    if pil is not None and isinstance(image, pil.Image):
        return _of_pil(image, into)
    if hasattr(image, "__array_interface__"):
        return _of_array(image, bgr, into)
    if all(hasattr(image, name) for name in ("mode", "width", "height", "tobytes")):
        return _of_maix(image)
    for name in ("_repr_jpeg_", "_repr_png_"):
        if (data := _represented(image, name)) is not None:
            return _file(data)
    raise TypeError("cannot show %r; expected %s" % (type(image).__name__, _WANTED))


def _of_pil(image: Any, into: Optional[Picture]) -> Picture:
    mode, (width, height) = image.mode, image.size
    _check_size(width, height)
    if into is not None and into[:3] == (mode, width, height) and hasattr(into.pixels, "paste"):
        into.pixels.paste(image, (0, 0))
        return into
    if _PLAIN.get(mode) == mode:
        image = image.copy()
    else:
        image = image.convert("L" if mode in ("1", "I", "F", "LA") else "RGB")
    return Picture(image.mode, width, height, image)


def _of_array(array: Any, bgr: bool, into: Optional[Picture]) -> Picture:
    facts = array.__array_interface__
    shape, kind = tuple(facts["shape"]), facts["typestr"]
    if kind != "|u1":
        raise TypeError(
            "cannot show an array of type %s; expected uint8, so perhaps (255 * image)"
            '.astype("uint8")' % getattr(array, "dtype", kind)
        )
    colours = 1 if len(shape) == 2 else shape[2] if len(shape) == 3 else 0
    if colours not in (1, 3, 4):
        raise ValueError(
            "cannot show an array of shape %s; expected height x width, with 3 colours (RGB, or "
            "BGR with bgr=True) or 4 (RGBA)" % (shape,)
        )
    if bgr and colours == 4:
        raise ValueError("bgr=True is for arrays with 3 colours; this one has 4")
    _check_size(shape[1], shape[0])
    mode = {1: "L", 3: "BGR" if bgr else "RGB", 4: "RGBA"}[colours]
    if facts.get("strides"):  # a view of another array, in whatever order
        return Picture(mode, shape[1], shape[0], array.tobytes())
    pixels = memoryview(array).cast("B")
    fits = into is not None and into[:3] == (mode, shape[1], shape[0])
    if into is not None and fits and isinstance(into.pixels, bytearray):
        memoryview(into.pixels)[:] = pixels
        return into
    return Picture(mode, shape[1], shape[0], bytearray(pixels))


def _of_maix(image: Any) -> Picture:
    """Copy the pixels of an image of maix, whose bytes are of the mode that it names."""
    if image.mode == "RGB16":
        image = image.copy().convert("RGB")  # which changes what it is called on
    mode, width, height = str(image.mode), int(image.width), int(image.height)
    if mode not in _PLAIN or mode == "RGBX":
        raise ValueError("cannot show an image of mode %s; expected RGB, RGBA or L" % mode)
    _check_size(width, height)
    pixels = bytes(image.tobytes())
    if len(pixels) != width * height * len(mode):
        raise ValueError(
            "cannot show an image of mode %s and %d x %d with %d bytes of pixels"
            % (mode, width, height, len(pixels))
        )
    return Picture(mode, width, height, pixels)


def _represented(image: Any, name: str) -> Optional[bytes]:
    """Return what an object offers to notebooks to show, or None."""
    method = getattr(image, name, None)
    data = None if method is None or isinstance(image, type) else method()
    if isinstance(data, tuple):
        data = data[0]  # the other one is metadata
    return base64.b64decode(data) if isinstance(data, str) else data


def _file(data: bytes) -> Picture:
    if data[:3] == b"\xff\xd8\xff":
        size, mime = _jpeg_size(data), JPEG
    elif data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        size, mime = struct.unpack_from("!II", data, 16), PNG
    else:
        raise ValueError(
            "cannot show bytes that begin with %r; expected a JPEG or PNG" % bytes(data[:8])
        )
    return Picture("", size[0], size[1], data, mime)


def _jpeg_size(data: bytes) -> Tuple[int, int]:
    """Return width and height, which are in the header of the frame (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from("!xBH", data, at)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from("!HH", data, at + 5)
            return width, height
        at += 2 + length
    raise ValueError("cannot show a JPEG that has no size; is it whole?")


def _check_size(width: int, height: int) -> None:
    if not (0 < width <= 65500 and 0 < height <= 65500):  # what a JPEG can be
        raise ValueError("cannot show a picture of %d x %d" % (width, height))
