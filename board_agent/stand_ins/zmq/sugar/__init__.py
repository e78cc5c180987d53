"""What pyzmq puts on top of its bindings."""
