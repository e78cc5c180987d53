"""Stands in for maixpy3's compiled _maix_display, which needs an armv7l board's musl and LCD."""

drawn = []  # what is on the LCD, the newest last


class Display:
    width = 24
    height = 24

    def draw(self, rgb, width, height, rotate=0):
        drawn.append(rgb)
