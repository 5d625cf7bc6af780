"""The files of a report: manifest, values, figures, and one self-contained page with all of them."""

import base64
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from simquery.errors import SettingsError
from simquery.evaluation.conclusions import Conclusion
from simquery.evaluation.figures import Drawn
from simquery.evaluation.harness import Results
from simquery.evaluation.tables import TOLERANCE, ClassRow, Summary, combined, number
from simquery.evaluation.times import Timing, mean_times
from simquery.tabular import safe_cell

__all__ = ["check_folder_is_new", "free_folder", "report_page", "write_report"]


def check_folder_is_new(folder: Path) -> None:
    """Refuse a folder that is not empty, so that nothing is overwritten.

    Raises
    ------
    SettingsError
        When the folder exists and is not empty, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"'{folder}' already exists and is not overwritten: give another folder with --out.")


def free_folder(name: str) -> Path:
    """Return the folder ``name`` in the current one, or the first of ``name-2``, ``name-3`` … that does not exist."""
    folder, count = Path(name), 1
    while folder.exists():
        count += 1
        folder = Path(f"{name}-{count}")
    return folder


def write_report(
    folder: Path,
    results: Results,
    manifest: Mapping[str, Any],
    *,
    summaries: Sequence[Summary],
    classes: Sequence[ClassRow],
    conclusions: Sequence[Conclusion],
    timings: Sequence[Timing],
    figures: Iterable[Drawn],
) -> Path:
    """Write everything into a folder, and return the path of the page.

    ``manifest.json``; ``values.csv``, one line for each reference × condition; ``summary.csv``; ``times.csv``;
    ``figures/`` as PNG and SVG; ``report.html`` with all of it, which needs no other file.
    """
    check_folder_is_new(folder)
    (folder / "figures").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _write_values(folder / "values.csv", results)
    _write_rows(folder / "summary.csv", _summary_rows(summaries))
    _write_rows(
        folder / "times.csv",
        [
            ["stage", "model", "distance", "engine", "seconds", "pictures"],
            *([each.stage, each.model, each.distance, each.engine, each.seconds, each.count] for each in timings),
        ],
    )
    drawn = list(figures)
    for figure in drawn:
        (folder / "figures" / f"{figure.name}.png").write_bytes(figure.png)
        (folder / "figures" / f"{figure.name}.svg").write_bytes(figure.svg)
    page = folder / "report.html"
    text = report_page(
        results,
        manifest,
        summaries=summaries,
        classes=classes,
        conclusions=conclusions,
        timings=timings,
        figures=drawn,
    )
    page.write_text(text, encoding="utf-8")
    return page


def report_page(
    results: Results,
    manifest: Mapping[str, Any],
    *,
    summaries: Sequence[Summary],
    classes: Sequence[ClassRow],
    conclusions: Sequence[Conclusion],
    timings: Sequence[Timing],
    figures: Sequence[Drawn],
) -> str:
    """Return the HTML page, with the figures embedded in it."""
    pages = Environment(
        loader=PackageLoader("simquery.evaluation", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters["base64"] = lambda content: base64.b64encode(content).decode("ascii")
    return pages.get_template("report.html.jinja").render(
        manifest=manifest,
        manifest_text=json.dumps(manifest, indent=1, ensure_ascii=False),
        data=manifest["dataset"],
        references=len(results.queries),
        conclusions=conclusions,
        singles=_single_rows(results, summaries),
        summary=_summary_rows(summaries),
        times=_time_rows(timings),
        classes=_class_rows(classes),
        tolerance=TOLERANCE,
        figures=figures,
    )


def _single_rows(results: Results, summaries: Sequence[Summary]) -> list[list[str]]:
    rows = [["model", "distance", *map(str, results.measures)]]
    for condition in results.singles:
        chosen = (each for each in summaries if each.condition == condition)
        cells = (f"{number(each.mean)} ± {number(each.deviation)}" for each in chosen)
        rows.append([condition.model, condition.distance, *cells])
    first = (each for each in summaries if each.condition == results.singles[0])
    return [*rows, ["best possible", "", *(number(each.best) for each in first)]]


def _class_rows(classes: Sequence[ClassRow]) -> dict[str, list[list[str]]]:
    tables: dict[str, list[list[str]]] = {}
    for row in classes:
        table = tables.setdefault(row.measure, [["class", "best", "to", "network: distances"]])
        table.append([row.label, number(row.best), number(row.last), combined(row)])
    return tables


def _time_rows(timings: Sequence[Timing]) -> list[list[object]]:
    header: list[object] = ["stage", "model", "distance", "engine", "mean (s)", "deviation", "runs"]
    rows: list[list[object]] = [
        [each.stage, each.model, each.distance, each.engine, f"{each.mean:.4g}", f"{each.deviation:.2g}", each.runs]
        for each in mean_times(timings)
    ]
    return [header, *rows]


def _summary_rows(summaries: Sequence[Summary]) -> list[list[object]]:
    header: list[object] = [
        "model", "distance", "references", "combine", "augment",
        "measure", "mean", "deviation", "low", "high", "best", "n",
    ]  # fmt: skip
    rows: list[list[object]] = [
        [
            each.condition.model,
            each.condition.distance,
            each.condition.references or "",
            each.condition.combine,
            each.condition.augment,
            each.measure,
            *(f"{value:.6g}" for value in (each.mean, each.deviation, each.low, each.high, each.best)),
            each.references,
        ]
        for each in summaries
    ]
    return [header, *rows]


def _write_values(file: Path, results: Results) -> None:
    header = [
        "model",
        "distance",
        "references",
        "combine",
        "augment",
        "class",
        "reference",
        *map(str, results.measures),
    ]
    rows: list[list[object]] = [
        [
            condition.model,
            condition.distance,
            condition.references or "",
            condition.combine,
            condition.augment,
            query.label,
            results.dataset.pictures[query.reference].sha256,
            *values.tolist(),
        ]
        for condition, table in results.values.items()
        for query, values in zip(results.queries, table, strict=True)
    ]
    _write_rows(file, [list[object](header), *rows])


def _write_rows(file: Path, rows: Iterable[Sequence[object]]) -> None:
    with file.open("x", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows([safe_cell(cell) for cell in row] for row in rows)
