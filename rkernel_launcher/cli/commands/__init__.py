"""The commands of `rkernel`, a module each: on the PC, in a process of its own."""
