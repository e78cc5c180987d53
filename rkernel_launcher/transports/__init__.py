"""The transports, which bring bytes to a host: on the PC, in the launcher and in `rkernel`.

They know no board and no kernel.
"""
