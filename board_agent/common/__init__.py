"""What more than one process of the board uses."""
