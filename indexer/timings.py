"""Busy time of each stage of a run, stored in ``simquery-timings``: the slowest stage limits the speed of a run."""

import logging
import math
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from elasticsearch import Elasticsearch

from simquery.cluster import FOREIGN_ERRORS
from simquery.cluster.waiting import Cluster
from simquery.errors import ClusterError
from simquery.mappings import open_index

__all__ = ["Timings"]

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 10.0


@dataclass
class _Busy:
    seconds: float = 0.0
    count: int = 0


class Timings:
    """Busy seconds of the stages of one indexer's runs; may be used by several threads.

    A stage's pictures per second are the sum of ``count`` over the sum of ``seconds`` of its documents.

    Parameters
    ----------
    client
        Connection to the cluster.
    case
        Name of the case: the ``dataset`` of the documents.
    """

    def __init__(self, client: Elasticsearch, case: str) -> None:
        self._client = client
        self._case = case
        self._run = uuid.uuid4().hex
        self._busy: dict[tuple[str, str | None, str | None], _Busy] = defaultdict(_Busy)
        self._guard = threading.Lock()
        self._stored = 0
        self._due = time.monotonic() + _EVERY_SECONDS

    @contextmanager
    def of(self, stage: str, count: int, model: str | None = None, engine: str | None = None) -> Iterator[None]:
        """Time a stage (``read``, ``decode``, ``embed``, ``write``) while it works on ``count`` pictures."""
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        if count:
            with self._guard:
                busy = self._busy[stage, model, engine]
                busy.seconds += seconds
                busy.count += count

    def store(self, *, only_if_due: bool = False) -> None:
        """Write a document for each stage that was busy since the last documents.

        Times are for information only: if the cluster does not take them at once, they are lost and the run continues.

        Parameters
        ----------
        only_if_due
            Write only if some seconds have passed since the last time.
        """
        now = time.monotonic()
        if only_if_due and now < self._due:
            return
        self._due = now + _EVERY_SECONDS
        with self._guard:
            busy, self._busy = self._busy, defaultdict(_Busy)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        operations = []
        for (stage, model, engine), spent in busy.items():
            facts: dict[str, Any] = {"run": self._run, "at": at, "dataset": self._case, "stage": stage}
            facts |= {name: value for name, value in (("model", model), ("engine", engine)) if value}
            # The id is set here, so that a repeated request stores nothing twice.
            target = {"index": {"_id": f"{self._run}-{self._stored}"}}
            operations.append((target, {**facts, "seconds": spent.seconds, "count": spent.count}))
            self._stored += 1
        cluster = Cluster(self._client, patience_seconds=0.0)
        try:
            cluster.bulk(cluster.ask(partial(open_index, kind="timings")), operations)
        except (ClusterError, *FOREIGN_ERRORS) as error:
            logger.warning("The times of the stages cannot be stored (%s); the run continues.", error)
            self._due = math.inf  # try once more, at the end of the run
