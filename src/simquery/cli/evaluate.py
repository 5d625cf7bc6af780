"""``simquery evaluate``: which network and distance to trust on a folder of classes."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import click
from elasticsearch import Elasticsearch
from rich import progress as bars

from simquery.cli.options import OUTPUT, TO_PEOPLE, command, json_option, open_cluster, say
from simquery.distances import DISTANCES
from simquery.errors import ClusterUnreachableError
from simquery.evaluation.console import notes, printed
from simquery.evaluation.figures import can_draw
from simquery.evaluation.measures import DEFAULT_MEASURES
from simquery.evaluation.run import THESIS_DISTANCES, Progress, Protocol
from simquery.evaluation.session import evaluate as evaluate_dataset
from simquery.settings import Settings

__all__ = ["evaluate"]

_DEFAULT_MEASURES = ",".join(str(measure) for measure in DEFAULT_MEASURES)


@click.command(epilog="Example:  simquery evaluate /data/classes --model resnet50,mini --distance cosine,modified")
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--distance",
    "distances",
    default=",".join(THESIS_DISTANCES),
    show_default=True,
    metavar="NAMES",
    help=f"Distances to compare: some of {', '.join(DISTANCES)}, l2, l1.",
)
@click.option(
    "--measure", "measures", metavar="NAMES", help=f"Measures, such as P@20,IR@0.9.  [default: {_DEFAULT_MEASURES}]"
)
@click.option("--references", type=click.IntRange(1), default=100, show_default=True, help="References to draw.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option(
    "--several", type=click.IntRange(1, 5), default=5, show_default=True, help="Most references in one query."
)
@click.option("--augment/--no-augment", default=True, show_default=True, help="Also turn, mirror, ... the references.")
@click.option("--layer", "layers", metavar="NAMES", help="Also cut every network at these layers.")
@click.option("--distractor", "distractors", multiple=True, help="Class to draw no references from, like 'others'.")
@click.option(
    "--times", type=click.IntRange(0), default=3, show_default=True, help="How often to time networks; 0: never."
)
@click.option("--per-class", is_flag=True, help="Also print each class with its best combinations.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all results.  [default: evaluation-RUN]")
@click.option("--run", "run_file", type=click.Path(path_type=Path), help="Also write the rankings to this TREC run.")
@click.option(
    "--from-run",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Judge the rankings in this TREC run instead.",
)
@click.option("--local", is_flag=True, help="Use no cluster: take no vectors from the case, store nothing for Kibana.")
@click.option("--singles", is_flag=True, help="Store every single value in the cluster, not only what Kibana shows.")
@json_option
@command
def evaluate(
    settings: Settings,
    dataset: Path,
    *,
    distances: str,
    measures: str | None,
    references: int,
    seed: int,
    several: int,
    augment: bool,
    layers: str | None,
    distractors: tuple[str, ...],
    times: int,
    per_class: bool,
    out: Path | None,
    run_file: Path | None,
    from_run: Path | None,
    local: bool,
    singles: bool,
    as_json: bool,
) -> None:
    """Try networks with distances on DATASET and judge the rankings: --model resnet50,mini.

    DATASET is a folder with one folder for each class, or a CSV file with the columns path and class. The seed decides
    which references are drawn from the classes; a picture counts as found when it belongs to its reference's class.
    Manifest, values, figures and a report go into a folder of their own, and into the cluster for Kibana where there
    is one.
    """
    protocol = Protocol.named(
        settings,
        models=_names(settings.model),
        layers=_names(layers),
        distances=_names(distances),
        measures=_names(measures),
        references=references,
        seed=seed,
        several=several,
        augment=augment,
    )
    if not can_draw():
        say("No figures are drawn, because matplotlib is missing: pip install 'simquery[evaluation]'.")
    with _cluster(settings, local=local) as client, _progress() as progress:
        outcome = evaluate_dataset(
            dataset,
            settings,
            protocol,
            client=client,
            distractors=distractors,
            from_run=from_run,
            run_file=run_file,
            times=times,
            out=out,
            singles=singles,
            progress=progress,
        )
    for note in notes(outcome.results.dataset):
        say(note)
    if as_json:
        click.echo(json.dumps(outcome.as_json(per_class=per_class), indent=2))
    else:
        for part in printed(outcome, per_class=per_class):
            OUTPUT.print(part, highlight=False)
    if run_file is not None and from_run is None:
        say(f"The rankings are in '{run_file}'.")
    if outcome.documents:
        say(f"{outcome.documents:,} documents for Kibana are in simquery-measures and simquery-timings.")
    say(f"Report: '{outcome.report}'")


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]


@contextlib.contextmanager
def _cluster(settings: Settings, *, local: bool) -> Iterator[Elasticsearch | None]:
    if local:
        yield None
        return
    try:
        client = open_cluster(settings)
    except ClusterUnreachableError as error:
        say(f"Continuing without a cluster; nothing is stored for Kibana. {error}")
        yield None
        return
    with client:
        yield client


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]} left"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=TO_PEOPLE, transient=True) as progress:
        tasks: dict[str, bars.TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    progress.update(task, visible=False)
                tasks[what] = progress.add_task(what, total=total or None, rate="")
            speed = progress.tasks[tasks[what]].speed
            progress.update(tasks[what], completed=done, rate=f"{speed:.1f}/s ·" if speed else "")

        try:
            yield tell
        except KeyboardInterrupt:
            say("The vectors made so far are kept; the same command goes on from there.")
            raise
