"""Index names, templates, and the check that an index was made by this version of the schema."""

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
    "SCHEMA",
    "VECTOR_INDEXES",
    "EmbeddingFacts",
    "case_indices",
    "embedding_facts",
    "files_index",
    "images_index",
    "install_templates",
    "marks_index",
    "open_files_index",
    "open_images_index",
    "open_marks_index",
    "open_measures_index",
    "open_results_index",
    "open_timings_index",
    "results_index",
    "store_candidates",
    "store_filesystems",
    "stored_filesystems",
    "template",
]

logger = logging.getLogger(__name__)

SCHEMA = 4
"""Version of the mappings; raised with every change that documents of the old one do not fit."""

_KINDS = ("files", "images", "marks", "measures", "results", "timings")

_GRAPH = {"m": 16, "ef_construction": 100}

VECTOR_INDEXES: dict[str, dict[str, Any] | None] = {
    "none": None,
    "flat": {"type": "flat"},
    "hnsw": {"type": "hnsw"} | _GRAPH,
    "int8_hnsw": {"type": "int8_hnsw"} | _GRAPH,
    # What the server would re-score with full vectors, the script of the query does anyway.
    "bbq_hnsw": {"type": "bbq_hnsw", "rescore_vector": {"oversample": 0}} | _GRAPH,
}
"""What finds candidates for an approximate query: index options of the field, all that could change pinned."""


@dataclass(frozen=True)
class EmbeddingFacts:
    """How the pictures of a case are embedded by one model.

    ``similarity`` (``cosine``, ``l2_norm``) and ``index_type`` describe the graph, None where there is none;
    ``candidates`` is what was stored for approximate queries, by the name of the distance.
    """

    dims: int
    fingerprint: str
    similarity: str | None = None
    index_type: str | None = None
    candidates: Mapping[str, int] = field(default_factory=dict)


def files_index(case: str) -> str:
    """Name of the ledger's index."""
    return f"simquery-files-{case}"


def images_index(case: str, model: str) -> str:
    """Name of the index with the pictures of a case as one model sees them."""
    return f"simquery-images-{case}-{model}"


def results_index() -> str:
    """Name of the index with the saved queries of all cases."""
    return _name("results")


def marks_index() -> str:
    """Name of the index with what was said of saved queries' hits."""
    return _name("marks")


def template(kind: str) -> dict[str, Any]:
    """Index template of a kind of index, such as ``files`` or ``measures``, as it is sent to Elasticsearch."""
    body: dict[str, Any] = json.loads(files("simquery.mappings").joinpath(f"{kind}.json").read_text("utf-8"))
    return body


def install_templates(client: Elasticsearch) -> None:
    """Put all index templates; doing it again changes nothing.

    Credentials that are limited to simquery's indices may not: indices are created with everything that the templates
    say, so that nothing is missing then. The templates guard indices that somebody else creates under our names.
    """
    try:
        for kind in _KINDS:
            client.indices.put_index_template(name=f"simquery-{kind}", body=template(kind))
    except AuthorizationException:
        logger.info("the credentials may not put index templates: indices get their mappings when they are created")


def open_files_index(client: Elasticsearch, case: str) -> str:
    """Create the ledger's index where it is missing, and return its name.

    Raises
    ------
    SchemaError
        When it was made by another version of the schema.
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
    """Create the index for a case and a model where it is missing, and return its name.

    Parameters
    ----------
    client, case, model
        Where.
    dims, fingerprint
        Of the embedder.
    similarity, vector_index
        For a new index: what its graph compares by (``cosine``, ``l2_norm``), and one of `VECTOR_INDEXES`. An index
        that exists keeps what it was made with.

    Raises
    ------
    SchemaError
        When it was made by another version of the schema, or with other weights: vectors of two fingerprints cannot be
        compared.
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


def open_measures_index(client: Elasticsearch) -> str:
    """Create the index of evaluations' measures where it is missing, and return its name; it belongs to no case."""
    return _open_growing_index(client, "measures")


def open_timings_index(client: Elasticsearch) -> str:
    """Create the index of times where it is missing, and return its name; it belongs to no case."""
    return _open_growing_index(client, "timings")


def open_results_index(client: Elasticsearch) -> str:
    """Create the index of the saved queries where it is missing, and return its name.

    Raises
    ------
    SchemaError
        When it was made by another version of the schema.
    """
    return _open_checked_index(client, "results")


