"""A session with an rpyc service, over TCP or over any stream of bytes: on the PC."""
