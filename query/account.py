"""Who runs a command, as the machine knows it."""

import os
import pwd
import socket

__all__ = ["account"]


def account() -> str:
    """Name the user and the machine that this process runs as, such as ``zoe@lab-3``."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container that runs as any number
        name = str(number)
    return f"{name}@{socket.gethostname()}"
