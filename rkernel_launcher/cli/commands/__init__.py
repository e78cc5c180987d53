"""The commands of `rkernel`, by what they are about: on the PC, in a process of its own."""
