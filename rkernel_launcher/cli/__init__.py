"""The command `rkernel`: on the PC, a process of its own. No other folder imports it."""
