"""Bulk writing: every item is answered for, or the run ends with the server's reason."""

from collections.abc import Iterable, Iterator
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import streaming_bulk

from simquery.errors import ClusterError

__all__ = ["answered", "bulk"]

_RETRIES = 8
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


def bulk(client: Elasticsearch, actions: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Write actions and yield the server's answer to each, in their order.

    A server that is too busy (HTTP 429) is given time, with growing pauses.

    Raises
    ------
    ClusterError
        With the reason of the first item that the server refused.
    """
    answers = streaming_bulk(
        client,
        actions,
        raise_on_error=False,
        max_retries=_RETRIES,
        initial_backoff=_FIRST_PAUSE,
        max_backoff=_LONGEST_PAUSE,
    )
    for accepted, answer in answers:
        (item,) = answer.values()
        if not accepted:
            error = item.get("error", {})
            reason = error.get("reason", error) if isinstance(error, dict) else error
            raise ClusterError(
                f"Elasticsearch refused to store '{item.get('_id')}' in '{item.get('_index')}': {reason}."
            )
        yield item


def answered(documents: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the documents of a multi-get, found or not.

    Raises
    ------
    ClusterError
        When the server could not say of one of them whether it exists: it must not pass for one that does not.
    """
    for document in documents:
        if "error" in document:
            reason = document["error"].get("reason", document["error"])
            raise ClusterError(f"Elasticsearch could not look up '{document['_id']}': {reason}.")
        yield document
