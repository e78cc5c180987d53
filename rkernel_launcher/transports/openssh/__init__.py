"""A login by this PC's own `ssh`, which knows the person's settings, keys and hosts: on the PC."""
