"""Figures of a run, as in chapter 4 of the thesis; matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from simquery.evaluation.conclusions import main_measure
from simquery.evaluation.harness import CURVE, NEAREST, Condition, Results
from simquery.evaluation.measures import Measure
from simquery.evaluation.times import PER_EXTRACTION, MeanTime, Timing, mean_times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Drawn", "can_draw", "draw_figures", "most_confused"]

# The colours of Okabe and Ito, which colour-blind readers can distinguish.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
_COMBINED = {"sum": "sum of the distances", "mean": "mean of the features"}
_MARKERS = "osD^vPX*"
_MOST_CLASSES = 60
_QUARTILES = (0.25, 0.5, 0.75)
_WIDTH = 9.0
_LABELS_IN_A_ROW = 90
"""Most characters that fit side by side below a figure."""

_LONGEST_LABEL = 40
_LINE = 0.16
"""Height of a line of text, in inches."""

_NOT_IN_FILE_NAMES = re.compile(r"[^\w.@+-]+")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class Drawn:
    """A figure: its file name without suffix, its caption, and its PNG and SVG bytes."""

    name: str
    caption: str
    png: bytes
    svg: bytes


def can_draw() -> bool:
    """Return whether matplotlib is installed (the extra ``evaluation``)."""
    return find_spec("matplotlib") is not None


def draw_figures(results: Results, timings: Sequence[Timing]) -> Iterator[Drawn]:
    """Draw every figure that the results have data for."""
    for measure in results.measures:
        if measure.symbol in {"AUIRC", "nAUIRC", "IR", "P", "AP"}:
            yield _drawn(f"box-{measure}", f"{measure} by network and distance", partial(_boxes, results, measure))
    for model in dict.fromkeys(condition.model for condition in results.curves):
        caption = f"Inverse recall curves of {model}: median over the references, with quartiles"
        yield _drawn(f"curve-{model}", caption, partial(_curves, results, model))
    area, times = main_measure(results), mean_times(timings)
    if any(time.engine == "numpy" for time in times):
        caption = f"Mean {area} against distance calculation time"
        yield _drawn(f"scatter-{area}", caption, partial(_scatter, results, times))
    for stage, engine, caption in (
        ("build", None, "Model build time"),
        ("extraction", None, f"Feature extraction time per {PER_EXTRACTION:,} pictures"),
        ("distance", "numpy", "Distance calculation time per reference, NumPy"),
        ("distance", "elasticsearch", "Distance calculation time per reference, Elasticsearch"),
    ):
        bars = [time for time in times if (time.stage, time.engine) == (stage, engine)]
        if bars:
            name = f"time-{stage}" + (f"-{engine}" if engine else "")
            yield _drawn(name, f"{caption}, with standard deviation", partial(_bars, bars))
    for combine, how in _COMBINED.items():
        if any(condition.combine == combine for condition in results.values):
            for measure in (area, *(each for each in results.measures if each.symbol in {"IR", "P"} and each != area)):
                caption = f"{measure} with 1 to 5 references, {how}"
                yield _drawn(f"several-{combine}-{measure}", caption, partial(_several, results, measure, combine))
    if any(condition.augment != "none" for condition in results.values):
        caption = f"Mean {area} with augmented references"
        yield _drawn(f"augmented-{area}", caption, partial(_augmented, results, area))
    best = _best(results, area)
    if best in results.nearest:
        caption = f"Classes of the first {NEAREST} hits, {best.model} with {best.distance or 'the run'}"
        if len(results.dataset.members) > _MOST_CLASSES:
            caption += f"; the {_MOST_CLASSES} most confused of {len(results.dataset.members)} classes"
        yield _drawn("confusion", caption, partial(_confusion, results, best), height=8.0)


def _drawn(name: str, caption: str, draw: Callable[[Axes], None], *, height: float = 4.5) -> Drawn:
    import matplotlib as mpl  # noqa: PLC0415  (it is optional, and takes half a second)
    from matplotlib.figure import Figure  # noqa: PLC0415

    name = _NOT_IN_FILE_NAMES.sub("_", name)[:_LONGEST_NAME]
    with mpl.rc_context(
        {
            "svg.hashsalt": name,  # the same run draws the same bytes
            "text.parse_math": False,  # names of classes and networks may contain dollar signs
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.subplots())
        return Drawn(name, caption, _saved(figure, "png"), _saved(figure, "svg"))


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return buffer.getvalue()


def _names(results: Results) -> tuple[list[str], list[str]]:
    models = list(dict.fromkeys(condition.model for condition in results.singles))
    distances = list(dict.fromkeys(condition.distance for condition in results.singles))
    return models, distances


def _boxes(results: Results, measure: Measure, axes: Axes) -> None:
    models, distances = _names(results)
    values = {
        (condition.model, condition.distance): _there(results.of(condition, measure)) for condition in results.singles
    }
    _grouped_boxes(axes, models, distances, values)
    axes.set_ylabel(str(measure))


def _grouped_boxes(
    axes: Axes, groups: Sequence[str], series: Sequence[str], values: dict[tuple[str, str], NDArray[np.float64]]
) -> None:
    width = 0.8 / len(series)
    for number, name in enumerate(series):
        offset = (number - (len(series) - 1) / 2) * width
        present = [place for place, group in enumerate(groups) if (group, name) in values]
        axes.boxplot(
            [values[groups[place], name] for place in present],
            positions=[place + offset for place in present],
            widths=width * 0.85,
            patch_artist=True,
            boxprops={"facecolor": _colour(number), "alpha": 0.7},
            medianprops={"color": "black"},
            flierprops={"markersize": 2, "markeredgecolor": _colour(number)},
            manage_ticks=False,
        )
        axes.plot([], [], color=_colour(number), linewidth=6, alpha=0.7, label=name or "as ranked")
    _label(axes, groups)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    _legend_above(axes)


def _curves(results: Results, model: str, axes: Axes) -> None:
    for number, (condition, curves) in enumerate(
        (condition, curves) for condition, curves in results.curves.items() if condition.model == model
    ):
        low, middle, high = np.nanquantile(curves, _QUARTILES, axis=0)
        axes.plot(CURVE, middle, color=_colour(number), label=condition.distance or "as ranked")
        axes.fill_between(CURVE, low, high, color=_colour(number), alpha=0.15, linewidth=0)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="by chance")
    axes.set(
        xlabel="share of the relevant pictures found",
        ylabel="share of all pictures looked at",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(frameon=False)


def _scatter(results: Results, times: Sequence[MeanTime], axes: Axes) -> None:
    measure = main_measure(results)
    models, distances = _names(results)
    seconds = {(time.model, time.distance): time.mean for time in times if time.engine == "numpy"}
    for condition in results.singles:
        axes.scatter(
            seconds[condition.model, condition.distance],
            np.nanmean(results.of(condition, measure)),
            color=_colour(models.index(condition.model)),
            marker=_MARKERS[distances.index(condition.distance) % len(_MARKERS)],
            s=50,
        )
    for number, model in enumerate(models):
        axes.plot([], [], color=_colour(number), linewidth=6, label=model)
    for number, distance in enumerate(distances):
        axes.scatter([], [], color="grey", marker=_MARKERS[number % len(_MARKERS)], label=distance)
    axes.set(xlabel="distance calculation time per reference (s)", ylabel=f"mean {measure}")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _bars(times: Sequence[MeanTime], axes: Axes) -> None:
    models = list(dict.fromkeys(time.model for time in times))
    series = list(dict.fromkeys(time.distance for time in times))
    width = 0.8 / len(series)
    for number, name in enumerate(series):
        chosen = [time for time in times if time.distance == name]
        axes.bar(
            [models.index(time.model) + (number - (len(series) - 1) / 2) * width for time in chosen],
            [time.mean for time in chosen],
            width * 0.9,
            yerr=[time.deviation for time in chosen],
            capsize=3,
            color=_colour(number),
            label=name,
        )
    _label(axes, models)
    axes.set_ylabel("seconds")
    axes.set_ylim(bottom=0)
    if len(series) > 1:
        _legend_above(axes)


def _several(results: Results, measure: Measure, combine: str, axes: Axes) -> None:
    model = _best(results, main_measure(results)).model
    values = {}
    for condition in results.values:
        # A single reference is the same for both ways of combining several.
        if condition.model == model and (condition.combine == combine or condition.references == 1):
            values[str(condition.references), condition.distance] = _there(results.of(condition, measure))
    _grouped_boxes(axes, sorted({group for group, _ in values}), _names(results)[1], values)
    axes.set(xlabel=f"references, {model}", ylabel=str(measure))


def _augmented(results: Results, measure: Measure, axes: Axes) -> None:
    kinds = list(dict.fromkeys(condition.augment for condition in results.values if not condition.references))
    width = 0.8 / len(kinds)
    names = [f"{condition.model} {condition.distance}" for condition in results.singles]
    for number, kind in enumerate(kinds):
        means = [
            float(np.nanmean(results.of(Condition(each.model, each.distance, augment=kind), measure)))
            for each in results.singles
        ]
        places = np.arange(len(names)) + (number - (len(kinds) - 1) / 2) * width
        axes.bar(places, means, width * 0.9, color=_colour(number), label="as it is" if kind == "none" else kind)
    _label(axes, names)
    axes.set_ylabel(f"mean {measure}")
    _legend_above(axes)


def _confusion(results: Results, condition: Condition, axes: Axes) -> None:
    classes = list(results.dataset.members)
    shares = results.nearest[condition]
    columns = most_confused(shares, _MOST_CLASSES)
    rows = [row for row in columns if np.isfinite(shares[row]).all()]
    image = axes.imshow(shares[np.ix_(rows, columns)], cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), [_short(classes[column]) for column in columns], rotation=90, fontsize=6)
    axes.set_yticks(range(len(rows)), [_short(classes[row]) for row in rows], fontsize=6)
    axes.set(xlabel=f"class of the first {NEAREST} hits", ylabel="class of the reference")
    figure = axes.get_figure()
    if figure is not None:
        figure.colorbar(image, ax=axes, label="share", shrink=0.6)


def most_confused(shares: NDArray[np.float64], count: int) -> list[int]:
    """Return the ``count`` classes, in their order, that most often find or are found by other classes.

    Parameters
    ----------
    shares : float64, shape (classes, classes)
        Share of each class (column) among the hits of each class (row); NaN rows for classes without references.
    count
        Number of classes to return, or all if there are fewer.
    """
    others = np.nan_to_num(shares * (1.0 - np.eye(len(shares))))
    confusion = others.sum(axis=0) + others.sum(axis=1)
    return sorted(np.argsort(-confusion, kind="stable")[:count].tolist())


def _label(axes: Axes, names: Sequence[str]) -> None:
    """Label the places 0, 1, … of the x axis: vertically and in a wider figure if the names do not fit side by side."""
    widest = max(map(len, names))
    upright = widest * len(names) > _LABELS_IN_A_ROW
    axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=90 if upright else 0)
    if upright:
        figure = cast("Figure", axes.figure)
        height = figure.get_size_inches()[1] + min(widest, _LONGEST_LABEL) * _LINE / 2
        figure.set_size_inches(max(_WIDTH, len(names) * _LINE * 1.2), height)


def _legend_above(axes: Axes) -> None:
    count = len(axes.get_legend_handles_labels()[1])
    axes.legend(frameon=False, ncols=min(count, 6), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"


def _best(results: Results, measure: Measure) -> Condition:
    sign = -1.0 if measure.higher_is_better else 1.0
    return min(results.singles, key=lambda condition: sign * float(np.nanmean(results.of(condition, measure))))


def _there(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
