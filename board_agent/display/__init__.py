"""Live pictures: in the kernel process, from the first `show` on.

    from board_agent.display import show

is for users; nothing else is loaded until they call it.
"""

from typing import Any


def show(image: Any, stream: str = "", bgr: bool = False) -> None:
    """Show a picture under the cell, in place of the one before it.

    Returns at once; the picture may be changed afterwards.
    Parameters: image, of PIL, NumPy (uint8: height x width, or with 3 or 4 colours) or maix, the
    bytes of a JPEG or PNG, or an object with `_repr_jpeg_` or `_repr_png_`; stream, a name, to show
    several pictures in one cell; bgr, whether an array's colours are in the order of OpenCV.
    Raises TypeError or ValueError for what is no picture, RuntimeError outside a kernel.
    """
    from . import publisher

    publisher.show(image, stream, bgr)
