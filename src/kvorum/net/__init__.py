"""Sockets: listeners and their connections, and outgoing connections."""
