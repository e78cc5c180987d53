"""The link: what the PC's launcher and the board's agent both run.

It imports no folder beside it.
"""
