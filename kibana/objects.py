"""Saved objects: data views, searches, tables, Vega specs, and the dashboards that combine them, made from the sources.

Each object is stamped with the oldest version that has its form: a newer Kibana migrates it, whereas a stamp that is
too new makes Kibana refuse the whole import.
"""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template
from typing import Any

from simquery.kibana import lens

__all__ = ["RESULTS_DASHBOARD", "as_ndjson", "id_in_space", "roles", "saved_objects", "vega_specs"]

RESULTS_DASHBOARD = "simquery-results-dashboard"

_CORE_VERSION = "8.8.0"
_TYPE_VERSIONS = {
    "index-pattern": "8.0.0",
    "visualization": "8.5.0",
    "lens": "8.9.0",
    "search": "8.0.0",
    "dashboard": "8.9.0",
}
_NO_QUERY = {"query": {"query": "", "language": "kuery"}, "filter": []}
_DASHBOARDS = ("results", "evidence", "indexing", "evaluation")

SavedObject = dict[str, Any]
Reference = dict[str, str]


def saved_objects(space: str | None = None) -> list[SavedObject]:
    """Build all saved objects for a Kibana space (None: the default space), each after those that it refers to."""
    objects = [_data_view(*each) for each in _read("data-views.json").items()]
    objects += [_search(*each) for each in _read("searches.json").items()]
    objects += [_table(*each) for each in _read("tables.json").items()]
    objects += [_vega(*each) for each in vega_specs().items()]
    for name in _DASHBOARDS:
        objects += _dashboard(name, _read(f"dashboards/{name}.json"))
    return [_in_space(each, space) for each in objects]


def id_in_space(name: str, space: str | None) -> str:
    """Return the id of an object in a space.

    Ids are unique across all spaces: if another space already has an id, Kibana gives the object a random one, and
    links to it would lead nowhere.
    """
    return name if space is None else f"{name}-{space}"


def vega_specs() -> dict[str, dict[str, Any]]:
    """Return all Vega-Lite specs by the name of their panel.

    Panels that differ only in a few words share a source; ``vega.json`` gives the words of each panel.
    """
    shared = _read("vega/config.json")
    specs = {}
    for name, panel in _read("vega.json").items():
        text = Template((_folder() / f"vega/{panel['source']}.json").read_text("utf-8"))
        spec: dict[str, Any] = json.loads(text.substitute(panel.get("words", {})))
        specs[name] = {**shared, **spec}
    return specs


def roles() -> dict[str, Any]:
    """Return the roles, in Elasticsearch's form, with the least rights for indexing, analysing and viewing."""
    return _read("roles.json")


def as_ndjson(objects: Iterable[SavedObject]) -> str:
    """Format saved objects for Kibana's import: one JSON document per line."""
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in objects)


def _folder() -> Traversable:
    return files("simquery.kibana")


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_folder() / name).read_text("utf-8"))
    return content


def _object(kind: str, name: str, attributes: Mapping[str, Any], references: list[Reference]) -> SavedObject:
    return {
        "id": name,
        "type": kind,
        "coreMigrationVersion": _CORE_VERSION,
        "typeMigrationVersion": _TYPE_VERSIONS[kind],
        "managed": False,
        "attributes": dict(attributes),
        "references": references,
    }


def _in_space(each: SavedObject, space: str | None) -> SavedObject:
    references = [reference | {"id": id_in_space(reference["id"], space)} for reference in each["references"]]
    return each | {"id": id_in_space(each["id"], space), "references": references}


def _reference(kind: str, name: str, slot: str) -> Reference:
    return {"type": kind, "id": name, "name": slot}


def _data_view(name: str, source: Mapping[str, Any]) -> SavedObject:
    attributes: dict[str, Any] = {
        "title": source["indices"],
        "name": source["name"],
        "allowNoIndex": True,
        "fieldFormatMap": json.dumps(source["formats"]),
        "fieldAttrs": json.dumps({field: {"customLabel": label} for field, label in source["labels"].items()}),
        "sourceFilters": json.dumps([{"value": field} for field in source.get("hidden", [])]),
        "runtimeFieldMap": json.dumps(source.get("computed", {})),
        "fields": "[]",
    }
    if "time" in source:
        attributes["timeFieldName"] = source["time"]
    return _object("index-pattern", name, attributes, [])


