"""``simquery evaluate``: compare networks and distances on a folder of classes."""

from pathlib import Path
from typing import Any

import click

from simquery.cli.options import case_option, command, json_option, model_option
from simquery.cli.output import RESULTS, print_json, say
from simquery.cli.progress import progress_bar
from simquery.distances import DISTANCES
from simquery.evaluation.console import notes, printed
from simquery.evaluation.figures import can_draw
from simquery.evaluation.measures import DEFAULT_MEASURES
from simquery.evaluation.run import THESIS_DISTANCES
from simquery.evaluation.session import evaluate as evaluate_dataset
from simquery.settings import Settings

__all__ = ["evaluate"]

_DISTANCES = ",".join(THESIS_DISTANCES)
_MEASURES = ",".join(str(measure) for measure in DEFAULT_MEASURES)
_KEPT = "The vectors made so far are kept; run the same command again to continue."


@click.command(epilog="Example:  simquery evaluate /data/classes --model resnet50,mini --distance cosine,modified")
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@case_option
@model_option
@click.option(
    "--distance",
    "distances",
    default=_DISTANCES,
    show_default=True,
    metavar="NAMES",
    help=f"Distances to compare: {', '.join(DISTANCES)}, l2, l1.",
)
@click.option("--measure", "measures", metavar="NAMES", help=f"Measures, such as P@20,IR@0.9.  [default: {_MEASURES}]")
@click.option(
    "--references", type=click.IntRange(1), default=100, show_default=True, help="Number of references to draw."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option("--several", type=click.IntRange(1, 5), default=5, show_default=True, help="Most references in a query.")
@click.option("--augment/--no-augment", default=True, show_default=True, help="Also rotate, mirror, ... references.")
@click.option("--layer", "layers", metavar="NAMES", help="Also cut every network at these layers.")
@click.option("--distractor", "distractors", multiple=True, help="Class not to draw references from; repeatable.")
@click.option("--times", type=click.IntRange(0), default=3, show_default=True, help="How often to time networks.")
@click.option("--per-class", is_flag=True, help="Also print the best combinations for each class.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all results.  [default: evaluation-RUN]")
@click.option(
    "--run", "run_file", type=click.Path(path_type=Path), help="Also write the rankings to this TREC run file."
)
@click.option(
    "--from-run",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Judge the rankings in this TREC run file instead.",
)
@click.option(
    "--local", is_flag=True, help="Do not use the cluster: read no vectors from it and store nothing for Kibana."
)
@click.option(
    "--singles", is_flag=True, help="Store every single value in the cluster, not only those that Kibana draws."
)
@json_option
@command
def evaluate(
    settings: Settings,
    dataset: Path,
    *,
    distances: str,
    measures: str | None,
    layers: str | None,
    per_class: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare networks and distances on DATASET by the quality of their rankings.

    DATASET is a folder with one folder for each class, or a CSV file with the columns path and class. The seed decides
    which references are drawn from the classes; a picture counts as found when it belongs to its reference's class.
    To compare several networks, separate their names by commas: --model resnet50,mini. The manifest, values, figures
    and a report are written to a new folder, and to the cluster for Kibana if there is one.
    """
    if not can_draw():
        say("No figures are drawn: matplotlib is not installed. Install it with: pip install 'simquery[evaluation]'")
    with progress_bar("items", when_interrupted=_KEPT) as show:
        outcome = evaluate_dataset(
            dataset,
            settings=settings,
            models=_names(settings.model),
            layers=_names(layers),
            distances=_names(distances),
            measures=_names(measures),
            progress=show,
            **options,
        )
    for note in notes(outcome.results.dataset):
        say(note)
    if as_json:
        print_json(outcome.as_dict(per_class=per_class))
    else:
        for part in printed(outcome, per_class=per_class):
            RESULTS.print(part, highlight=False)
    if outcome.documents:
        say(f"Stored {outcome.documents:,} documents for Kibana in simquery-measures and simquery-timings.")
    say(f"Report: '{outcome.report}'")


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]
