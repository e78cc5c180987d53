"""Measure rkernel on the emulated board, beside other ways to run a kernel there."""
