"""The connection to Elasticsearch, and clear messages for its failures."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import elastic_transport
import elasticsearch
from elasticsearch import Elasticsearch
from pydantic import AnyHttpUrl

from simquery.cluster.transport import PunctualNode, WaitingTransport
from simquery.errors import (
    AuthenticationError,
    ClusterError,
    ClusterUnreachableError,
    NotElasticsearchError,
    SettingsError,
)
from simquery.paths import printable
from simquery.settings import Settings

__all__ = ["FOREIGN_ERRORS", "MINIMUM_VERSION", "connect", "explain", "translated_errors"]

MINIMUM_VERSION = (9, 2)
"""The first version with the setting ``index.mapping.exclude_source_vectors``, which the mappings pin."""

FOREIGN_ERRORS = (
    elasticsearch.ApiError,
    elastic_transport.TransportError,
    elasticsearch.UnsupportedProductError,
)
"""Exceptions that the Elasticsearch client raises; `explain` turns each into one of simquery's errors."""

_NOT_ELASTICSEARCH = "{} answers, but it is not Elasticsearch: check SIMQUERY_URL."
_LONGEST_REASON = 300
_UNAUTHORIZED = 401
_FORBIDDEN = 403


def connect(settings: Settings) -> Elasticsearch:
    """Connect to the cluster that ``settings.url`` names, and check what answers there.

    Raises
    ------
    SettingsError
        When the CA file cannot be read.
    ClusterError
        When nothing answers, the credentials are refused, or the server is not Elasticsearch of a supported version.
    """
    if settings.url is None:
        raise SettingsError("No cluster is set: set SIMQUERY_URL, or start the local node with 'simquery up'.")
    client = _client(settings, settings.url)
    try:
        version = str(client.info()["version"]["number"])
        supported = tuple(int(part) for part in version.split(".")[:2]) >= MINIMUM_VERSION
    except FOREIGN_ERRORS as error:
        client.close()
        raise explain(error, str(settings.url)) from error
    except (KeyError, TypeError, ValueError):
        client.close()
        raise NotElasticsearchError(
            f"{settings.url} answers, but it is not Elasticsearch: check SIMQUERY_URL."
        ) from None
    if not supported:
        client.close()
        needed = ".".join(str(part) for part in MINIMUM_VERSION)
        raise NotElasticsearchError(f"{settings.url} runs Elasticsearch {version}; simquery needs {needed} or newer.")
    return client


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the errors of the Elasticsearch client into simquery's; a context manager, also usable as a decorator."""
    try:
        yield
    except FOREIGN_ERRORS as error:
        raise explain(error) from error


def explain(error: Exception, address: str = "The cluster") -> ClusterError:
    """Return the error of simquery, with one clear sentence, for an error of the Elasticsearch client.

    Parameters
    ----------
    error
        One of `FOREIGN_ERRORS`.
    address
        Address of the cluster, for the message.
    """
    if isinstance(error, elasticsearch.ApiError):
        return _explain_answer(error, address)
    if isinstance(error, elasticsearch.UnsupportedProductError | elastic_transport.SerializationError):
        return NotElasticsearchError(_NOT_ELASTICSEARCH.format(address))
    cause = printable(str(error).rsplit(": ", 1)[-1].rstrip(".)"))
    if isinstance(error, elastic_transport.TlsError):
        return ClusterUnreachableError(
            f"{address}: the certificate cannot be trusted ({cause}): set SIMQUERY_CA_FILE to the cluster's CA, and"
            " check that the address begins with https."
        )
    if isinstance(error, elastic_transport.ConnectionTimeout):
        return ClusterUnreachableError(
            f"{address} did not answer in time: it is overloaded or unreachable. Try again later."
        )
    return ClusterUnreachableError(
        f"{address} cannot be reached ({cause}): start the local node with 'simquery up', or check SIMQUERY_URL."
    )


def _explain_answer(error: elasticsearch.ApiError, address: str) -> ClusterError:
    if error.status_code == _UNAUTHORIZED:
        return AuthenticationError(
            f"{address} refuses the credentials: check SIMQUERY_USERNAME and SIMQUERY_PASSWORD, or SIMQUERY_API_KEY."
        )
    if error.status_code == _FORBIDDEN:
        return AuthenticationError(f"{address} does not allow this with the credentials given: {_reason(error)}.")
    if error.meta.headers.get("x-elastic-product") != "Elasticsearch":
        return NotElasticsearchError(
            f"{address} answers with HTTP status {error.status_code}, but it is not Elasticsearch: check SIMQUERY_URL."
        )
    return ClusterError(f"{address} answers with HTTP status {error.status_code}: {_reason(error)}.")


def _reason(error: elasticsearch.ApiError) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        details = body["error"]
        causes = details.get("root_cause") or [details]
        return _short(str(causes[0].get("reason") or details.get("reason") or error.message))
    return _short(str(error.message))


def _short(reason: str) -> str:
    # Elasticsearch's reason may quote the request: a whole script, or a name from the evidence.
    reason = printable(" ".join(reason.split()))
    reason = reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + " …"
    return reason.rstrip(".")


def _client(settings: Settings, url: AnyHttpUrl) -> Elasticsearch:
    arguments: dict[str, Any] = {}
    if settings.api_key:
        key = settings.api_key.get_secret_value()
        if not key.isascii():
            raise SettingsError("SIMQUERY_API_KEY contains a character that no API key has: copy the key again.")
        arguments["api_key"] = key
    elif settings.username and settings.password:
        # Encoded here: the client takes ASCII only, and Elasticsearch reads UTF-8.
        pair = f"{settings.username}:{settings.password.get_secret_value()}"
        arguments["basic_auth"] = base64.b64encode(pair.encode()).decode("ascii")
    if url.scheme == "https":
        arguments["verify_certs"] = settings.verify_certificates
        arguments["ssl_show_warn"] = False
        if settings.ca_file:
            if not settings.ca_file.is_file():
                raise SettingsError(f"SIMQUERY_CA_FILE names '{settings.ca_file}', which is not a file.")
            arguments["ca_certs"] = str(settings.ca_file)
    # The client requires a port; a URL without one means the default port of its scheme.
    host = f"{url.scheme}://{url.host}:{url.port}{(url.path or '').rstrip('/')}"
    return Elasticsearch(
        host,
        request_timeout=settings.timeout,
        max_retries=0,  # the transport itself repeats requests, with pauses
        transport_class=WaitingTransport,
        node_class=PunctualNode,
        **arguments,
    )
