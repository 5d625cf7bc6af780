"""Whether a home can be trusted.

The password, the key, the certificate and the server's user all follow from files in the node's home. In a home that
another user prepared they would be that user's choice, and root would run a server for him.
"""

import os
import pwd
import stat
from collections.abc import Collection
from pathlib import Path

from simquery.errors import NodeError

__all__ = ["check_trust"]

ELSEWHERE = "set SIMQUERY_HOME to another folder"


def check_trust(home: Path, servers: Collection[str]) -> None:
    """Check that nobody but this user, or root, can have written what the home holds.

    Parameters
    ----------
    home
        The home; it need not exist.
    servers
        Names of the folders in it that belong to the server's user, who has no account when root starts the node.

    Raises
    ------
    NodeError
        When the home, or something directly in it, belongs to another user, can be written by others, or is a symbolic
        link. The home itself may be a link of this user's or root's.
    """
    if not home.exists():
        return
    if home.is_symlink():
        _check_owner(home, home.lstat().st_uid)
        home = home.resolve()
    for path in (home, *sorted(home.iterdir())):
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            raise NodeError(
                f"'{path}' is a symbolic link, and simquery follows none in the node's home. Replace it with what it "
                f"points to, or {ELSEWHERE}."
            )
        if not (path.name in servers and _is_servers(facts.st_uid)):
            _check_owner(path, facts.st_uid)
        # In a sticky folder, such as the server's configuration, others cannot replace what is there.
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not facts.st_mode & stat.S_ISVTX:
            raise NodeError(
                f"Other users can write to '{path}' and may have changed the node's password or server. If you trust "
                f"what it holds, run: chmod go-w '{path}'. Otherwise {ELSEWHERE}."
            )


def _check_owner(path: Path, uid: int) -> None:
    if uid not in {0, os.geteuid()}:
        raise NodeError(
            f"'{path}' belongs to user {uid}, who may have put a password or server of his own there. Run simquery as "
            f"that user, or {ELSEWHERE}."
        )


def _is_servers(uid: int) -> bool:
    """Tell whether a user can be the server's: root starts it as a user that nobody can log in as."""
    if os.geteuid() != 0:
        return uid == os.geteuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return True
    return False
