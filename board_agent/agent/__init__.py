"""The agent: on the board, one small process that starts kernels and carries their channels."""
