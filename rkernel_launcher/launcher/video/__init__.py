"""Live pictures on the PC, in the launcher's process: from the link to notebooks and browsers."""
