"""Runs: apply the protocol to a data set, network by network, or judge rankings that another tool made."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np
from elasticsearch import Elasticsearch

from simquery.distances import find_distance
from simquery.embedders import Embedder, Features, build_embedder, check_model_name
from simquery.errors import SchemaError
from simquery.evaluation.augmented import embed_augmented
from simquery.evaluation.dataset import Dataset
from simquery.evaluation.embeddings import Embedded, VectorCache, embed_dataset, unreadable
from simquery.evaluation.harness import Judge, Ranked, Results, check_measures, first_pictures, rank_all
from simquery.evaluation.manifest import make_manifest
from simquery.evaluation.measures import DEFAULT_MEASURES, Measure, parse_measures
from simquery.evaluation.topics import Topic, draw_topics
from simquery.evaluation.trec import read_run
from simquery.pictures.augmentation import AUGMENTATIONS
from simquery.pictures.files import sha256_of
from simquery.settings import Settings

__all__ = ["THESIS_DISTANCES", "Evaluation", "Progress", "Protocol", "ProtocolOptions", "judge_networks", "judge_run"]

THESIS_DISTANCES = ("cosine", "euclidean", "manhattan", "modified")
"""Distances that are compared by default (thesis, table 3.1)."""

_ROWS = 1024

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, the number of items done, and the total (0: unknown)."""


class ProtocolOptions(TypedDict, total=False):
    """Options of an evaluation, with names as users write them.

    Attributes
    ----------
    models
        Networks; by default the model in the settings.
    layers
        Further layers at which to cut every network.
    distances
        Names of distances, also short ones such as ``l2``; by default `THESIS_DISTANCES`.
    measures
        Measures such as ``P@50``; by default those of `DEFAULT_MEASURES` for which the data set is large enough.
    references, seed, several, augment
        As in `Protocol`.
    """

    models: Sequence[str]
    layers: Sequence[str]
    distances: Sequence[str]
    measures: Sequence[str]
    references: int
    seed: int
    several: int
    augment: bool


