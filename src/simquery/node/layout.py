"""The files of the local node: the folder ``SIMQUERY_HOME`` and its contents."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from simquery.errors import NodeError
from simquery.node.account import Account
from simquery.node.config import CERTIFICATE, KEY
from simquery.node.files import write_atomically
from simquery.node.port import HOST
from simquery.node.trust import check_trust

__all__ = ["Launch", "Layout", "Record"]


@dataclass(frozen=True)
class Layout:
    """The paths below the node's home.

    The home and its direct contents belong to the user who runs ``simquery up``. If that is root, the server
    runs as another user, who owns ``data``, ``logs`` and ``tmp`` and can read ``config``.
    """

    home: Path

    @property
    def password(self) -> Path:
        """The password of the user ``elastic``; only its owner can read it."""
        return self.home / "password"

    @property
    def api_key(self) -> Path:
        """The API key for everyday work; only its owner can read it."""
        return self.home / "api-key"

    @property
    def container_environment(self) -> Path:
        """The password in the form that Docker Compose reads; only its owner can read it."""
        return self.home / "container.env"

    @property
    def record(self) -> Path:
        """How the node was last started; only its owner can read it."""
        return self.home / "node.json"

    @property
    def data_version(self) -> Path:
        """The version of Elasticsearch that wrote the data."""
        return self.home / "data.json"

    @property
    def lock(self) -> Path:
        """Lock file that a process holds while it starts or stops the node."""
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
        """The server's configuration, which each start rewrites, with its keystore, key and certificate."""
        return self.home / "config"

    @property
    def key(self) -> Path:
        """The node's private key, which only the server's user can read."""
        return self.config / KEY

    @property
    def certificate(self) -> Path:
        """The node's certificate, which its clients trust."""
        return self.config / CERTIFICATE

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
        """The server's current log file."""
        return self.logs / "simquery.log"

    @property
    def tmp(self) -> Path:
        """The server's temporary files."""
        return self.home / "tmp"

    @property
    def pid(self) -> Path:
        """The server's process id: the server writes the file once it runs, and removes it when it ends."""
        return self.tmp / "node.pid"

    def make_home(self, account: Account) -> None:
        """Create the home, or check an existing one.

        Raises
        ------
        NodeError
            When it cannot be created or written, when another user could have prepared it, or when the server's user
            cannot reach it.
        """
        try:
            self.home.mkdir(parents=True)
            self.home.chmod(0o711 if account.drops_root else 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise NodeError(f"The node's home '{self.home}' cannot be created: {error.strerror}.") from None
        if not os.access(self.home, os.W_OK | os.X_OK):
            raise NodeError(f"This user cannot write to the node's home '{self.home}'.")
        self.check_trust()
        blocked = account.blocked_by(self.home)
        if blocked is not None:
            raise NodeError(
                f"The server runs as user {account.uid}, not as root, and cannot enter '{blocked}'. "
                f"Allow it (chmod o+x '{blocked}') or set SIMQUERY_HOME to another folder."
            )

    def check_trust(self) -> None:
        """Check that only this user can have written the contents of the home.

        Raises
        ------
        NodeError
            When another user can have written them.
        """
        check_trust(self.home, {folder.name for folder in (self.data, self.logs, self.tmp)})

    def make_folders(self, account: Account) -> None:
        """Create the server's folders, so that only the server can use them.

        Raises
        ------
        NodeError
            When they belong to another user.
        """
        for folder in (self.data, self.logs, self.tmp):
            _own(folder, 0o700, account.uid, account.gid)
        # Root owns the configuration. The server can add files to it, but cannot replace root's.
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
    """Parameters for starting a server: its user, port, heap and password."""

    account: Account
    port: int
    heap: str
    password: SecretStr


@dataclass(frozen=True)
class Record:
    """How the node was last started; ``simquery status`` shows it.

    Attributes
    ----------
    version, source, port, heap
        Elasticsearch's version and where it came from; the node's port and heap.
    tls
        Whether the node speaks TLS. Nodes of older versions of simquery did not; their records lack the field.
    """

    version: str
    source: str
    port: int
    heap: str
    tls: bool = False

    @property
    def url(self) -> str:
        """The node's address."""
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

    def write(self, path: Path) -> None:
        """Save the record, readable for this user only: others who learn the port early could take it first."""
        write_atomically(path, json.dumps(asdict(self)), 0o600)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Load the record; return None if there is none, or if it is not valid.

        Raises
        ------
        NodeError
            When the record belongs to another user.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except PermissionError:
            raise NodeError(f"'{path}' cannot be read: the node there belongs to another user.") from None
        except (OSError, ValueError, TypeError):
            return None