def open_marks_index(client: Elasticsearch) -> str:
    """Create the index of what was said of saved queries' hits where it is missing, and return its name.

    Raises
    ------
    SchemaError
        When it was made by another version of the schema.
    """
    return _open_checked_index(client, "marks")


def embedding_facts(client: Elasticsearch, case: str, model: str) -> EmbeddingFacts:
    """How the pictures of a case are embedded by one model.

    Raises
    ------
    CaseError
        When nothing has been indexed yet for this case and model.
    SchemaError
        When the index was made by another version of the schema.
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
    )


def store_candidates(client: Elasticsearch, case: str, model: str, candidates: Mapping[str, int]) -> None:
    """Keep with the index how many candidates approximate queries take, by the name of the distance."""
    name = images_index(case, model)
    meta = _meta(client, name)
    client.indices.put_mapping(index=name, meta=meta | {"candidates": {**meta.get("candidates", {}), **candidates}})


def stored_filesystems(client: Elasticsearch, case: str, folder: Path) -> dict[Path, str]:
    """On which filesystems an evidence folder was when it was last looked through, by the path where each begins."""
    stored = _meta(client, files_index(case)).get("filesystems", {}).get(display_path(folder), {})
    return {real_path(point): identity for point, identity in stored.items()}


def store_filesystems(client: Elasticsearch, case: str, folder: Path, found: Mapping[Path, str]) -> None:
    """Keep with the ledger on which filesystems an evidence folder is."""
    name = files_index(case)
    meta = _meta(client, name)
    stored = meta.get("filesystems", {})
    described = {display_path(point): identity for point, identity in found.items()}
    if stored.get(display_path(folder)) != described:
        stored = {**stored, display_path(folder): described}
        client.indices.put_mapping(index=name, meta=meta | {"filesystems": stored})


def case_indices(client: Elasticsearch) -> list[dict[str, Any]]:
    """What there is: ``_meta`` and ``index`` of every index that holds pictures, by name."""
    mappings = client.indices.get_mapping(index="simquery-images-*", allow_no_indices=True)
    return [{"index": name, **body["mappings"].get("_meta", {})} for name, body in sorted(mappings.body.items())]


def _name(kind: str) -> str:
    """Name of the one index of a kind that belongs to no case."""
    return f"simquery-{kind}"


def _nothing_indexed(client: Elasticsearch, case: str, model: str) -> str:
    there = [f"case '{meta.get('case')}' with model '{meta.get('model')}'" for meta in case_indices(client)]
    return (
        f"Nothing has been indexed yet in case '{case}' with model '{model}': run"
        f" 'simquery index FOLDER --case {case} --model {model}' first."
        + (f" There is: {', '.join(there)}." if there else "")
    )


def _open_checked_index(client: Elasticsearch, kind: str) -> str:
    # What analysts asked and said is evidence: documents of two schemas are never mixed.
    name = _name(kind)
    _create(client, name, kind, {})
    _check(_meta(client, name), name, {})
    return name


def _open_growing_index(client: Elasticsearch, kind: str) -> str:
    # No case depends on its documents: fields that a newer simquery brings are added to what older ones wrote.
    name = _name(kind)
    _create(client, name, kind, {})
    properties = template(kind)["template"]["mappings"]["properties"]
    if properties.keys() - _mappings(client, name)["properties"].keys():
        client.indices.put_mapping(index=name, properties=properties)
    return name


def _create(
    client: Elasticsearch, name: str, kind: str, facts: dict[str, Any], embedding: dict[str, Any] | None = None
) -> None:
    if client.indices.exists(index=name):
        return
    body = template(kind)["template"]
    body["mappings"]["_meta"] = {"schema": SCHEMA} | facts
    # The same for every document, and Kibana filters all panels of a dashboard by one field: stored nowhere.
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
    schema = meta.get("schema")
    if schema != SCHEMA:
        raise SchemaError(
            f"Index '{name}' was made by schema version {schema}, this simquery uses version {SCHEMA}: use the simquery"
            " that made it, or index the evidence again under another case name."
        )
    for key, value in expected.items():
        if meta.get(key) == value:
            continue
        if key == "fingerprint":
            raise SchemaError(
                f"Index '{name}' holds vectors of other weights than model '{meta.get('model')}' has now, or of another"
                " precision, and the two cannot be compared: bring back the weights or the --precision used then, or"
                " index again under another case name."
            )
        raise SchemaError(
            f"Index '{name}' belongs to {key} '{meta.get(key)}', not '{value}': choose another case name."
        )
