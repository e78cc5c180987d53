"""JPEG encoders: those that are on this machine, beside each other."""

from __future__ import annotations

import io
import os
import sys

import numpy
import pytest
from PIL import Image, ImageStat

from board_agent.bootstrap import facts
from board_agent.display import jpeg
from board_agent.display.images import Picture, copy
from board_agent.display.jpeg import Encoder
from board_agent.link.video_format import JPEG, PNG

# maix's own encoder is a part of its compiled library, which runs on the board alone.
HERE = [name for name in jpeg._MAKERS if name != "maix"]
COLOUR = (200, 100, 50)


@pytest.fixture(params=HERE)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return Encoder(request.param, jpeg._MAKERS[request.param]())


@pytest.fixture
def chosen(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setattr(jpeg, "_chosen", encoder)
    return encoder


def shades(mode: str) -> Image.Image:
    """A picture whose left half is of a colour, and whose right half is black."""
    image = Image.new("RGB", (64, 32))
    image.paste(COLOUR, (0, 0, 32, 32))
    return image.convert(mode)


def colour_of(data: bytes) -> list[float]:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    assert image.format is None and image.size == (64, 32)
    right = ImageStat.Stat(image.crop((40, 0, 64, 32))).mean
    assert max(right) < 8
    return ImageStat.Stat(image.crop((0, 0, 24, 32))).mean


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "L", "P", "CMYK", "1", "LA", "YCbCr"])
def test_images_of_pil(chosen: Encoder, mode: str) -> None:
    image = shades(mode)
    expected = ImageStat.Stat(image.convert("RGB").crop((0, 0, 24, 32))).mean
    data = jpeg.encode(copy(image), 90)
    assert data[:3] == b"\xff\xd8\xff" and colour_of(data) == pytest.approx(expected, abs=4)


@pytest.mark.parametrize(
    ("array", "bgr"),
    [
        pytest.param(numpy.array(shades("RGB")), False, id="RGB"),
        pytest.param(numpy.array(shades("RGB"))[:, :, ::-1], True, id="BGR, a view"),
        pytest.param(numpy.array(shades("RGBA")), False, id="RGBA"),
        pytest.param(numpy.array(shades("L")), False, id="grey"),
        pytest.param(numpy.array(shades("L"))[:, :, None], False, id="grey with an axis"),
    ],
)
def test_arrays(chosen: Encoder, array: numpy.ndarray, bgr: bool) -> None:
    grey = shades("L").getpixel((0, 0))
    expected = COLOUR if array.ndim == 3 and array.shape[2] > 1 else (grey,) * 3
    assert colour_of(jpeg.encode(copy(array, bgr), 90)) == pytest.approx(expected, abs=4)


def test_quality_is_size(chosen: Encoder) -> None:
    noise = copy(numpy.random.default_rng(1).integers(0, 255, (64, 64, 3), "uint8"))
    sizes = [len(jpeg.encode(noise, quality)) for quality in (30, 80, 90)]
    assert sizes == sorted(set(sizes))


def test_files_stay_as_they_are() -> None:
    for form, mime in (("JPEG", JPEG), ("PNG", PNG)):
        file = io.BytesIO()
        shades("RGB").save(file, form)
        picture = copy(file.getvalue())
        assert (picture.width, picture.height, picture.mime) == (64, 32, mime)
        assert jpeg.encode(picture, 30) == file.getvalue()


def test_what_represents_itself() -> None:
    class Chart:
        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            shades("RGB").save(file, "PNG")
            return file.getvalue()

    assert copy(Chart())[:3] == ("", 64, 32)


def test_a_picture_is_a_copy() -> None:
    image, array = shades("RGB"), numpy.array(shades("RGB"))
    pictures = copy(image), copy(array)
    image.paste(0, (0, 0, 64, 32))
    array[:] = 0
    for picture in pictures:
        assert colour_of(jpeg.encode(picture, 90)) == pytest.approx(COLOUR, abs=4)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (None, TypeError, "expected a PIL image"),
        (numpy.zeros((4, 4), "float32"), TypeError, r"astype\(\"uint8\"\)"),
        (numpy.zeros((4, 4, 2), "uint8"), ValueError, "with 3 colours"),
        (numpy.zeros(4, "uint8"), ValueError, "height x width"),
        (numpy.zeros((0, 4), "uint8"), ValueError, "4 x 0"),
        (b"", ValueError, "expected a JPEG or PNG"),
        (b"\xff\xd8\xff\xd9", ValueError, "is it whole"),
        (int, TypeError, "cannot show 'type'"),
    ],
)
def test_what_is_no_picture(wrong: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        copy(wrong)


def test_bgr_with_transparency_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="this one has 4"):
        copy(numpy.zeros((4, 4, 4), "uint8"), bgr=True)


def test_the_first_that_is_there_is_chosen_and_named() -> None:
    assert jpeg.choose().name == HERE[0] == jpeg.name() == facts.collect()["encoder"]


def test_without_any_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "_LIBRARIES", ("libnothing.so.0",))
    monkeypatch.setattr(jpeg, "_chosen", None)
    for module in ("cv2", "PIL.Image", "maix.utils"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(jpeg.NoEncoder, match="install one of libturbojpeg0"):
        jpeg.encode(Picture("L", 1, 1, b"\0"), 80)


def test_how_maix_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in that records: the real one takes what it gets without a look."""
    calls = []
    maix = type(sys)("maix")
    maix.utils = type(sys)("maix.utils")  # type: ignore[attr-defined]
    maix.utils.rgb2jpg = lambda *a: calls.append(a) or b"jpeg"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "maix", maix)
    monkeypatch.setitem(sys.modules, "maix.utils", maix.utils)  # type: ignore[attr-defined]
    encode = jpeg._MAKERS["maix"]()
    assert encode(Picture("RGB", 2, 1, b"abcdef"), 70) == b"jpeg"
    encode(Picture("L", 2, 1, b"ab"), 70)
    assert calls == [(b"abcdef", 2, 1, 3, 2, 70), (b"ab", 2, 1, 1, 1, 70)]
    with pytest.raises(ValueError, match="RGB and grey only"):
        encode(Picture("RGBX", 1, 1, b"abcd"), 70)


def test_a_system_without_files_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    data = jpeg._make_pillow()(Picture("L", 8, 8, bytes(64)), 80)
    assert data[:3] == b"\xff\xd8\xff"
