"""A case: one investigation, and everything that you can do with it.

The command line is built on this module, so a program can do whatever the command line can.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from elasticsearch import Elasticsearch

from simquery.case_options import (
    FILTERS,
    IndexOptions,
    PictureName,
    QueryOptions,
    augmentations,
    details,
    require_known,
    selection,
)
from simquery.choices import choice
from simquery.cluster import translated_errors
from simquery.connection import open_cluster
from simquery.errors import QueryError
from simquery.settings import Settings, load_settings

if TYPE_CHECKING:
    from simquery.indexer import Counts, Indexer, LiveIndexing, Report
    from simquery.query import Hit, Query, Ranking, Searcher
    from simquery.query.approximation import RecallReport
    from simquery.query.marks import Review
    from simquery.query.results import Saved
    from simquery.status import CaseStatus

__all__ = ["Case", "IndexProgress", "open_case"]

IndexProgress = Callable[["Counts", int | None], None]
"""Called with the counts so far and the total number of files, or None until that number is known."""


def open_case(
    name: str | None = None, *, model: str | None = None, settings: Settings | None = None, **options: Any
) -> "Case":
    """Open a case in the cluster that the settings name, or in the local node if they name none.

    A case comes into being when you index something into it. Close it after use; it is a context manager.

    Parameters
    ----------
    name
        Name of the case; by default the one in the settings.
    model
        Name of the network; for indexing, also several names separated by commas. By default the one in the settings.
    settings
        Settings to use; by default they are read as the command line reads them.
    **options
        Further settings by name, such as ``url`` or ``precision``.

    Raises
    ------
    SettingsError
        When a setting cannot be used.
    ClusterError
        When the cluster cannot be used.
    """
    given = {key: value for key, value in {"case": name, "model": model, **options}.items() if value is not None}
    if settings is None:
        settings = load_settings(**given)
    elif given:
        settings = Settings(**(settings.model_dump(exclude_unset=True) | given))
    return Case(open_cluster(settings), settings)


class Case:
    """One investigation in a cluster; see `open_case`.

    Parameters
    ----------
    client
        Connection to the cluster; closed with the case.
    settings
        The settings, which name the case and the model.
    """

    def __init__(self, client: Elasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    @property
    def name(self) -> str:
        """Name of the case."""
        return self._settings.case

    @property
    def model(self) -> str:
        """Name of the network, as the settings give it."""
        return self._settings.model

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the cluster."""
        self._client.close()

    @translated_errors()
    def index(
        self, *folders: PictureName, progress: IndexProgress | None = None, **options: Unpack[IndexOptions]
    ) -> "Counts":
        """Index every picture in some folders and below them; the folders are only read.

        Each path gets an entry in the ledger. Running it again looks only at files that are new or have changed.

        Parameters
        ----------
        *folders
            Evidence folders.
        progress
            Called after each batch.
        **options
            See `IndexOptions`.

        Returns
        -------
        Counts
            How many paths were indexed, skipped and so on.

        Raises
        ------
        FolderError
            When a folder cannot be read.
        MissingEvidenceError
            When so much is missing that a disk may not be mounted; nothing is recorded as gone then.
        EmbedderError
            When the network cannot be built.
        ClusterError
            When the cluster refuses a request, or is unreachable for too long.
        """
        from simquery.indexer import counted, scan_folders

        chosen = selection(folders, options)
        indexer = self._indexer(options)
        if progress is None:
            indexer.index(chosen.of(scan_folders(chosen.folders)), lambda _: None)
        else:
            with counted(chosen) as total:
                indexer.index(chosen.of(scan_folders(chosen.folders)), lambda counts: progress(counts, total()))
        for folder in chosen.folders:
            indexer.record_gone(folder, missing_is_true=options.get("record_missing", False))
        return indexer.counts

    @translated_errors()
    def watch(
        self,
        *folders: PictureName,
        poll_seconds: float | None = None,
        progress: Callable[["Counts"], None] = lambda _: None,
        **options: Unpack[IndexOptions],
    ) -> "LiveIndexing":
        """Index some folders, and then every picture that appears in them.

        Nothing happens until you iterate over the result; each item is the `Counts` so far. Its method ``stop`` ends
        the iteration; another thread or a signal handler may call it.

        Parameters
        ----------
        *folders
            Evidence folders.
        poll_seconds
            Look for changes every so many seconds, for network shares that send no events. None: wait for events.
        progress
            Called while the folders are indexed for the first time.
        **options
            See `IndexOptions`.

        Raises
        ------
        FolderError
            When a folder cannot be read or watched, or goes away.
        MissingEvidenceError, EmbedderError, ClusterError
            As for `index`.
        """
        from simquery.indexer import LiveIndexing

        return LiveIndexing(
            self._indexer(options),
            selection(folders, options),
            poll_seconds,
            progress,
            missing_is_true=options.get("record_missing", False),
        )

    @translated_errors()
    def verify(
        self, *folders: PictureName, rehash: bool = False, progress: Callable[[int], None] = lambda _: None
    ) -> "Report":
        """Check that the files in some folders, the ledger and the documents agree, without changing anything.

        Parameters
        ----------
        *folders
            Evidence folders.
        rehash
            Read every file again and compare its SHA-256.
        progress
            Called with the number of files and documents looked at so far.

        Raises
        ------
        CaseError
            When there is no such case.
        FolderError
            When a folder cannot be read.
        """
        from simquery.indexer import Verifier, check_folders

        checked = check_folders(map(Path, folders))
        return Verifier(self._client, self.name).verify(checked, rehash=rehash, progress=progress)

    @translated_errors()
    def query(self, *references: PictureName, **options: Unpack[QueryOptions]) -> "Ranking":
        """Rank the pictures of the case by their similarity to one or several reference pictures.

        Parameters
        ----------
        *references
            Picture files, or SHA-256 hashes (hex) of pictures of the case.
        **options
            See `QueryOptions`.

        Returns
        -------
        Ranking
            The hits in order, and everything needed to repeat the query. Iterating over it gives the hits.

        Raises
        ------
        PictureError
            When a reference cannot be used.
        QueryError
            When the query makes no sense.
        CaseError
            When the case holds no picture of this model.
        """
        searcher, query = self._prepared(references, options)
        return searcher.rank(query)

    @translated_errors()
    def prepare(self, *references: PictureName, **options: Unpack[QueryOptions]) -> "Query":
        """Embed the references and build the query, without running it; parameters and errors as for `query`."""
        return self._prepared(references, options)[1]

    @translated_errors()
    def rank(self, query: "Query") -> "Ranking":
        """Run a query that `prepare` returned; errors as for `query`."""
        return self._searcher().rank(query)

    def hits(self, query: "Query") -> "Iterator[Hit]":
        """Run a query that `prepare` returned, hit by hit, without holding a long ranking in memory."""
        with translated_errors():
            yield from self._searcher().hits(query)

    @translated_errors()
    def save(self, ranking: "Ranking", *, note: str | None = None, blur: bool = False) -> "Saved":
        """Save a ranking with thumbnails, so that Kibana can show it and its hits can be marked.

        Parameters
        ----------
        ranking
            Ranking that `query` returned.
        note
            Remark to store with the query.
        blur
            Store blurred thumbnails only.

        Raises
        ------
        ClusterError
            When the cluster refuses a document.
        """
        from simquery.query.results import save_ranking

        return save_ranking(self._client, ranking, note=note, blur=blur)

    @translated_errors()
    def mark(self, query: str, ranks: Collection[int], verdict: str, *, note: str | None = None) -> "Review":
        """Record an analyst's verdict on hits of a saved query; marks are added and never changed.

        Parameters
        ----------
        query
            Id of the saved query (`Saved.query`).
        ranks
            Ranks of the hits.
        verdict
            ``relevant``, ``irrelevant`` or ``review`` (`simquery.query.marks.Verdict`).
        note
            Reason for the verdict.

        Raises
        ------
        QueryError
            When the query, a hit or the verdict does not exist; then nothing is marked.
        ClusterError
            When the cluster refuses a mark.
        """
        from simquery.query.marks import Verdict, mark_hits

        mark_hits(self._client, query, ranks, choice(Verdict, verdict, "verdict"), note=note)
        return self.review(query)

    @translated_errors()
    def review(self, query: str) -> "Review":
        """Read the marks of a saved query.

        Raises
        ------
        QueryError
            When there is no such query.
        """
        from simquery.query.marks import read_review

        return read_review(self._client, query)

    @translated_errors()
    def recall(
        self,
        distances: Sequence[str] = (),
        *,
        k: int = 50,
        candidates: Sequence[int] = (50, 100, 250, 500, 1000),
        sample: int = 50,
        store: float | None = None,
        progress: Callable[[int, int], None] = lambda *_: None,
    ) -> "RecallReport":
        """Measure what share of the exact ranking approximate queries return, and how long both take.

        Parameters
        ----------
        distances
            Names of distances; by default those that the graph of the case serves.
        k
            Number of hits to compare.
        candidates
            Numbers of candidates to try; numbers below k are raised to k.
        sample
            Number of pictures of the case to use as references; the choice is the same each time.
        store
            Recall to reach: the smallest number of candidates that does is stored with the case, and queries use it.
        progress
            Called with the number of queries done and the total.

        Raises
        ------
        CaseError, QueryError
            When the case or the options leave nothing to measure.
        """
        from simquery.distances import find_distance
        from simquery.query.approximation import measure_case

        return measure_case(
            self._client,
            self._searcher(),
            [find_distance(name) for name in distances],
            k=k,
            candidates=candidates,
            sample=sample,
            store=store,
            progress=progress,
        )

    @translated_errors()
    def status(self) -> "CaseStatus":
        """Count what the case holds."""
        from simquery.status import case_status

        return case_status(self._client, self.name)

    def _searcher(self) -> "Searcher":
        from simquery.embedders import check_model_name
        from simquery.embedders.service import warm_embedder
        from simquery.query import Searcher

        return Searcher(
            self._client,
            self.name,
            check_model_name(self.model, self._settings),
            partial(warm_embedder, self._settings),
            exact_up_to=self._settings.exact_up_to,
        )

    def _prepared(self, references: Sequence[PictureName], options: QueryOptions) -> "tuple[Searcher, Query]":
        """Build a query and the searcher that embeds its references; invalid options are refused before embedding."""
        from simquery.distances import find_distance
        from simquery.query import MAX_VECTORS, Combine, Filters, Mode, Query

        require_known(options, QueryOptions)
        rejected = options.get("rejected", ())
        combine = choice(Combine, options.get("combine", Combine.SUM), "way to combine references")
        if len(references) + len(rejected) > MAX_VECTORS and combine is not Combine.FEATURES:
            raise QueryError(f"{len(references)} references are too many for one query: use at most {MAX_VECTORS}.")
        within = options.get("within")
        distance = find_distance(options.get("distance", "cosine"))
        filters = Filters(**{name: options[name] for name in FILTERS if name in options})  # type: ignore[literal-required]
        filters.clauses()  # report invalid filters before anything is embedded
        variants = augmentations(options.get("augment", ()))
        mode = choice(Mode, options.get("mode", Mode.AUTO), "mode")
        searcher = self._searcher()
        query = Query(
            tuple(searcher.reference(name, variants) for name in references),
            distance,
            options.get("k", None if within is not None else 50),
            combine,
            tuple(searcher.reference(name) for name in rejected),
            filters,
            within,
            mode,
            options.get("candidates"),
        )
        return searcher, query

    def _indexer(self, options: IndexOptions) -> "Indexer":
        from simquery.embedders import build_embedder
        from simquery.indexer import Indexer

        models = dict.fromkeys(name.strip() for name in self.model.split(","))
        return Indexer(
            self._client,
            self.name,
            [build_embedder(self._settings.model_copy(update={"model": model})) for model in models],
            details(options),
            similarity=self._settings.similarity,
            vector_index=self._settings.vector_index,
        )
