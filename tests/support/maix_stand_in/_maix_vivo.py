"""Stands in for maixpy3's compiled _maix_vivo, which needs a V831's musl, camera and LCD."""

import time

from _maix_display import drawn

busy = False  # whether the camera has no picture to give


class _v83x_vivo:  # noqa: N801
    def __init__(self, width, height, ai_width, ai_height, vo_dir=0, ai_dir=0):
        self._sizes = (width, height), (ai_width, ai_height)
        self._count = 0

    def get(self, show=False, save=False):
        """Return a picture for the user and one for the neural network, each all of one grey."""
        time.sleep(1 / 60)  # until there is the next one
        self._count += 1
        return [] if busy else [bytes([self._count % 256]) * (w * h * 3) for w, h in self._sizes]

    def set(self, rgb):
        drawn.append(rgb)
