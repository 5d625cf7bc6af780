"""Asking and writing: a cluster that is away for a while is waited for, and every item is answered for."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import elastic_transport
from elasticsearch import ApiError, Elasticsearch

from simquery.errors import ClusterError

__all__ = ["CONFLICT", "PATIENCE_SECONDS", "Cluster"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS = 900.0
"""So long the run waits for a cluster that restarts, is too busy, or has no room left."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
CONFLICT = 409
_BUSY = frozenset({429, 502, 503, 504})
_ACCEPTED = (200, 201)
_NOT_YET = frozenset({"no_shard_available_action_exception", "unavailable_shards_exception", "node_closed_exception"})


class _NotYetError(ClusterError):
    """The cluster answers, but cannot do it now."""


_UNANSWERED = (elastic_transport.ConnectionError, elastic_transport.ConnectionTimeout, ApiError, _NotYetError)


class Cluster:
    """The requests of a run, repeated while the cluster cannot answer them.

    All of them may be made twice without harm, so an answer that was lost costs nothing.

    Parameters
    ----------
    client
        Connection to the cluster.
    patience_seconds
        How long one request is repeated.
    """

    def __init__(self, client: Elasticsearch, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._client = client
        self._patience_seconds = patience_seconds
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Give up waiting, now and from now on."""
        self._stopped.set()

    def ask(self, request: Callable[[Elasticsearch], T]) -> T:
        """Answer to a request.

        Raises
        ------
        elasticsearch.ApiError, elastic_transport.TransportError
            When the cluster refuses it, or has been away for too long.
        """
        waited, pause = 0.0, _FIRST_PAUSE
        while True:
            try:
                answer = request(self._client)
            except _UNANSWERED as error:
                if (isinstance(error, ApiError) and error.status_code not in _BUSY) or waited >= self._patience_seconds:
                    raise
                if not waited:
                    logger.warning(
                        "The cluster cannot do it now (%s): waiting for it, %.0f minutes at most; nothing is lost.",
                        error,
                        self._patience_seconds / 60,
                    )
                if self._stopped.wait(pause):
                    raise
                waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)
            else:
                if waited:
                    logger.warning("The cluster is back; going on.")
                return answer

    def found(self, index: str, ids: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """Documents by their ids, found or not; sees writes of a moment ago.

        Raises
        ------
        ClusterError
            When the server could not say of one of them whether it exists: it must not pass for one that does not.
        """

        def look_up(client: Elasticsearch) -> list[dict[str, Any]]:
            documents: list[dict[str, Any]] = client.mget(index=index, ids=ids, **options)["docs"]
            for document in documents:
                if "error" in document:
                    error = document["error"]
                    if error.get("type") in _NOT_YET:
                        raise _NotYetError(error.get("reason"))
                    raise ClusterError(f"Elasticsearch could not look up '{document['_id']}': {error.get('reason')}.")
            return documents

        return self.ask(look_up) if ids else []

    def bulk(
        self, index: str, operations: Iterable[tuple[dict[str, Any], dict[str, Any]]], *, return_conflicts: bool = False
    ) -> list[dict[str, Any]]:
        """Write, and return the server's answer to each operation, in their order.

        An item that conflicts with what somebody else wrote is tried again, or else returned with its status 409.

        Raises
        ------
        ClusterError
            With the reason of the first item that the server refused.
        """
        pending = dict(enumerate(operations))
        answers: dict[int, dict[str, Any]] = {}
        again = _BUSY if return_conflicts else _BUSY | {CONFLICT}

        def write(client: Elasticsearch) -> None:
            numbers, refusal = list(pending), ""
            body = [line for number in numbers for line in pending[number]]
            items = client.bulk(index=index, operations=body)["items"]
            for number, item in zip(numbers, items, strict=True):
                (answer,) = item.values()
                if answer["status"] in again:
                    refusal = _reason(answer)
                    continue
                if answer["status"] not in (*_ACCEPTED, CONFLICT):
                    reason = _reason(answer)
                    raise ClusterError(f"Elasticsearch refused to store '{answer['_id']}' in '{index}': {reason}.")
                answers[number] = answer
                del pending[number]
            if pending:
                raise _NotYetError(refusal)

        if pending:
            self.ask(write)
        return [answers[number] for number in sorted(answers)]

    def pages(
        self, index: str, query: dict[str, Any], sort: str, size: int = 1000, **options: Any
    ) -> Iterator[list[dict[str, Any]]]:
        """All hits of a query in the order of a field with one value for each document, page by page.

        What was written before the first page is seen.
        """
        self.ask(lambda client: client.indices.refresh(index=index))
        after: list[Any] | None = None
        while True:
            hits = self.ask(
                partial(
                    Elasticsearch.search,
                    index=index,
                    query=query,
                    sort=[{sort: "asc"}],
                    size=size,
                    search_after=after,
                    seq_no_primary_term=True,
                    track_total_hits=False,
                    **options,
                )
            )["hits"]["hits"]
            if hits:
                yield hits
                after = hits[-1]["sort"]
            if len(hits) < size:
                return


def _reason(answer: dict[str, Any]) -> str:
    error = answer.get("error", {})
    return str(error.get("reason", error) if isinstance(error, dict) else error)
