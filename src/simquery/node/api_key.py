"""The key for everyday work with the local node.

The user ``elastic`` may do everything, so its password is used only to start the node and to install things in it.
Every other command uses an API key with the rights of simquery's own roles: all that the commands need on indices named
``simquery-*``, and nothing that administers the cluster.
"""

import base64
import binascii
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from elasticsearch import AuthenticationException, Elasticsearch

from simquery.errors import NodeError
from simquery.node.files import write_atomically

__all__ = ["NAME", "ensure_api_key", "key_rights"]

NAME = "simquery"
"""The key's name in the cluster."""


def key_rights() -> dict[str, Any]:
    """Return the key's role descriptors: all roles that simquery installs in a cluster (``kibana/roles.json``)."""
    roles: dict[str, Any] = json.loads((files("simquery") / "kibana" / "roles.json").read_text(encoding="utf-8"))
    return roles


def ensure_api_key(administrator: Elasticsearch, path: Path) -> None:
    """Make the key if it is missing or refused; otherwise give it the rights that this version of simquery needs.

    An existing key stays the same, because a running ``simquery watch`` uses it.

    Parameters
    ----------
    administrator
        Connection as the user ``elastic``.
    path
        File with the key as it is sent in the HTTP header; only its owner can read it.

    Raises
    ------
    NodeError
        When the file cannot be read or written.
    """
    identifier = _accepted(administrator, path)
    if identifier is not None:
        administrator.security.update_api_key(id=identifier, role_descriptors=key_rights())
        return
    administrator.security.invalidate_api_key(name=NAME, owner=True)
    made = administrator.security.create_api_key(name=NAME, role_descriptors=key_rights())
    write_atomically(path, f"{made['encoded']}\n", 0o600)


def _accepted(administrator: Elasticsearch, path: Path) -> str | None:
    """Return the id of the key in the file; None if there is no key, or the node refuses it."""
    try:
        encoded = path.read_text(encoding="ascii").strip()
        identifier, _, _ = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        administrator.options(api_key=encoded).security.authenticate()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NodeError(f"The key file '{path}' cannot be read: {error.strerror}.") from None
    except (binascii.Error, ValueError, AuthenticationException):
        return None
    return identifier
