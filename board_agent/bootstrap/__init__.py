"""What the PC runs on a board before there is an agent: in the bootstrap session, or its child."""
