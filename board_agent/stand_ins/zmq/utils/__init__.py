"""What pyzmq has for its users."""
