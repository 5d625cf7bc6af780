"""The searcher: queries by example against one case and model."""

import logging
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from simquery.cluster.paging import point_in_time
from simquery.distances import distance_of_score
from simquery.embedders import Embedder
from simquery.errors import CaseError, ClusterError, QueryError
from simquery.mappings import embedding_facts, images_index
from simquery.pictures.augmentation import Augmentation
from simquery.query.approximation_warning import foreign_graph_warning
from simquery.query.ranking import MAX_HELD, Hit, Mode, Query, Ranking, Reference
from simquery.query.references import ReferenceReader
from simquery.query.requests import FACTS, MAX_CANDIDATES, approximate_search, exact_search, following, in_point
from simquery.settings import EXACT_UP_TO

__all__ = ["Searcher"]

logger = logging.getLogger(__name__)

_CANDIDATES = 500
_CANDIDATES_PER_HIT = 3
_PAGE = 10_000
_DEEP_PAGE = 50_000
"""Number of hits per page of a long ranking. It is large because each page scores the whole collection; the index
setting max_result_window limits it."""

_Point = Mapping[str, str]
"""A point in time of the index, as a search names it."""


@dataclass(frozen=True)
class _Search:
    """A request, the number of hits to return, and the first page of the answer."""

    mode: Mode
    candidates: int | None
    collection_size: int
    request: Mapping[str, Any]
    limit: int
    first: Mapping[str, Any]

    @property
    def matched(self) -> int | None:
        return self.first["hits"]["total"]["value"] if self.mode is Mode.EXACT else None


