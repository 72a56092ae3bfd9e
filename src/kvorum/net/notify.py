"""Tells systemd that the server is up: `Type=notify` units wait for it.

A datagram to the socket that the service manager names in NOTIFY_SOCKET; a first `@` stands for
the zero byte of an abstract address. Whoever sets no such variable is told nothing, and a manager
that does not listen is no reason not to serve.
Source: sd_notify(3).
"""

import logging
import os
import socket

VARIABLE = "NOTIFY_SOCKET"
READY = b"READY=1"

_log = logging.getLogger("kvorum.net")


def notify(state: bytes) -> None:
    """Sends a state to the service manager, if there is one."""
    address = os.environ.get(VARIABLE, "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.connect(address)
            teller.send(state)
    except (OSError, ValueError) as error:
        _log.warning("the service manager at %s was not told: %s", VARIABLE, error)
