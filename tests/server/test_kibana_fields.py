"""Every field that a saved object uses exists in the mapping of a real index, and can be used in that way."""

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from simquery.kibana import saved_objects
from simquery.kibana.objects import vega_specs
from simquery.mappings import open_files_index, open_images_index, open_index

OBJECTS = {each["id"]: each for each in saved_objects()}
SPECS = vega_specs()
NOT_MAPPED = {"_index", "___records___"}


@pytest.fixture(scope="module")
def fields(client: Elasticsearch) -> Iterator[dict[str, dict[str, Any]]]:
    """Types and abilities of all fields, by the pattern of their indices."""
    case = f"t{uuid.uuid4().hex[:12]}"
    own = [open_files_index(client, case), open_images_index(client, case, "mini", 4, "f" * 64)]
    common = ",".join(open_index(client, kind) for kind in ("results", "marks"))
    for kind in ("measures", "timings"):
        open_index(client, kind)
    patterns = {
        "simquery-files-*": f"simquery-files-{case}",
        "simquery-images-*": f"simquery-images-{case}-mini",
        common: common,
        **{name: name for name in ("simquery-results", "simquery-measures", "simquery-timings")},
    }
    yield {
        pattern: {
            name: next(iter(kinds.values()))
            for name, kinds in client.field_caps(index=index, fields="*", runtime_mappings=computed(pattern))[
                "fields"
            ].items()
        }
        for pattern, index in patterns.items()
    }
    client.indices.delete(index=",".join(own))


def computed(pattern: str) -> dict[str, Any]:
    """Fields that the data views of a pattern of indices compute; Elasticsearch compiles their scripts."""
    views = [each["attributes"] for each in OBJECTS.values() if each["attributes"]["title"] == pattern]
    return {name: script for view in views for name, script in json.loads(view["runtimeFieldMap"]).items()}


def view_of(name: str) -> str:
    (view,) = [each["id"] for each in OBJECTS[name]["references"] if each["type"] == "index-pattern"]
    indices: str = OBJECTS[view]["attributes"]["title"]
    return indices


def of_type(kind: str) -> list[str]:
    return [name for name, each in OBJECTS.items() if each["type"] == kind]


def queried(query: str) -> set[str]:
    return set(re.findall(r"([\w.]+):", query))


@pytest.mark.parametrize("name", of_type("index-pattern"))
def test_data_views(name: str, fields: dict[str, dict[str, Any]]) -> None:
    attributes = OBJECTS[name]["attributes"]
    there = fields[attributes["title"]]
    used = {field for part in ("fieldFormatMap", "fieldAttrs") for field in json.loads(attributes[part])}
    used |= {each["value"] for each in json.loads(attributes["sourceFilters"])}
    assert used <= set(there)
    assert there[attributes["timeFieldName"]]["type"] == "date"


@pytest.mark.parametrize("name", of_type("search"))
def test_searches(name: str, fields: dict[str, dict[str, Any]]) -> None:
    attributes = OBJECTS[name]["attributes"]
    there = fields[view_of(name)]
    query = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])["query"]["query"]
    assert set(attributes["columns"]) | queried(query) <= set(there)
    (view,) = [OBJECTS[each["id"]] for each in OBJECTS[name]["references"] if each["type"] == "index-pattern"]
    # Kibana puts the time before the columns that are asked for.
    assert set(attributes["grid"]["columns"]) <= {*attributes["columns"], view["attributes"]["timeFieldName"]}
    assert all(there[field]["aggregatable"] for field, _ in attributes["sort"])


@pytest.mark.parametrize("name", of_type("lens"))
def test_tables(name: str, fields: dict[str, dict[str, Any]]) -> None:
    state = OBJECTS[name]["attributes"]["state"]
    (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
    there = fields[view_of(name)]
    columns = layer["columns"].values()
    assert queried(state["query"]["query"]) <= set(there)
    for column in columns:
        if column["sourceField"] in NOT_MAPPED:
            continue
        assert there[column["sourceField"]]["aggregatable"]
        if column["operationType"] == "last_value":
            assert there[column["params"]["sortField"]]["type"] == "date"
        if column["operationType"] in {"average", "min"}:
            assert there[column["sourceField"]]["type"] == "double"


@pytest.mark.parametrize("name", of_type("dashboard"))
def test_controls(name: str, fields: dict[str, dict[str, Any]]) -> None:
    references = {each["name"]: each["id"] for each in OBJECTS[name]["references"]}
    for index, control in json.loads(OBJECTS[name]["attributes"]["controlGroupInput"]["panelsJSON"]).items():
        view = OBJECTS[references[f"controlGroup_{index}:optionsListDataView"]]
        field = control["explicitInput"]["fieldName"]
        if field not in NOT_MAPPED:
            described = fields[view["attributes"]["title"]][field]
            assert (described["type"], described["aggregatable"]) == ("keyword", True)


@pytest.mark.parametrize("name", SPECS)
def test_vega_panels(name: str, fields: dict[str, dict[str, Any]]) -> None:
    url = SPECS[name]["data"]["url"]
    asked = set(url["index"].split(","))
    there = {field for indices, found in fields.items() if asked & set(indices.split(",")) for field in found}
    assert set(requested(url["body"])) <= there | NOT_MAPPED


def requested(value: Any) -> Iterator[str]:
    """Fields that a search request names."""
    if isinstance(value, list):
        for each in value:
            yield from requested(each)
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "field":
                yield each
            elif name in {"term", "range", "regexp", "prefix"}:
                yield from each
            else:
                yield from requested(each)