class Searcher:
    """Rank the pictures of a case by their distance to reference pictures.

    Parameters
    ----------
    client
        Connection to the cluster.
    case, model
        Name of the case, and registered name of the model.
    build_embedder
        Builds the network; called at most once, for the first reference that is not in the case.
    exact_up_to
        Number of pictures in a case up to which `Mode.AUTO` scores every picture.

    Raises
    ------
    CaseError
        When nothing has been indexed for this case and model.
    """

    def __init__(
        self,
        client: Elasticsearch,
        case: str,
        model: str,
        build_embedder: Callable[[], Embedder],
        *,
        exact_up_to: int = EXACT_UP_TO,
    ) -> None:
        self._client = client
        self.case = case
        self.model = model
        self.embedding = embedding_facts(client, case, model)
        self._index = images_index(case, model)
        self._references = ReferenceReader(client, self._index, self.embedding.fingerprint, build_embedder)
        self._exact_up_to = exact_up_to
        self._size: int | None = None
        self._warned: set[str] = set()

    def reference(self, name: str | Path, augment: Collection[Augmentation] = ()) -> Reference:
        """Make a reference of a picture file, or of a picture of the case that is named by its SHA-256.

        Raises
        ------
        PictureError
            When the file cannot be read as a picture, or the case holds no such picture.
        SchemaError
            When the weights of the network differ from those that the case was indexed with.
        """
        return self._references.read(name, augment)

    def rank(self, query: Query) -> Ranking:
        """Answer a query.

        Raises
        ------
        CaseError
            When the case holds no picture.
        QueryError
            When the query is approximate and the case has no graph, or when there are more than `MAX_HELD` hits.
        ClusterError
            When the server restarts during a ranking of several pages.
        """
        with self._moment(query) as point:
            search = self._search(query, point)
            expected = min(search.limit, search.first["hits"]["total"]["value"])
            if expected > MAX_HELD:
                raise QueryError(
                    f"{expected:,} hits are too many to hold in memory: at most {MAX_HELD:,} are possible. Ask for"
                    " fewer with -k or --within, or write them while they come in with --output csv, jsonl or trec."
                )
            hits = tuple(self._hits(query, search))
        return Ranking(
            case=self.case,
            model=self.model,
            fingerprint=self.embedding.fingerprint,
            query=query,
            mode=search.mode,
            candidates=search.candidates,
            collection_size=search.collection_size,
            matched=search.matched,
            took_ms=search.first["took"],
            hits=hits,
            warning=self._warning(query, search.mode),
        )

    def hits(self, query: Query) -> Iterator[Hit]:
        """Answer a query hit by hit, without keeping a long ranking in memory; errors as for `rank`."""
        with self._moment(query) as point:
            yield from self._hits(query, self._search(query, point))

    def _moment(self, query: Query) -> AbstractContextManager[_Point | None]:
        """Point in time shared by all pages of a ranking, so that concurrent indexing cannot shift results."""
        if query.k is not None and query.k <= _PAGE:
            return nullcontext()
        return point_in_time(self._client, self._index)

    def _search(self, query: Query, point: _Point | None) -> _Search:
        if self._size is None:
            self._size = self._count()
        mode = self._mode(query, self._size)
        search = self._approximate(query) if mode is Mode.APPROXIMATE else None
        search = search or self._exact(query, point)
        self._size = search.collection_size
        if not self._size:
            raise CaseError(f"Case '{self.case}' holds no picture indexed with model '{self.model}'.")
        warning = self._warning(query, search.mode)
        if warning and query.distance.name not in self._warned:
            self._warned.add(query.distance.name)
            logger.warning("%s", warning)
        return search

    def _warning(self, query: Query, mode: Mode) -> str | None:
        graph, distance = self.embedding.similarity, query.distance
        if mode is Mode.EXACT or graph is None or graph == distance.graph:
            return None
        return foreign_graph_warning(distance.name, graph, self.embedding.recall.get(distance.name))

    def _mode(self, query: Query, size: int) -> Mode:
        graph = self.embedding.similarity
        if query.mode is Mode.APPROXIMATE and graph is None:
            raise QueryError(
                f"Case '{self.case}' was indexed without a graph, which an approximate query needs: use exact mode,"
                " or index again under another case name with SIMQUERY_VECTOR_INDEX=int8_hnsw."
            )
        if query.mode is not Mode.AUTO:
            return query.mode
        shallow = query.k is not None and query.k <= MAX_CANDIDATES
        serves = graph == query.distance.graph and query.within is None
        return Mode.APPROXIMATE if shallow and serves and size > self._exact_up_to else Mode.EXACT

    def _exact(self, query: Query, point: _Point | None) -> _Search:
        limit = sys.maxsize if query.k is None else query.k
        page = limit if limit <= _PAGE else min(limit, _DEEP_PAGE)
        filters = query.filters.clauses()
        request = exact_search(query.example, query.distance, page, filters, query.within)
        if point:
            request = in_point(request, point)
        first = self._page(request)
        # Without conditions every picture is a hit, so the hits' total is the size of the collection.
        counted = filters or query.within is not None
        size = self._count() if counted else first["hits"]["total"]["value"]
        return _Search(Mode.EXACT, None, size, request, limit, first)

    def _approximate(self, query: Query) -> _Search | None:
        """Search the graph; return None if that gives fewer hits than there are."""
        limit = query.k or MAX_CANDIDATES
        stored = self.embedding.candidates.get(query.distance.name, _CANDIDATES)
        wanted = query.candidates or max(stored, _CANDIDATES_PER_HIT * limit)
        candidates = min(max(wanted, limit), MAX_CANDIDATES)
        filters = query.filters.clauses()
        request = approximate_search(query.example, query.distance, limit, candidates, filters)
        first = self._page(request)
        found = len(first["hits"]["hits"])
        # A filter may cut off parts of a graph, and no hit must be missed because of that.
        if found < limit and found < self._count(filters):
            return None
        return _Search(Mode.APPROXIMATE, candidates, self._count(), request, limit, first)

    def _count(self, filters: Sequence[Mapping[str, Any]] = ()) -> int:
        counted: int = self._client.count(index=self._index, query={"bool": {"filter": list(filters)}})["count"]
        return counted

    def _page(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        index = None if "pit" in request else self._index
        answer: Mapping[str, Any] = self._client.search(index=index, **request).body
        if answer["timed_out"] or answer["_shards"]["failed"]:
            raise ClusterError("Elasticsearch could not score every picture, so no hits are shown: try again.")
        return answer

    def _hits(self, query: Query, search: _Search) -> Iterator[Hit]:
        found = islice(self._documents(search), search.limit)
        for rank, document in enumerate(found, start=1):
            hit = _hit(rank, document)
            if query.within is not None and hit.distance > query.within * (1 + 1e-6):
                return
            yield hit

    def _documents(self, search: _Search) -> Iterator[Mapping[str, Any]]:
        page, left = search.first["hits"]["hits"], search.first["hits"]["total"]["value"]
        while page:
            yield from page
            left -= len(page)
            more = left > 0 and "pit" in search.request
            page = self._page(following(search.request, page[-1]["sort"]))["hits"]["hits"] if more else ()


def _hit(rank: int, document: Mapping[str, Any]) -> Hit:
    source = document["_source"]
    facts = {name: source[name] for name in FACTS if name in source}
    return Hit(rank, distance_of_score(document["_score"]), document["_id"], tuple(source["paths"]), facts)
