"""Trust in the node's home.

Files in the node's home determine the password, the key, the certificate and the server's user. In a home that another
user prepared, that user would have chosen them all, and root would run a server for that user.
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
    """Check that only this user or root can have written the contents of the home.

    Parameters
    ----------
    home
        The home; it need not exist.
    servers
        Names of the folders in it that belong to the server's user, who has no account if root starts the node.

    Raises
    ------
    NodeError
        When the home, or something directly in it, belongs to another user, is writable by others, or is a symbolic
        link. The home itself may be a link that belongs to this user or root.
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
                f"'{path}' is a symbolic link, and simquery follows no links in the node's home. Replace it with its "
                f"target, or {ELSEWHERE}."
            )
        if not (path.name in servers and _is_servers(facts.st_uid)):
            _check_owner(path, facts.st_uid)
        # In a sticky folder, such as the server's configuration, others cannot replace existing files.
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not facts.st_mode & stat.S_ISVTX:
            raise NodeError(
                f"Other users can write to '{path}' and may have changed the node's password or server. If you trust "
                f"its contents, run: chmod go-w '{path}'. Otherwise {ELSEWHERE}."
            )


def _check_owner(path: Path, uid: int) -> None:
    if uid not in {0, os.geteuid()}:
        raise NodeError(
            f"'{path}' belongs to user {uid}, who may have put another password or server there. Run simquery as "
            f"that user, or {ELSEWHERE}."
        )


def _is_servers(uid: int) -> bool:
    """Return whether a user id can be the server's: root starts the server as a user without an account."""
    if os.geteuid() != 0:
        return uid == os.geteuid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return True
    return False
