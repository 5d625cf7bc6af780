"""Which user the server runs as.

Elasticsearch refuses to run as root. Started by root, it runs as a user of its own: a number that no account
on the system has. ``nobody`` would be simpler, but other services run as nobody and could read the case's
data; an account is not added to the system, because starting a node should not change who may log in.
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
"""Between the ranges that distributions give to people, to systemd-homed and to systemd's dynamic users."""


@dataclass(frozen=True)
class Account:
    """The user and group that the server runs as."""

    uid: int
    gid: int

    @property
    def drops_root(self) -> bool:
        """Whether the server runs as somebody else than the caller."""
        return self.uid != os.geteuid()

    @property
    def popen_options(self) -> dict[str, Any]:
        """Options for `subprocess` that start a program as this user, with no other group than its own."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.drops_root else {}

    def blocked_by(self, path: Path) -> Path | None:
        """First folder on the way to ``path``, or that folder itself, that this user may not enter.

        The question is put to the system as that user, so that access control lists count as well.
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
        The node's data folder: where it is there already, its owner stays the server's user.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data.is_dir() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    number = next(number for number in count(FIRST_FREE_UID) if number not in taken)
    return Account(number, number)
