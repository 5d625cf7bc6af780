"""Status: the cluster in use, its cases, and the networks kept in memory."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import Elasticsearch

from simquery.connection import open_cluster
from simquery.embedders.service import Service, running_services
from simquery.mappings import case_indices, files_index
from simquery.node import LocalNode
from simquery.settings import Settings

__all__ = ["CaseStatus", "ClusterStatus", "ModelStatus", "case_status", "cluster_status"]


@dataclass(frozen=True)
class ModelStatus:
    """How many distinct pictures of a case one model has embedded."""

    case: str
    model: str
    pictures: int


@dataclass(frozen=True)
class CaseStatus:
    """What one case holds.

    Attributes
    ----------
    case
        Its name.
    models
        One entry for each model that embedded its pictures.
    files
        Number of paths in the ledger by status (`simquery.indexer.Status`).
    gone
        How many of those paths no longer exist.
    """

    case: str
    models: tuple[ModelStatus, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    gone: int = 0


@dataclass(frozen=True)
class ClusterStatus:
    """The cluster in use.

    Attributes
    ----------
    cluster
        ``settings`` if the settings name the cluster, else ``local node``.
    running
        Whether it answers.
    facts
        Address, version, health and the like; for the local node also its folders.
    cases
        The cases in it.
    networks
        Networks kept in memory for the next query.
    """

    cluster: str
    running: bool
    facts: Mapping[str, Any]
    cases: tuple[CaseStatus, ...] = ()
    networks: tuple[Service, ...] = ()


def cluster_status(settings: Settings) -> ClusterStatus:
    """Return the status of the cluster that the settings name, or of the local node if they name none.

    Raises
    ------
    ClusterError
        When the cluster cannot be used.
    """
    networks = tuple(running_services(settings))
    facts: dict[str, Any]
    if settings.url is None:
        node = LocalNode(settings).status()
        facts = {name: value for name, value in vars(node).items() if name != "running"}
        if not node.running:
            return ClusterStatus("local node", running=False, facts=facts, networks=networks)
    else:
        facts = {"url": str(settings.url)}
    with open_cluster(settings) as client:
        facts |= {"version": client.info()["version"]["number"], "health": client.cluster.health()["status"]}
        indices: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for meta in case_indices(client):
            indices[str(meta.get("case"))].append(meta)
        cases = tuple(_case_status(client, name, metas) for name, metas in indices.items())
    name = "local node" if settings.url is None else "settings"
    return ClusterStatus(name, running=True, facts=facts, cases=cases, networks=networks)


def case_status(client: Elasticsearch, case: str) -> CaseStatus:
    """Return the status of one case; a case that does not exist holds nothing."""
    return _case_status(client, case, [meta for meta in case_indices(client) if meta.get("case") == case])


def _case_status(client: Elasticsearch, case: str, indices: list[Mapping[str, Any]]) -> CaseStatus:
    models = tuple(
        ModelStatus(case, str(meta.get("model")), client.count(index=meta["index"])["count"]) for meta in indices
    )
    found = client.search(
        index=files_index(case),
        size=0,
        aggs={"status": {"terms": {"field": "status"}}, "gone": {"filter": {"exists": {"field": "gone_at"}}}},
        ignore_unavailable=True,
    ).body.get("aggregations")
    if found is None:  # no ledger
        return CaseStatus(case, models)
    files = {bucket["key"]: bucket["doc_count"] for bucket in found["status"]["buckets"]}
    return CaseStatus(case, models, files, found["gone"]["doc_count"])
