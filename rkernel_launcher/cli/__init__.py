"""The command `rkernel`: on the PC, a process of its own. Nobody imports it."""
