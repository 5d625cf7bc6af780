"""Index names, templates, the pipeline for marks, and the check of an index's schema version."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from elasticsearch import AuthorizationException, BadRequestError, Elasticsearch, NotFoundError

from simquery.errors import CaseError, SchemaError
from simquery.paths import display_path, real_path

__all__ = [
    "PATHS_LISTED",
    "SCHEMA",
    "VECTOR_INDEXES",
    "EmbeddingFacts",
    "case_indices",
    "embedding_facts",
    "files_index",
    "images_index",
    "install_templates",
    "marks_are_stamped",
    "marks_index",
    "open_files_index",
    "open_images_index",
    "open_index",
    "results_index",
    "store_candidates",
    "store_filesystems",
    "stored_filesystems",
    "template",
]

logger = logging.getLogger(__name__)

SCHEMA = 5
"""Version of the mappings of a case. Raise it with every change that existing documents do not fit."""

_SCHEMA_OF_RECORDS = 5
"""Version of the mappings of results and marks, which outlive the cases: they cannot be made again."""

PATHS_LISTED = 1000
"""Most paths that a picture's document lists: each new path rewrites the whole document with its vector. The ledger has
every path."""

_GROWING = {"results": False, "marks": False, "measures": True, "timings": True}
"""The indices that belong to no case, and whether a newer simquery may add its fields to them.

Queries and marks of analysts are evidence, so documents of two schemas are never mixed there. Nothing depends on the
measures and times of evaluations."""

_KINDS = ("files", "images", *_GROWING)

_STAMP = "simquery-marks"
"""Ingest pipeline with which the server itself writes into a mark who made it and when (ADR 27)."""

_GRAPH = {"m": 16, "ef_construction": 100}

VECTOR_INDEXES: dict[str, dict[str, Any] | None] = {
    "none": None,
    "flat": {"type": "flat"},
    "hnsw": {"type": "hnsw"} | _GRAPH,
    "int8_hnsw": {"type": "int8_hnsw"} | _GRAPH,
    # No re-scoring by the server: the query's script scores with full vectors anyway.
    "bbq_hnsw": {"type": "bbq_hnsw", "rescore_vector": {"oversample": 0}} | _GRAPH,
}
"""Index options of the vector field by the name of the setting. Every default that could change is pinned."""


@dataclass(frozen=True)
class EmbeddingFacts:
    """Facts about the embeddings of a case's pictures by one model.

    ``similarity`` (``cosine``, ``l2_norm``) and ``index_type`` describe the graph; both are None if there is no graph.
    ``candidates`` is the number of candidates that approximate queries take, by the name of the distance, and
    ``recall`` the recall measured with it (``k``, ``mean``, ``least``): see `store_candidates`.
    """

    dims: int
    fingerprint: str
    similarity: str | None = None
    index_type: str | None = None
    candidates: Mapping[str, int] = field(default_factory=dict)
    recall: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def files_index(case: str) -> str:
    """Return the name of the ledger's index."""
    return f"simquery-files-{case}"


def images_index(case: str, model: str) -> str:
    """Return the name of the index with the pictures of a case, embedded by one model."""
    return f"simquery-images-{case}-{model}"


def results_index() -> str:
    """Return the name of the index with the saved queries of all cases."""
    return _name("results")


def marks_index() -> str:
    """Return the name of the index with the marks on hits of saved queries."""
    return _name("marks")


def template(kind: str) -> dict[str, Any]:
    """Return the index template of a kind of index, such as ``files`` or ``measures``, as Elasticsearch takes it."""
    return _read(kind)


def install_templates(client: Elasticsearch) -> None:
    """Install all index templates, and the index of marks with its pipeline; doing it again changes nothing.

    Credentials that are limited to simquery's indices are not allowed to do this. They do not need the templates:
    simquery creates every index with everything that its template says, and the templates only guard against other
    programs that create an index with one of these names. The index of marks must not be created without its pipeline,
    which makes marks credible (ADR 27).
    """
    try:
        for kind in _KINDS:
            client.indices.put_index_template(name=f"simquery-{kind}", body=template(kind))
        client.ingest.put_pipeline(id=_STAMP, body=_read("pipeline"))
        _create(client, marks_index(), "marks", {})
        if not marks_are_stamped(client):  # an older simquery made the index
            client.indices.put_settings(index=marks_index(), settings={"index.final_pipeline": _STAMP})
    except AuthorizationException:
        logger.info("These credentials may not install index templates and pipelines; those of an administrator may.")


