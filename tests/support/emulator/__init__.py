"""An emulated armv7l board for the tests: one Cortex-A7 core, as little memory as asked for."""
