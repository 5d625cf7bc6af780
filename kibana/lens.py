"""Tables and numbers as Kibana's Lens describes them.

A source lists its columns in the order of display. Each is either ``{"by": field}``, which gives a row for each value
(with ``"across": true``, a column for each value), or ``{"show": operation, "field": field}``. Columns without a
``"width"`` (pixels) share the remaining space. The operation ``last_value`` takes the latest document, by the date
``"latest_by"``, of those that have the field, or that match ``"where"``.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["LAYER", "state"]

LAYER = "rows"

_COUNTS = {"count", "unique_count"}  # without documents these are 0, while a mean or an extreme is unknown


def state(source: Mapping[str, Any]) -> dict[str, Any]:
    """Build the state of a Lens object: its columns and their layout."""
    columns = {f"c{number}": column for number, column in enumerate(source["columns"])}
    shown = next(name for name, column in columns.items() if "show" in column)
    described = {name: _column(column, shown) for name, column in columns.items()}
    # Lens expects the columns that divide into rows before those with values. What goes across comes first of all: the
    # next would otherwise choose its values anew in each row.
    order = sorted(described, key=lambda name: (not described[name]["isBucketed"], "across" not in columns[name]))
    if source.get("kind") == "number":
        visualization: dict[str, Any] = {"layerId": LAYER, "layerType": "data", "metricAccessor": shown}
    else:
        visualization = {
            "layerId": LAYER,
            "layerType": "data",
            "columns": [_placed(name, column) for name, column in columns.items()],
            "rowHeight": "auto",
            "headerRowHeight": "auto",
            "paging": {"size": 20, "enabled": True},
        }
    return {
        "visualization": visualization,
        "query": {"query": source.get("query", ""), "language": "kuery"},
        "filters": [],
        "datasourceStates": {
            "formBased": {"layers": {LAYER: {"columnOrder": order, "columns": described, "incompleteColumns": {}}}}
        },
        "internalReferences": [],
        "adHocDataViews": {},
    }


def _placed(name: str, column: Mapping[str, Any]) -> dict[str, Any]:
    placed = {"columnId": name, "isTransposed": column.get("across", False)}
    # Kibana cuts off a picture that is wider than its column.
    return placed | ({"width": column["width"]} if "width" in column else {})


def _column(column: Mapping[str, Any], shown: str) -> dict[str, Any]:
    return _rows(column, shown) if "by" in column else _value(column)


def _rows(column: Mapping[str, Any], shown: str) -> dict[str, Any]:
    by_count = column.get("order") == "count"
    alphabetical = {"type": "alphabetical", "fallback": False}
    return {
        "label": column["label"],
        "customLabel": True,
        "dataType": column.get("type", "string"),
        "operationType": "terms",
        "scale": "ordinal",
        "sourceField": column["by"],
        "isBucketed": True,
        "params": {
            "size": column.get("size", 100),
            "orderBy": {"type": "column", "columnId": shown} if by_count else alphabetical,
            "orderDirection": column.get("direction", "desc" if by_count else "asc"),
            "otherBucket": False,
            "missingBucket": False,
            "parentFormat": {"id": "terms"},
        },
    }


def _value(column: Mapping[str, Any]) -> dict[str, Any]:
    operation = column["show"]
    described = {
        "label": column["label"],
        "customLabel": True,
        "dataType": column.get("type", "number"),
        "operationType": operation,
        "scale": "ordinal" if operation == "last_value" else "ratio",
        "sourceField": column.get("field", "___records___"),
        "isBucketed": False,
    }
    if operation == "last_value":
        # The latest existing value, not that of the latest document: a mark, for example, has no picture format.
        there = {"query": column.get("where", f'"{column["field"]}": *'), "language": "kuery"}
        return described | {"filter": there, "params": {"sortField": column["latest_by"], "showArrayValues": True}}
    parameters: dict[str, Any] = {"emptyAsNull": operation not in _COUNTS}
    if "decimals" in column:
        parameters["format"] = {"id": "number", "params": {"decimals": column["decimals"]}}
    return described | {"params": parameters}