def marks_are_stamped(client: Elasticsearch) -> bool:
    """Return whether the server itself writes into each mark who made it and when; False if there is no index yet."""
    found = client.indices.get_settings(index=marks_index(), ignore_unavailable=True, flat_settings=True).body
    return any(body["settings"].get("index.final_pipeline") == _STAMP for body in found.values())


def open_files_index(client: Elasticsearch, case: str) -> str:
    """Create the ledger's index if it is missing, and return its name.

    Raises
    ------
    SchemaError
        When another version of the schema made the index.
    """
    name = files_index(case)
    _create(client, name, "files", {"case": case})
    _check(_meta(client, name), name, {"case": case})
    return name


def open_images_index(
    client: Elasticsearch,
    case: str,
    model: str,
    dims: int,
    fingerprint: str,
    *,
    similarity: str = "cosine",
    vector_index: str = "none",
) -> str:
    """Create the index for a case and a model if it is missing, and return its name.

    Parameters
    ----------
    client, case, model
        Connection, name of the case, and registered name of the model.
    dims, fingerprint
        Length of the embedder's vectors, and its fingerprint.
    similarity, vector_index
        For a new index: the similarity of its graph (``cosine``, ``l2_norm``), and one of `VECTOR_INDEXES`. An
        existing index keeps its own.

    Raises
    ------
    SchemaError
        When another version of the schema made the index, or when it has vectors of other weights: vectors with
        different fingerprints cannot be compared.
    """
    name = images_index(case, model)
    embedding: dict[str, Any] = {"dims": dims}
    options = VECTOR_INDEXES[vector_index]
    if options is not None:
        embedding |= {"index": True, "similarity": similarity, "index_options": options}
    facts = {"case": case, "model": model, "dims": dims, "fingerprint": fingerprint}
    _create(client, name, "images", facts, embedding)
    _check(_meta(client, name), name, facts)
    return name


def open_index(client: Elasticsearch, kind: str) -> str:
    """Create an index that belongs to no case if it is missing, and return its name.

    Parameters
    ----------
    client
        Connection to the cluster.
    kind
        ``results``, ``marks``, ``measures`` or ``timings``.

    Raises
    ------
    SchemaError
        When another version of the schema made the index of results or of marks.
    """
    name = _name(kind)
    _create(client, name, kind, {})
    if not _GROWING[kind]:
        _check(_meta(client, name), name, {})
        return name
    properties = template(kind)["template"]["mappings"]["properties"]
    if properties.keys() - _mappings(client, name)["properties"].keys():
        client.indices.put_mapping(index=name, properties=properties)
    return name


def embedding_facts(client: Elasticsearch, case: str, model: str) -> EmbeddingFacts:
    """Return facts about the embeddings of a case's pictures by one model.

    Raises
    ------
    CaseError
        When nothing has been indexed yet for this case and model.
    SchemaError
        When another version of the schema made the index.
    """
    name = images_index(case, model)
    try:
        mappings = _mappings(client, name)
    except NotFoundError:
        raise CaseError(_nothing_indexed(client, case, model)) from None
    meta = mappings.get("_meta", {})
    _check(meta, name, {"case": case, "model": model})
    embedding = mappings["properties"]["embedding"]
    graph = embedding.get("index_options") if embedding.get("index", True) else None
    return EmbeddingFacts(
        dims=meta["dims"],
        fingerprint=meta["fingerprint"],
        similarity=embedding.get("similarity") if graph else None,
        index_type=graph["type"] if graph else None,
        candidates=meta.get("candidates", {}),
        recall=meta.get("recall", {}),
    )


