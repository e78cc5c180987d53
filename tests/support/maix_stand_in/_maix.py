"""Stands in for maixpy3's compiled _maix, which needs an armv7l board's musl and libjpeg."""


def rgb2jpg(rgb, width, height, components=3, colour_space=2, quality=75):
    """Return the pixels between JPEG's markers; fail where the real one reads what is not there."""
    assert type(rgb) is bytes
    assert len(rgb) == width * height * components
    return b"\xff\xd8\xff" + rgb + b"\xff\xd9"