def _search(name: str, source: Mapping[str, Any]) -> SavedObject:
    slot = "kibanaSavedObjectMeta.searchSourceJSON.index"
    query = {
        "query": {"query": source["query"], "language": "kuery"},
        "filter": [],
        "indexRefName": slot,
    }
    attributes = {
        "title": source["title"],
        "description": source["description"],
        "columns": source["columns"],
        "sort": source["sort"],
        "grid": {"columns": {field: {"width": width} for field, width in source.get("widths", {}).items()}},
        "hideChart": True,
        "rowHeight": -1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(query)},
    }
    return _object("search", name, attributes, [_reference("index-pattern", source["view"], slot)])


def _table(name: str, source: Mapping[str, Any]) -> SavedObject:
    attributes = {
        "title": source["title"],
        "description": source["description"],
        "visualizationType": "lnsMetric" if source.get("kind") == "number" else "lnsDatatable",
        "state": lens.state(source),
    }
    slot = f"indexpattern-datasource-layer-{lens.LAYER}"
    return _object("lens", name, attributes, [_reference("index-pattern", source["view"], slot)])


def _vega(name: str, spec: Mapping[str, Any]) -> SavedObject:
    title = spec["usermeta"]["title"]
    state = {
        "title": title,
        "type": "vega",
        "aggs": [],
        "params": {"spec": json.dumps(spec, indent=2, ensure_ascii=False)},
    }
    return _visualization(name, title, spec.get("description", ""), state)


def _visualization(name: str, title: str, description: str, state: Mapping[str, Any]) -> SavedObject:
    attributes = {
        "title": title,
        "description": description,
        "visState": json.dumps(state, ensure_ascii=False),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(_NO_QUERY)},
    }
    return _object("visualization", name, attributes, [])


def _dashboard(name: str, source: Mapping[str, Any]) -> list[SavedObject]:
    """Build a dashboard, preceded by the object with the text at its top."""
    head = f"simquery-{name}-head"
    text = {
        "title": f"{source['title']}: how to read it",
        "type": "markdown",
        "aggs": [],
        "params": {"markdown": "\n".join(source["head"]), "fontSize": 12, "openLinksInNewTab": False},
    }
    panels = [{"type": "visualization", "object": head, "place": [0, 0, 48, source["head_height"]]}, *source["panels"]]
    references: list[Reference] = []
    placed = []
    for number, panel in enumerate(panels, start=1):
        index = f"p{number}"
        x, y, width, height = panel["place"]
        # The text and the Vega specs draw their own titles.
        options = {"hidePanelTitles": True} if panel["type"] == "visualization" else {}
        placed.append(
            {
                "type": panel["type"],
                "gridData": {"x": x, "y": y, "w": width, "h": height, "i": index},
                "panelIndex": index,
                "embeddableConfig": {"enhancements": {}, **options},
                "panelRefName": f"panel_{index}",
            }
        )
        references.append(_reference(panel["type"], panel["object"], f"{index}:panel_{index}"))
    controls = {}
    for number, control in enumerate(source["controls"]):
        index = f"c{number}"
        choices = {
            "fieldName": control["field"],
            "title": control["title"],
            "searchTechnique": "wildcard",
            "sort": {"by": "_key", "direction": control.get("direction", "asc")},
        }
        controls[index] = {
            "type": "optionsListControl",
            "order": number,
            "width": "medium",
            "grow": True,
            "explicitInput": {"id": index, **choices, "enhancements": {}},
        }
        references.append(_reference("index-pattern", control["view"], f"controlGroup_{index}:optionsListDataView"))
    attributes = {
        "title": source["title"],
        "description": source["description"],
        "panelsJSON": json.dumps(placed),
        "optionsJSON": json.dumps(
            {
                "useMargins": True,
                "syncColors": False,
                "syncCursor": True,
                "syncTooltips": False,
                "hidePanelTitles": False,
            }
        ),
        "controlGroupInput": {
            "controlStyle": "oneLine",
            "chainingSystem": "HIERARCHICAL",
            "ignoreParentSettingsJSON": json.dumps(
                {"ignoreFilters": False, "ignoreQuery": False, "ignoreTimerange": False, "ignoreValidations": False}
            ),
            "panelsJSON": json.dumps(controls),
        },
        # Evidence can have any age, and a case from last year must not look empty.
        "timeRestore": True,
        "timeFrom": "now-30y",
        "timeTo": "now",
        "refreshInterval": {"pause": name != "indexing", "value": 10_000},
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(_NO_QUERY)},
    }
    identifier = f"simquery-{name}-dashboard"
    heading = _visualization(head, f"{source['title']}: how to read it", "", text)
    return [heading, _object("dashboard", identifier, attributes, references)]
