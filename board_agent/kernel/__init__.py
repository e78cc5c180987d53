"""The kernel: on the board, one process each, and the template that they can be forked from.

The agent starts these processes, and imports nothing from here.
"""
