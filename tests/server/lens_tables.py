"""What Kibana's Lens does with a table, without Kibana: ask for nested aggregations, and make rows of the answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from elasticsearch import Elasticsearch

from simquery.kibana import saved_objects

Row = dict[str, Any]
_OBJECTS = {each["id"]: each for each in saved_objects()}


def rows(client: Elasticsearch, name: str, clauses: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of a table in the order of Lens, by the labels of its columns; what goes across is a column of each row."""
    source = _OBJECTS[name]
    (view,) = [_OBJECTS[each["id"]]["attributes"] for each in source["references"]]
    (layer,) = source["attributes"]["state"]["datasourceStates"]["formBased"]["layers"].values()
    ordered = [(column, layer["columns"][column]) for column in layer["columnOrder"]]
    query = source["attributes"]["state"]["query"]["query"]
    answer = client.search(
        index=view["title"],
        size=0,
        query={"bool": {"filter": [*clauses, _exists(query)] if query else list(clauses)}},
        runtime_mappings=json.loads(view["runtimeFieldMap"]),
        aggs=_aggregations(ordered),
    )
    return list(_rows(answer["aggregations"], ordered, {}))


def _exists(query: str) -> dict[str, Any]:
    """Elasticsearch's form of the one kind of search that tables use."""
    field, star = query.replace('"', "").split(": ")
    assert star == "*"
    return {"exists": {"field": field}}


def _aggregations(columns: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    (name, first), *others = columns
    if not first["isBucketed"]:
        return {name: _metric(column) for name, column in columns}
    parameters = first["params"]
    assert parameters["orderBy"]["type"] == "alphabetical"
    order = {"_key": parameters["orderDirection"]}
    terms = {"field": first["sourceField"], "size": parameters["size"], "order": order}
    return {name: {"terms": terms, "aggs": _aggregations(others)}}


def _metric(column: dict[str, Any]) -> dict[str, Any]:
    field = column["sourceField"]
    if column["operationType"] != "last_value":
        return {column["operationType"]: {"field": field}}
    latest = {"size": 1, "sort": [{column["params"]["sortField"]: "desc"}], "_source": False, "fields": [field]}
    return {"filter": _exists(column["filter"]["query"]), "aggs": {"latest": {"top_hits": latest}}}


def _rows(answer: Mapping[str, Any], columns: list[tuple[str, dict[str, Any]]], known: Row) -> Iterator[Row]:
    (name, first), *others = columns
    if first["isBucketed"]:
        for bucket in answer[name]["buckets"]:
            yield from _rows(bucket, others, known | {first["label"]: bucket["key"]})
        return
    yield known | {column["label"]: _value(answer[name], column) for name, column in columns}


def _value(answer: Mapping[str, Any], column: Mapping[str, Any]) -> Any:
    if column["operationType"] != "last_value":
        return answer["value"]
    hits = answer["latest"]["hits"]["hits"]
    values = hits[0]["fields"][column["sourceField"]] if hits and "fields" in hits[0] else [None]
    return values[0] if len(values) == 1 else values
