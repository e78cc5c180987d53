"""Sockets in the event loop of tornado."""
