"""Live pictures: in the kernel process, from the first `show` on.

Cells use them like this; until the first call, nothing else of them is loaded::

    from board_agent.display import show

    show(image)
"""

from typing import Any


def show(image: Any, stream: str = "", bgr: bool = False) -> None:
    """Show a picture under the cell, in place of the one before it.

    It returns at once; you may change the picture afterwards.

    Args:
        image: An image of PIL, an array of NumPy (uint8: height x width, or with 3 or 4 colours),
            an image of maix, the bytes of a JPEG or PNG, or an object with `_repr_jpeg_` or
            `_repr_png_`.
        stream: A name of up to 100 characters, to show several pictures in one cell.
        bgr: Whether an array's colours are in the order of OpenCV.

    Raises:
        TypeError: `image` is no picture, or `stream` no such name.
        ValueError: The picture's size, shape or colours cannot be shown, or nothing on the board
            makes a JPEG of it.
        RuntimeError: This process is no kernel of rkernel.
    """
    from . import publisher

    publisher.show(image, stream, bgr)
