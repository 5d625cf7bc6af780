"""The requests of a run: they are repeated while the cluster cannot answer, and every item's result is checked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from elastic_transport import TransportError
from elasticsearch import ApiError, AuthorizationException, Elasticsearch

from simquery.cluster.patience import NO_WAITING, PATIENCE_SECONDS, Hindrance, Patience, Waiting, patience
from simquery.cluster.room import NO_ROOM, scarce_room
from simquery.errors import ClusterError

__all__ = ["CONFLICT", "PATIENCE_SECONDS", "Cluster", "Operation"]

T = TypeVar("T")

Operation = tuple[dict[str, Any], dict[str, Any]]
"""One item of a bulk request: the action with its metadata, and the document."""

CONFLICT = 409
_ACCEPTED = (200, 201)
_NOT_YET = frozenset({"no_shard_available_action_exception", "unavailable_shards_exception", "node_closed_exception"})


class _NotYetError(ClusterError):
    """The cluster answers, but cannot do part of the request now."""

    def __init__(self, hindrance: Hindrance, reason: str) -> None:
        super().__init__(reason)
        self.hindrance = hindrance


class Cluster:
    """Make the requests of a run, and repeat them while the cluster cannot answer.

    Each request may reach the server twice without harm, so a lost answer costs nothing.

    Parameters
    ----------
    client
        Connection to the cluster, made by `simquery.cluster.connect`.
    patience_seconds
        Seconds to repeat one request while the cluster is away. A full disk is waited for up to a day.
    """

    def __init__(self, client: Elasticsearch, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._client = client
        self._patience = Patience.of_a_run(patience_seconds)

    def stop(self) -> None:
        """End all waiting, now and later."""
        self._patience.stopped.set()

    def ask(self, request: Callable[[Elasticsearch], T]) -> T:
        """Return the answer to a request.

        Raises
        ------
        elasticsearch.ApiError, elastic_transport.TransportError
            When the cluster refuses the request, or is away for too long.
        """
        waiting = Waiting(self._patience)
        before = patience.set(self._patience)
        try:
            while True:
                try:
                    answer = request(self._client)
                except _NotYetError as error:
                    if not waiting.again(error.hindrance, self._described(error)):
                        raise
                except (ApiError, TransportError) as error:
                    final = isinstance(error, ApiError) and Hindrance.of(error.status_code, error.body) is None
                    if final or not waiting.full or not waiting.again(Hindrance.FULL, f"{NO_ROOM} ({error})"):
                        raise
                else:
                    waiting.over()
                    return answer
        finally:
            patience.reset(before)

    def found(self, index: str, ids: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """Return documents by their ids, found or not; this sees the latest writes.

        Raises
        ------
        ClusterError
            When the server cannot tell whether one of them exists: it must not count as missing.
        """

        def look_up(client: Elasticsearch) -> list[dict[str, Any]]:
            documents: list[dict[str, Any]] = client.mget(index=index, ids=ids, **options)["docs"]
            for document in documents:
                if "error" in document:
                    error = document["error"]
                    if error.get("type") in _NOT_YET:
                        raise _NotYetError(Hindrance.AWAY, str(error.get("reason")))
                    raise ClusterError(f"Elasticsearch could not look up '{document['_id']}': {error.get('reason')}.")
            return documents

        return self.ask(look_up) if ids else []

    def bulk(
        self, index: str, operations: Iterable[Operation], *, return_conflicts: bool = False, **options: Any
    ) -> list[dict[str, Any]]:
        """Write, and return the server's answer to each operation, in order.

        An item that conflicts with another client's write is tried again, or else returned with its status 409.

        Raises
        ------
        ClusterError
            With the reason of the first item that the server refused.
        """
        pending = dict(enumerate(operations))
        answers: dict[int, dict[str, Any]] = {}

        def write(client: Elasticsearch) -> None:
            numbers, hindrances = list(pending), list[_NotYetError]()
            body = [line for number in numbers for line in pending[number]]
            items = client.bulk(index=index, operations=body, **options)["items"]
            for number, item in zip(numbers, items, strict=True):
                (answer,) = item.values()
                if answer["status"] in _ACCEPTED or (answer["status"] == CONFLICT and return_conflicts):
                    answers[number] = answer
                    del pending[number]
                    continue
                reason, hindrance = _reason(answer), Hindrance.of(answer["status"], answer)
                if hindrance is None and answer["status"] == CONFLICT:
                    hindrance = Hindrance.AWAY
                if hindrance is None:
                    raise ClusterError(f"Elasticsearch refused to store '{answer['_id']}' in '{index}': {reason}.")
                hindrances.append(_NotYetError(hindrance, reason))
            if hindrances:
                raise hindrances[-1]

        if pending:
            self.ask(write)
        return [answers[number] for number in sorted(answers)]

    def create(self, index: str, documents: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Add documents under ids of their own; no existing document is ever replaced.

        Raises
        ------
        ClusterError
            With the reason of the first document that the server refused.
        """
        # A conflict means that the first attempt succeeded, but its answer was lost.
        operations = (({"create": {"_id": name}}, document) for name, document in documents)
        self.bulk(index, operations, return_conflicts=True)

    def pages(
        self, index: str, query: dict[str, Any], sort: str, size: int = 1000, **options: Any
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield all hits of a query page by page, in the order of a field whose value is unique for each document.

        The pages include everything written before the first page, and continue after a restart of the server.
        Read-only credentials cannot request a refresh, so with them documents of the last second may be missing.
        """
        with suppress(AuthorizationException):
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

    def _described(self, error: _NotYetError) -> str:
        if error.hindrance is not Hindrance.FULL:
            return f"The cluster cannot do this now ({str(error).rstrip('.')})"
        before = patience.set(NO_WAITING)
        try:
            full = scarce_room(self._client.nodes.stats(metric="fs").body)
        except ApiError:  # a key with few rights must not ask
            full = None
        finally:
            patience.reset(before)
        return full or f"{NO_ROOM}. Make room on its data paths"


def _reason(answer: dict[str, Any]) -> str:
    error = answer.get("error", {})
    return str(error.get("reason", error) if isinstance(error, dict) else error)
