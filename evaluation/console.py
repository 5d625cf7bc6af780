"""The results of an evaluation, for a terminal."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from simquery.evaluation.conclusions import main_measure
from simquery.evaluation.dataset import Dataset
from simquery.evaluation.harness import Results
from simquery.evaluation.session import Outcome
from simquery.evaluation.tables import ClassRow, Summary, combined, number
from simquery.evaluation.times import Timing, mean_times

__all__ = ["class_rows", "notes", "printed", "several_table", "summary_table", "timing_table"]

_SHOWN = 5


def printed(outcome: Outcome, *, per_class: bool) -> Iterator[Table | Text]:
    """Yield the tables and conclusions of an evaluation, in the order in which they are printed."""
    results = outcome.results
    yield summary_table(results, outcome.summaries, f"{results.dataset.name}, run {outcome.manifest['run']}")
    if any(not condition.single for condition in results.values):
        yield several_table(outcome.summaries, str(main_measure(results)))
    if per_class:
        for _, rows in groupby(outcome.classes, lambda row: row.measure):
            yield class_rows(list(rows))
    if outcome.timings:
        yield timing_table(outcome.timings)
    for conclusion in outcome.conclusions:
        yield Text(f"{conclusion.title}. {' '.join(conclusion.sentences)}")


def notes(dataset: Dataset) -> Iterator[str]:
    """Yield sentences about what was left out of a data set, and about what distorts its measures."""
    for omission in dataset.omissions[:_SHOWN]:
        yield f"Left out: {omission.path}: {omission.reason}."
    if len(dataset.omissions) > _SHOWN:
        yield f"Left out: {len(dataset.omissions) - _SHOWN:,} more; the manifest lists all of them."
    for picture in dataset.shared[:_SHOWN]:
        yield f"In several classes, which distorts the measures: {', '.join(picture.paths)}."
    if len(dataset.shared) > _SHOWN:
        yield f"In several classes: {len(dataset.shared) - _SHOWN:,} more; the manifest lists all of them."
    lonely = [label for label, rows in dataset.members.items() if len(rows) == 1 and label not in dataset.distractors]
    if lonely:
        yield (
            "No references are drawn from classes with a single picture, because nothing would be left to find:"
            f" {', '.join(lonely)}."
        )


def summary_table(results: Results, summaries: Sequence[Summary], title: str) -> Table:
    """Make a table of the mean of each measure, one row for each network and distance; the best values are bold."""
    table = Table(box=box.SIMPLE_HEAD, title=escape(title), title_justify="left", caption_justify="left")
    table.add_column("model")
    table.add_column("distance")
    for measure in results.measures:
        table.add_column(f"{measure} {'↑' if measure.higher_is_better else '↓'}", justify="right")
    singles = [each for each in summaries if each.condition.single]
    winners = {}
    for measure in results.measures:
        means = [each.mean for each in singles if each.measure == str(measure)]
        winners[str(measure)] = max(means) if measure.higher_is_better else min(means)
    for condition in results.singles:
        cells = []
        for each in singles:
            if each.condition == condition:
                text = number(each.mean)
                cells.append(f"[bold]{text}[/bold]" if each.mean == winners[each.measure] else text)
        table.add_row(escape(condition.model), escape(condition.distance), *cells)
    first = [each for each in singles if each.condition == results.singles[0]]
    table.add_section()
    table.add_row("best possible", "", *(number(each.best) for each in first))
    table.caption = (
        f"{len(results.queries)} references of {len({query.label for query in results.queries})} classes ·"
        f" {len(results.dataset.pictures):,} pictures of {len(results.dataset.members)} classes ·"
        " ↑ higher is better, ↓ lower is better"
    )
    return table


def several_table(summaries: Sequence[Summary], measure: str) -> Table:
    """Make a table of a measure with several and augmented references, one row for each network and distance."""
    kinds = dict.fromkeys(
        (each.condition.references, each.condition.combine, each.condition.augment)
        for each in summaries
        if not each.condition.single
    )
    table = Table(box=box.SIMPLE_HEAD, title=f"Several and augmented references: {measure}", title_justify="left")
    table.add_column("model")
    table.add_column("distance")
    for references, combine, augment in kinds:
        table.add_column(augment if augment != "none" else f"{references} {combine}", justify="right")
    rows = {(each.condition.model, each.condition.distance): None for each in summaries if not each.condition.single}
    values = {each.condition: each.mean for each in summaries if each.measure == measure}
    for model, distance in rows:
        cells = []
        for references, combine, augment in kinds:
            found = [
                value
                for condition, value in values.items()
                if (condition.model, condition.distance) == (model, distance)
                and (condition.references, condition.combine, condition.augment) == (references, combine, augment)
            ]
            cells.append(number(found[0]) if found else "")
        table.add_row(escape(model), escape(distance), *cells)
    return table


def class_rows(rows: Sequence[ClassRow]) -> Table:
    """Make a table of the classes, each with its best value and the combinations that reach it."""
    table = Table(box=box.SIMPLE_HEAD, title=f"Classes by {rows[0].measure}", title_justify="left")
    table.add_column("class", overflow="fold")
    table.add_column(rows[0].measure, justify="right")
    table.add_column("by", overflow="fold")
    for row in rows:
        table.add_row(escape(row.label), _range(row), escape(combined(row)))
    return table


def timing_table(timings: Sequence[Timing]) -> Table:
    """Make a table with the mean and standard deviation of every time."""
    table = Table(box=box.SIMPLE_HEAD, title="Times in seconds", title_justify="left")
    for name in ("stage", "model", "distance", "engine"):
        table.add_column(name)
    for name in ("mean", "deviation", "runs"):
        table.add_column(name, justify="right")
    for row in mean_times(timings):
        table.add_row(
            row.stage,
            row.model,
            row.distance or "",
            row.engine or "",
            f"{row.mean:.4g}",
            f"{row.deviation:.2g}",
            str(row.runs),
        )
    return table


def _range(row: ClassRow) -> str:
    best, last = number(row.best), number(row.last)
    return best if best == last else f"{best} to {last}"