def store_candidates(
    client: Elasticsearch,
    case: str,
    model: str,
    candidates: Mapping[str, int],
    recall: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Store with the index how many candidates approximate queries take.

    Parameters
    ----------
    client, case, model
        Connection, name of the case, and name of the model.
    candidates
        Numbers of candidates, by the name of the distance.
    recall
        Recall measured with these numbers, by the name of the distance: ``k`` hits, ``mean`` and ``least`` recall.
    """
    name = images_index(case, model)
    meta = _meta(client, name)
    stored = {"candidates": {**meta.get("candidates", {}), **candidates}}
    measured = {**meta.get("recall", {}), **(recall or {})}
    client.indices.put_mapping(index=name, meta=meta | stored | ({"recall": measured} if measured else {}))


def stored_filesystems(client: Elasticsearch, case: str, folder: Path) -> dict[Path, str]:
    """Return the filesystems of an evidence folder at the end of the last run, by the path where each begins."""
    for meta in case_indices(client):
        if meta.get("case") == case and (stored := meta.get("filesystems", {}).get(display_path(folder))):
            return {real_path(point): identity for point, identity in stored.items()}
    return {}


def store_filesystems(client: Elasticsearch, case: str, folder: Path, found: Mapping[Path, str]) -> None:
    """Store the filesystems of an evidence folder with the pictures of a case.

    They are stored in every images index, not in the ledger, because an indexer's key must not change the ledger's
    mapping.
    """
    described = {display_path(point): identity for point, identity in found.items()}
    for meta in case_indices(client):
        if meta.get("case") != case or meta.get("filesystems", {}).get(display_path(folder)) == described:
            continue
        name = meta.pop("index")
        filesystems = {**meta.get("filesystems", {}), display_path(folder): described}
        client.indices.put_mapping(index=name, meta=meta | {"filesystems": filesystems})


def case_indices(client: Elasticsearch) -> list[dict[str, Any]]:
    """Return ``_meta`` and ``index`` of every index with pictures, ordered by name."""
    mappings = client.indices.get_mapping(index="simquery-images-*", allow_no_indices=True)
    return [{"index": name, **body["mappings"].get("_meta", {})} for name, body in sorted(mappings.body.items())]


def _name(kind: str) -> str:
    """Return the name of the one index of a kind that belongs to no case."""
    return f"simquery-{kind}"


def _read(name: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(files("simquery.mappings").joinpath(f"{name}.json").read_text("utf-8"))
    return body


def _nothing_indexed(client: Elasticsearch, case: str, model: str) -> str:
    there = [f"case '{meta.get('case')}' with model '{meta.get('model')}'" for meta in case_indices(client)]
    return (
        f"Nothing has been indexed yet in case '{case}' with model '{model}': run"
        f" 'simquery index FOLDER --case {case} --model {model}' first."
        + (f" The cluster has: {', '.join(there)}." if there else "")
    )


def _create(
    client: Elasticsearch, name: str, kind: str, facts: dict[str, Any], embedding: dict[str, Any] | None = None
) -> None:
    if client.indices.exists(index=name):
        return
    body = template(kind)["template"]
    body["mappings"]["_meta"] = {"schema": SCHEMA if "case" in facts else _SCHEMA_OF_RECORDS} | facts
    # Kibana filters all panels of a dashboard by one field. The field has the same value in all documents of the index,
    # so it is a runtime field and not stored.
    emitted = {key: facts[key] for key in ("case", "model") if key in facts}
    body["mappings"]["runtime"] = {key: _constant(value) for key, value in emitted.items()}
    if embedding is not None:
        body["mappings"]["properties"]["embedding"] |= embedding
    try:
        client.indices.create(index=name, **body, wait_for_active_shards=1)
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":  # another process was faster
            raise


def _constant(value: str) -> dict[str, Any]:
    return {"type": "keyword", "script": {"source": "emit(params.value)", "params": {"value": value}}}


def _meta(client: Elasticsearch, name: str) -> dict[str, Any]:
    meta: dict[str, Any] = _mappings(client, name).get("_meta", {})
    return meta


def _mappings(client: Elasticsearch, name: str) -> dict[str, Any]:
    mappings: dict[str, Any] = client.indices.get_mapping(index=name).body[name]["mappings"]
    return mappings


def _check(meta: dict[str, Any], name: str, expected: dict[str, Any]) -> None:
    schema, used = meta.get("schema"), SCHEMA if "case" in expected else _SCHEMA_OF_RECORDS
    if schema != used:
        again = ", or index the evidence again under another case name" if "case" in expected else ""
        raise SchemaError(
            f"Index '{name}' has schema version {schema}, but this simquery uses version {used}: use the version of"
            f" simquery that created the index{again}."
        )
    for key, value in expected.items():
        if meta.get(key) == value:
            continue
        if key == "fingerprint":
            raise SchemaError(
                f"Index '{name}' was made with other weights or another precision than model '{meta.get('model')}'"
                " uses now, and their vectors cannot be compared: go back to the earlier weights and --precision, or"
                " index again under another case name."
            )
        raise SchemaError(
            f"Index '{name}' belongs to {key} '{meta.get(key)}', not '{value}': choose another case name."
        )
