"""Every error that simquery raises on purpose, and the exit code of the command for each.

* SimqueryError (1)
   + SettingsError (2): an invalid setting
   + InputError (3): an unusable evidence folder, reference picture, data set or query
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

Usage errors of the command line also end with 2, and Ctrl-C with 130. Each message is one or two clear sentences:
what went wrong, with which file or address, and what to do about it. The command line prints the message and ends
with ``exit_code``; it treats all errors alike.
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
    """Base class of all errors raised on purpose."""

    exit_code: ClassVar[int] = 1


class SettingsError(SimqueryError):
    """A setting has an invalid value, or the configuration file cannot be read."""

    exit_code = 2


class InputError(SimqueryError):
    """Base class of errors about the folders, pictures, data sets and queries that the user gives."""

    exit_code = 3


class FolderError(InputError):
    """An evidence folder is missing, is not a folder, or cannot be read."""


class MissingEvidenceError(InputError):
    """So much of an evidence folder is missing that its disk may not be mounted."""


class PictureError(InputError):
    """A picture cannot be read or decoded; the message gives the reason."""


class DatasetError(InputError):
    """No measure can be computed from a data set of classes, or from a run."""


class QueryError(InputError):
    """A query is invalid: for example a wrong date, a malformed pattern or an unknown distance."""


class EmbedderError(SimqueryError):
    """Base class of errors about networks."""

    exit_code = 4


class UnknownModelError(EmbedderError):
    """There is no model of this name."""


class WeightsError(EmbedderError):
    """Weights are missing, or do not fit the network."""


class ClusterError(SimqueryError):
    """Base class of errors about the Elasticsearch cluster."""

    exit_code = 5


class ClusterUnreachableError(ClusterError):
    """Nothing answers at the address of the cluster."""


class AuthenticationError(ClusterError):
    """The cluster refuses the credentials, or they do not give a right that is needed."""


class NotElasticsearchError(ClusterError):
    """Something answers at the address, but it is not Elasticsearch of a supported version."""


class SchemaError(ClusterError):
    """An index was made with another version of the schema."""


class CaseError(ClusterError):
    """The case does not exist, or holds nothing yet for this request."""


class KibanaError(SimqueryError):
    """Kibana cannot be reached, or refuses a request."""

    exit_code = 5


class NodeError(SimqueryError):
    """Base class of errors about the local node."""

    exit_code = 6


class JavaError(NodeError):
    """No JDK on this machine can run Elasticsearch."""


class DownloadError(NodeError):
    """Elasticsearch could not be downloaded, or the download does not match its checksum."""


class DiskSpaceError(NodeError):
    """There is not enough disk space for the server or its data."""


class PortError(NodeError):
    """Another program uses the port that the settings name."""


class DataVersionError(NodeError):
    """The node's data was written by a version of Elasticsearch whose data this version cannot read."""


class VerificationError(SimqueryError):
    """The files on disk, the ledger and the images indices do not agree."""

    exit_code = 7


class UnforeseenError(SimqueryError):
    """An unexpected error; the message says what was being done, and with which file."""


class OutOfMemoryError(UnforeseenError):
    """The machine does not have enough memory for what was being done."""
