"""Every error that simquery raises on purpose, and the exit code that each one ends the command with.

* SimqueryError (1)
   + SettingsError (2): a setting that cannot be used
   + InputError (3): the evidence folder, a reference picture or what is asked of them
      - FolderError
      - MissingEvidenceError
      - PictureError
      - DatasetError
      - QueryError
   + EmbedderError (4): the network
      - UnknownModelError
      - WeightsError
   + ClusterError (5): the Elasticsearch cluster
      - ClusterUnreachableError
      - AuthenticationError
      - NotElasticsearchError
      - SchemaError
      - CaseError
   + KibanaError (5): Kibana, which belongs to the cluster
   + NodeError (6): the local node
      - JavaError
      - DownloadError
      - DiskSpaceError
      - PortError
      - DataVersionError
   + VerificationError (7): disk, ledger and documents do not agree
   + UnforeseenError (1): an error that nobody foresaw, with what was being done
      - OutOfMemoryError

Usage errors of the command line end with 2 as well, and Ctrl-C with 130. Each message is one or two clear sentences:
what went wrong, with which file or address, and what to do about it. The command line prints it and ends with
``exit_code``; nothing else there knows about single errors.
"""

from typing import ClassVar

__all__ = [
    "AuthenticationError",
    "CaseError",
    "ClusterError",
    "ClusterUnreachableError",
    "DataVersionError",
    "DatasetError",
    "DiskSpaceError",
    "DownloadError",
    "EmbedderError",
    "FolderError",
    "InputError",
    "JavaError",
    "KibanaError",
    "MissingEvidenceError",
    "NodeError",
    "NotElasticsearchError",
    "OutOfMemoryError",
    "PictureError",
    "PortError",
    "QueryError",
    "SchemaError",
    "SettingsError",
    "SimqueryError",
    "UnforeseenError",
    "UnknownModelError",
    "VerificationError",
    "WeightsError",
]


class SimqueryError(Exception):
    """Base of all errors raised on purpose."""

    exit_code: ClassVar[int] = 1


class SettingsError(SimqueryError):
    """A setting that cannot be used: a bad value, an unreadable ``simquery.toml``."""

    exit_code = 2


class InputError(SimqueryError):
    """Something about the pictures that the user named."""

    exit_code = 3


class FolderError(InputError):
    """An evidence folder that is missing, not a folder, or cannot be read."""


class MissingEvidenceError(InputError):
    """So much of an evidence folder is missing that its disk may not be mounted."""


class PictureError(InputError):
    """A picture that cannot be read or decoded; the message is the reason."""


class DatasetError(InputError):
    """A data set of classes, or a run, that no measure can be computed from."""


class QueryError(InputError):
    """A query that makes no sense: a wrong date, a broken pattern, a distance that nobody registered."""


class EmbedderError(SimqueryError):
    """Something about a network."""

    exit_code = 4


class UnknownModelError(EmbedderError):
    """A model name that nobody registered."""


class WeightsError(EmbedderError):
    """Weights that are missing, or that do not fit the network."""


class ClusterError(SimqueryError):
    """Something about the Elasticsearch cluster."""

    exit_code = 5


class ClusterUnreachableError(ClusterError):
    """Nobody answers at the address of the cluster."""


class AuthenticationError(ClusterError):
    """The cluster refuses the credentials, or they lack a right."""


class NotElasticsearchError(ClusterError):
    """Something answers at the address, but it is no Elasticsearch of a supported version."""


class SchemaError(ClusterError):
    """An index whose mapping was made by another version of the schema."""


class CaseError(ClusterError):
    """A case that holds nothing (yet) for what was asked."""


class KibanaError(SimqueryError):
    """Kibana cannot be reached, or refuses what it is asked to take over."""

    exit_code = 5


class NodeError(SimqueryError):
    """Something about the local node."""

    exit_code = 6


class JavaError(NodeError):
    """No JDK that can run Elasticsearch."""


class DownloadError(NodeError):
    """Elasticsearch could not be fetched, or what was fetched fails its checksum."""


class DiskSpaceError(NodeError):
    """Not enough room for the server or its data."""


class PortError(NodeError):
    """The port that the settings ask for is taken by another program."""


class DataVersionError(NodeError):
    """The node's data was written by a version of Elasticsearch that this one cannot read."""


class VerificationError(SimqueryError):
    """What is on disk, in the ledger and in the images indices does not agree."""

    exit_code = 7


class UnforeseenError(SimqueryError):
    """An error that nobody foresaw; the message says what was being done, and with which file."""


class OutOfMemoryError(UnforeseenError):
    """The machine has too little memory for what was being done."""
