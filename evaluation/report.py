"""What a run leaves behind: manifest, values, figures, and one self-contained page with all of it."""

import base64
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from simquery.errors import SettingsError
from simquery.evaluation.conclusions import Conclusion
from simquery.evaluation.figures import Drawn
from simquery.evaluation.harness import Results
from simquery.evaluation.tables import TOLERANCE, ClassRow, Summary, combined, number
from simquery.evaluation.times import Timing, mean_times

__all__ = ["check_folder_is_new", "free_folder", "report_page", "write_report"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px } caption { text-align: left; font-weight: 600 }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td { font-variant-numeric: tabular-nums }
figure { margin: 1.5rem 0 } img { max-width: 100% } figcaption { color: #555 }
pre { background: #f6f6f6; padding: 1rem; overflow: auto; font-size: 12px } .wide { overflow-x: auto }
"""


def check_folder_is_new(folder: Path) -> None:
    """Refuse a folder that holds something: nothing is overwritten.

    Raises
    ------
    SettingsError
        When it is there and not empty, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"'{folder}' exists already, and nothing is overwritten: name another folder with --out.")


def free_folder(name: str) -> Path:
    """Folder of that name in the current one, or the first of ``name-2``, ``name-3`` … that is not there yet."""
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
    """Write everything into a folder; returns the page.

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
    """The page, HTML in which the figures are embedded."""
    data = manifest["dataset"]
    parts = [
        f"<h1>Evaluation of {escape(data['name'])}</h1>",
        f"<p>Run {manifest['run']}, {manifest['at']}. {data['pictures']:,} pictures of {len(data['classes'])} classes;"
        f" {len(results.queries)} references. Left out: {len(data['left_out'])}; in several classes:"
        f" {len(data['in_several_classes'])}.</p>",
        "<h2>Conclusion</h2>",
        *(
            f"<h3>{escape(each.title)}</h3>" + "".join(f"<p>{escape(s)}</p>" for s in each.sentences)
            for each in conclusions
        ),
        "<h2>Measures</h2>",
        _single_table(results, summaries),
        _table("All conditions, with 95 % confidence intervals of the mean", _summary_rows(summaries), folded=True),
    ]
    if timings:
        header = ["stage", "model", "distance", "engine", "mean (s)", "deviation", "runs"]
        rows = [
            [each.stage, each.model, each.distance, each.engine, f"{each.mean:.4g}", f"{each.deviation:.2g}", each.runs]
            for each in mean_times(timings)
        ]
        parts += ["<h2>Times</h2>", _table("Mean and standard deviation", [header, *rows])]
    for measure in dict.fromkeys(row.measure for row in classes):
        rows = [
            [row.label, f"{row.best:.4f}", f"{row.last:.4f}", combined(row)]
            for row in classes
            if row.measure == measure
        ]
        title = f"Classes by {measure}: the best value, and all combinations within {TOLERANCE} of it"
        parts.append(_table(title, [["class", "best", "to", "network: distances"], *rows]))
    parts.append("<h2>Figures</h2>")
    parts += [_figure(figure) for figure in figures] or ["<p>Drawn where the extra 'evaluation' is installed.</p>"]
    parts += ["<h2>Manifest</h2>", f"<pre>{escape(json.dumps(manifest, indent=1, ensure_ascii=False))}</pre>"]
    title = f"simquery: evaluation of {escape(data['name'])}"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _single_table(results: Results, summaries: Sequence[Summary]) -> str:
    header = ["model", "distance", *(str(measure) for measure in results.measures)]
    rows = []
    for condition in results.singles:
        chosen = [each for each in summaries if each.condition == condition]
        rows.append(
            [
                condition.model,
                condition.distance,
                *(f"{number(each.mean)} ± {number(each.deviation)}" for each in chosen),
            ]
        )
    first = [each for each in summaries if each.condition == results.singles[0]]
    rows.append(["best possible", "", *(number(each.best) for each in first)])
    return _table("Mean ± standard deviation over the references, one reference a query", [header, *rows])


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
        csv.writer(text).writerows(rows)


def _table(caption: str, rows: Sequence[Sequence[object]], *, folded: bool = False) -> str:
    head, *body = rows
    lines = [
        f"<table><caption>{escape(caption)}</caption>",
        _row(head, "th"),
        *(_row(row, "td") for row in body),
        "</table>",
    ]
    table = f'<div class="wide">{"".join(lines)}</div>'
    return f"<details><summary>{escape(caption)}</summary>{table}</details>" if folded else table


def _row(cells: Sequence[object], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str('' if cell is None else cell))}</{tag}>" for cell in cells) + "</tr>"


def _figure(figure: Drawn) -> str:
    source = base64.b64encode(figure.svg).decode()
    caption = escape(figure.caption)
    image = f'<img alt="{caption}" src="data:image/svg+xml;base64,{source}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
