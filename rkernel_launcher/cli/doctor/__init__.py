"""`rkernel doctor`: what works and what does not, between this PC and a kernel on a board."""
