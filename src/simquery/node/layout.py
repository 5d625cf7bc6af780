"""Where the local node keeps its things: the folder ``SIMQUERY_HOME``, and what is what in it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from simquery.errors import NodeError
from simquery.node.account import Account
from simquery.node.files import write_atomically

__all__ = ["Launch", "Layout", "Record"]


@dataclass(frozen=True)
class Layout:
    """The paths below the node's home.

    What lies directly in the home belongs to the user who runs ``simquery up``. The server, which is another
    user where that one is root, owns ``data``, ``logs`` and ``tmp`` and may read ``config``.
    """

    home: Path

    @property
    def password(self) -> Path:
        """The password of the user ``elastic``; only its owner can read it."""
        return self.home / "password"

    @property
    def container_environment(self) -> Path:
        """The same password in the form that Docker Compose reads; only its owner can read it."""
        return self.home / "container.env"

    @property
    def record(self) -> Path:
        """How the node was started last."""
        return self.home / "node.json"

    @property
    def data_version(self) -> Path:
        """The version of Elasticsearch that wrote the data."""
        return self.home / "data.json"

    @property
    def lock(self) -> Path:
        """Held while a node is started or stopped."""
        return self.home / "lock"

    @property
    def console(self) -> Path:
        """What the server printed while it started."""
        return self.home / "console.log"

    @property
    def data(self) -> Path:
        """The indices."""
        return self.home / "data"

    @property
    def config(self) -> Path:
        """The server's configuration, written anew at each start, and its keystore."""
        return self.home / "config"

    @property
    def keystore(self) -> Path:
        """The server's own copy of the password."""
        return self.config / "elasticsearch.keystore"

    @property
    def logs(self) -> Path:
        """The server's log files."""
        return self.home / "logs"

    @property
    def log(self) -> Path:
        """The server's log file of today."""
        return self.logs / "simquery.log"

    @property
    def tmp(self) -> Path:
        """The server's temporary files."""
        return self.home / "tmp"

    @property
    def pid(self) -> Path:
        """Written by the server once it runs, removed by it when it ends."""
        return self.tmp / "node.pid"

    def make_home(self, account: Account) -> None:
        """Create the home.

        Raises
        ------
        NodeError
            When it cannot be created or written, or when the server's user cannot reach it.
        """
        try:
            self.home.mkdir(parents=True)
            self.home.chmod(0o711 if account.drops_root else 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise NodeError(f"The node's home '{self.home}' cannot be created: {error.strerror}.") from None
        if not os.access(self.home, os.W_OK | os.X_OK):
            raise NodeError(f"The node's home '{self.home}' cannot be written by this user.")
        blocked = account.blocked_by(self.home)
        if blocked is not None:
            raise NodeError(
                f"The server runs as user {account.uid}, not as root, and cannot enter '{blocked}'. "
                f"Allow it (chmod o+x '{blocked}') or set SIMQUERY_HOME to another folder."
            )

    def make_folders(self, account: Account) -> None:
        """Create the server's folders, so that the server can use them and nobody else.

        Raises
        ------
        NodeError
            When they are another user's.
        """
        for folder in (self.data, self.logs, self.tmp):
            _own(folder, 0o700, account.uid, account.gid)
        # Root keeps the configuration, and the server can add files to it but not replace root's.
        _own(self.config, 0o1770 if account.drops_root else 0o700, os.geteuid(), account.gid)


def _own(folder: Path, mode: int, uid: int, gid: int) -> None:
    if not folder.is_dir():
        folder.mkdir()
        os.chown(folder, uid, gid)
        folder.chmod(mode)
    elif folder.stat().st_uid != uid:
        raise NodeError(
            f"'{folder}' belongs to user {folder.stat().st_uid}, but should belong to user {uid}: another "
            f"user's node made it. Run simquery as that user, or set SIMQUERY_HOME to another folder."
        )


@dataclass(frozen=True)
class Launch:
    """With what a server is started: its user, port, heap and password."""

    account: Account
    port: int
    heap: str
    password: SecretStr


@dataclass(frozen=True)
class Record:
    """How the node was started last: what ``simquery status`` tells beyond the process itself."""

    version: str
    source: str
    port: int
    heap: str

    def write(self, path: Path) -> None:
        """Save the record."""
        write_atomically(path, json.dumps(asdict(self)), 0o644)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Load the record; None where there is none, or one that cannot be understood."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