@dataclass(frozen=True)
class Protocol:
    """What an evaluation compares, and how.

    Attributes
    ----------
    models, distances
        Registered names; every network is tried with every distance.
    measures
        Measures; None: all of `DEFAULT_MEASURES` for which the data set is large enough.
    references
        Largest number of references to draw.
    seed
        Random seed for drawing references, for resampling and for tests.
    several
        Largest number of references that one query combines; 1 leaves these experiments out.
    augment
        Whether to also query with augmented references.
    """

    models: tuple[str, ...]
    distances: tuple[str, ...] = THESIS_DISTANCES
    measures: tuple[Measure, ...] | None = None
    references: int = 100
    seed: int = 0
    several: int = 5
    augment: bool = True

    @classmethod
    def named(cls, settings: Settings, **options: Unpack[ProtocolOptions]) -> Self:
        """Make a protocol from names as users write them; see `ProtocolOptions`.

        Raises
        ------
        UnknownModelError, QueryError, SettingsError
            When there is no model, distance or measure with one of the names.
        """
        numbers: dict[str, Any] = dict(options)
        named = {name: numbers.pop(name, ()) for name in ("models", "layers", "distances", "measures")}
        whole = [check_model_name(name, settings) for name in named["models"] or [settings.model]]
        cut = [
            check_model_name(f"{name.partition('@')[0]}@{layer}", settings)
            for name in whole
            for layer in named["layers"]
        ]
        return cls(
            models=tuple(dict.fromkeys([*whole, *cut])),
            distances=tuple(dict.fromkeys(find_distance(name).name for name in named["distances"] or THESIS_DISTANCES)),
            measures=parse_measures(named["measures"]) or None,
            **numbers,
        )


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a run and its manifest."""

    results: Results
    manifest: dict[str, Any]


def judge_networks(
    dataset: Dataset,
    protocol: Protocol,
    settings: Settings,
    *,
    client: Elasticsearch | None = None,
    progress: Progress = lambda *_: None,
    each: Callable[[Dataset, Ranked], None] = lambda *_: None,
    each_model: Callable[[str, Dataset, Features], None] = lambda *_: None,
) -> Evaluation:
    """Embed a data set with every model, draw references, rank, judge.

    A picture that one model cannot use is left out for all models, so that all figures refer to the same pictures.

    Parameters
    ----------
    dataset
        The data set.
    protocol
        What to compare.
    settings
        They name the weights, the cache and the case.
    client
        Cluster whose case may already hold vectors.
    progress
        Called as the run proceeds.
    each
        Called with the judged data set and each ranking, before the next ranking is made.
    each_model
        Called with each model's name, the judged data set, and its vectors, float32 (n, dims).

    Raises
    ------
    DatasetError
        When nothing can be judged.
    SettingsError
        When a measure needs more pictures than there are.
    """
    _measures(protocol, dataset.checked())  # refuse invalid measures before anything is embedded
    settings.cache.mkdir(parents=True, exist_ok=True)
    # The vectors of all networks may not fit in memory together: keep them on disk, in the cache (/tmp may be memory).
    with tempfile.TemporaryDirectory(prefix="evaluation-", dir=settings.cache) as scratch:
        embedded: dict[str, Embedded] = {}
        for number, model in enumerate(protocol.models):
            found = _embed(dataset, model, settings, client, progress)
            file = Path(scratch) / f"{number}.npy"
            np.save(file, found.vectors)
            embedded[model] = replace(found, vectors=np.load(file, mmap_mode="r"))
        reasons = {content: why for found in embedded.values() for content, why in found.reasons.items()}
        kept = np.array([picture.sha256 not in reasons for picture in dataset.pictures])
        judged = dataset.without(reasons).checked()
        measures = _measures(protocol, judged)
        queries = draw_topics(judged, protocol.references, protocol.seed, protocol.several)
        judge = Judge(judged, queries, measures)
        networks = {}
        for model, found in embedded.items():
            vectors = found.vectors if kept.all() else found.vectors[kept]
            changed: Mapping[str, Features] = {}
            if protocol.augment:
                embedder = _network(settings.model_copy(update={"model": model}), found.fingerprint)
                changed = _augmented(judged, queries, embedder, settings, progress)
            networks[model] = _facts(found, [vectors, *changed.values()])
            for count, name in enumerate(protocol.distances):
                progress(f"Ranking, {model}", count, len(protocol.distances))
                for ranked in rank_all(model, find_distance(name), vectors, queries, augmented=changed):
                    judge.add(ranked)
                    each(judged, ranked)
            each_model(model, judged, vectors)
    manifest = make_manifest(
        judged,
        queries,
        measures=measures,
        distances=protocol.distances,
        networks=networks,
        protocol={
            "references": protocol.references,
            "seed": protocol.seed,
            "several": protocol.several,
            "augmentations": list(AUGMENTATIONS) if protocol.augment else [],
        },
    )
    return Evaluation(judge.results(), manifest)


def judge_run(file: Path, dataset: Dataset, protocol: Protocol, progress: Progress = lambda *_: None) -> Evaluation:
    """Judge the rankings of a TREC run by any tool, over the readable pictures of a data set.

    Raises
    ------
    DatasetError
        When the file is not a run on this data set.
    """
    total = len(dataset.pictures)
    dataset = dataset.without(
        unreadable(dataset, lambda count: progress("Decoding the pictures", count, total))
    ).checked()
    measures = _measures(protocol, dataset)
    rankings = list(read_run(file, dataset))
    queries = tuple(dict.fromkeys(ranked.query for ranked in rankings))
    judge = Judge(dataset, queries, measures)
    for ranked in rankings:
        judge.add(ranked)
    with file.open("rb") as opened:
        facts = {"seed": protocol.seed, "run_sha256": sha256_of(opened)}
    manifest = make_manifest(dataset, queries, measures=measures, distances=(), networks={}, protocol=facts)
    return Evaluation(judge.results(), manifest)


def _embed(
    dataset: Dataset, model: str, settings: Settings, client: Elasticsearch | None, progress: Progress
) -> Embedded:
    total = len(dataset.pictures)
    progress(f"Embedding, {model}", 0, total)
    return embed_dataset(
        dataset,
        model,
        lambda: build_embedder(settings.model_copy(update={"model": model})),
        settings.cache,
        client=client,
        case=settings.case,
        progress=lambda count: progress(f"Embedding, {model}", count, total),
    )


def _facts(embedded: Embedded, ranked: Iterable[Features]) -> dict[str, Any]:
    """Return the manifest's facts about a model: where its vectors come from, and the digest of all ranked vectors."""
    digest = hashlib.sha256()
    for vectors in ranked:
        for start in range(0, len(vectors), _ROWS):
            digest.update(np.asarray(vectors[start : start + _ROWS], dtype="<f4").tobytes())
    return {
        "fingerprint": embedded.fingerprint,
        "inference": {
            **(asdict(embedded.inference) if embedded.inference else {}),
            "taken_from_case": embedded.from_case,
        },
        "vectors": digest.hexdigest(),
    }


def _augmented(
    dataset: Dataset, queries: tuple[Topic, ...], embedder: Embedder, settings: Settings, progress: Progress
) -> Mapping[str, Features]:
    cache = VectorCache(settings.cache, embedder)
    pictures = [dataset.pictures[query.reference] for query in queries]
    vectors = {}
    for count, name in enumerate(AUGMENTATIONS):
        progress(f"Augmented references, {embedder.name}", count, len(AUGMENTATIONS))
        vectors[name] = embed_augmented(pictures, name, embedder, cache)
    return vectors


def _network(settings: Settings, fingerprint: str) -> Embedder:
    embedder = build_embedder(settings)
    if embedder.fingerprint != fingerprint:
        raise SchemaError(
            f"Case '{settings.case}' was indexed with other weights than model '{settings.model}' uses now, so its"
            " vectors cannot be compared with augmented references: restore the earlier weights, or name another case."
        )
    return embedder


def _measures(protocol: Protocol, dataset: Dataset) -> tuple[Measure, ...]:
    ranked = len(dataset.pictures) - 1
    if protocol.measures is not None:
        check_measures(protocol.measures, ranked)
        return protocol.measures
    return tuple(measure for measure in DEFAULT_MEASURES if first_pictures(measure) <= ranked)
