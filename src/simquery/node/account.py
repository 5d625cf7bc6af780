"""The user account that the server runs as.

Elasticsearch refuses to run as root. When root starts it, it runs as a user number that no account on the system has.
``nobody`` would be simpler, but other services run as nobody and could read the case's data. simquery adds no account
to the system, because starting a node should not change who can log in.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

__all__ = ["Account", "server_account"]

FIRST_FREE_UID = 60900
"""Between the ranges that distributions use for people, for systemd-homed and for systemd's dynamic users."""


@dataclass(frozen=True)
class Account:
    """The user and group that the server runs as."""

    uid: int
    gid: int

    @property
    def drops_root(self) -> bool:
        """Whether the server runs as another user than the caller, who is root."""
        return self.uid != os.geteuid()

    @property
    def popen_options(self) -> dict[str, Any]:
        """Options for `subprocess` that start a program as this user, with no group but its own."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.drops_root else {}

    def blocked_by(self, path: Path) -> Path | None:
        """Find the first folder on the way to ``path``, itself included, that this user cannot enter.

        A program tries it as that user, so that access control lists count as well.

        Returns
        -------
        Path or None
            The folder; None when the user can enter all of them.
        """
        if not self.drops_root:
            return None
        path = path.absolute()
        script = 'for folder; do test -x "$folder" || { printf %s "$folder"; break; }; done'
        answer = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *map(str, reversed(path.parents)), str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
            cwd="/",
            **self.popen_options,
        ).stdout
        return Path(os.fsdecode(answer)) if answer else None


def server_account(data: Path) -> Account:
    """Choose the user for the server.

    Parameters
    ----------
    data
        The node's data folder. If it exists, its owner remains the server's user.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data.is_dir() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    number = next(number for number in count(FIRST_FREE_UID) if number not in taken)
    return Account(number, number)
