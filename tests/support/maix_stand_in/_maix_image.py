"""Stands in for maixpy3's compiled _maix_image, which needs an armv7l board's musl.

It has what maix's Python files and a user of display.show() call, with the same names; as in the
real one, resize() and convert() change the image itself, and return it.
"""

_BYTES = {"L": 1, "RGB": 3, "RGBA": 4}  # a pixel has


class Image:
    width = height = size = 0
    mode = "RGB"

    def load(self, data, size=(240, 240), mode="RGB"):
        assert len(data) == size[0] * size[1] * _BYTES[mode]
        self._pixels, self.mode = bytearray(data), mode
        self.width, self.height = size
        self.size = len(data)
        return self

    def tobytes(self, format="rgb", params=()):
        return bytes(self._pixels)

    def copy(self):
        return Image().load(self._pixels, (self.width, self.height), self.mode)

    def resize(self, w=0, h=0, func=1, padding=1, size=()):
        """Cut or pad with black: enough to tell that the pixels are others."""
        pixel = _BYTES[self.mode]
        rows = [self._pixels[y * self.width * pixel :][: self.width * pixel] for y in range(h)]
        rows = [(row + bytes(w * pixel))[: w * pixel] for row in rows[: self.height]]
        return self.load(
            (b"".join(rows) + bytes(w * h * pixel))[: w * h * pixel], (w, h), self.mode
        )

    def convert(self, mode="RGB"):
        grey = self._pixels[:: _BYTES[self.mode]]
        data = bytes(value for value in grey for _ in range(_BYTES[mode]))
        return self.load(data, (self.width, self.height), mode)


def new(size=(240, 240), color=(0, 0, 0), mode="RGB"):
    pixel = bytes((*color, 255)[: _BYTES[mode]])
    return Image().load(pixel * (size[0] * size[1]), size, mode)
