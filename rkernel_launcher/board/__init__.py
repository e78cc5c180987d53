"""A board as the PC sees it, however it was reached: in the launcher and in `rkernel`."""
