"""``simquery evaluate``: which network and distance to trust on a folder of classes."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from elasticsearch import Elasticsearch
from rich import progress as bars

from simquery.cli.options import case_option, command, json_option, model_option
from simquery.cli.output import RESULTS as OUTPUT
from simquery.cli.output import STDERR as TO_PEOPLE
from simquery.cli.output import say
from simquery.connection import open_cluster
from simquery.distances import DISTANCES, find_distance
from simquery.embedders import Features, check_model_name
from simquery.errors import ClusterUnreachableError
from simquery.evaluation.conclusions import main_measure, reach_conclusions
from simquery.evaluation.console import class_rows, several_table, summary_table, timing_table
from simquery.evaluation.dataset import Dataset, read_dataset
from simquery.evaluation.documents import store
from simquery.evaluation.figures import can_draw, draw_figures
from simquery.evaluation.measures import DEFAULT_MEASURES, parse_measures
from simquery.evaluation.report import check_folder_is_new, free_folder, write_report
from simquery.evaluation.run import THESIS_DISTANCES, Evaluation, Progress, Protocol, judge_run
from simquery.evaluation.run import evaluate as evaluate_dataset
from simquery.evaluation.tables import class_measures, class_table, summarise
from simquery.evaluation.times import Timing, time_elasticsearch, time_network, time_numpy
from simquery.evaluation.trec import RunWriter
from simquery.settings import Settings

__all__ = ["evaluate"]

_SHOWN = 5
_DISTANCE_RUNS = 16


@click.command(epilog="Example:  simquery evaluate /data/classes --model resnet50,mini --distance cosine,modified")
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@case_option
@model_option
@click.option(
    "--distance",
    "distances",
    default=",".join(THESIS_DISTANCES),
    show_default=True,
    metavar="NAMES",
    help=f"Some of {', '.join(DISTANCES)}, l2, l1.",
)
@click.option(
    "--measure",
    "measures",
    metavar="NAMES",
    help=f"Such as P@20,IR@0.9.  [default: {','.join(str(measure) for measure in DEFAULT_MEASURES)}]",
)
@click.option("--references", type=click.IntRange(1), default=100, show_default=True, help="How many are drawn.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything that is drawn.")
@click.option(
    "--several", type=click.IntRange(1, 5), default=5, show_default=True, help="Up to how many references a query has."
)
@click.option("--augment/--no-augment", default=True, show_default=True, help="Also turn, mirror, ... the references.")
@click.option("--layer", "layers", metavar="NAMES", help="Also cut every network at these layers.")
@click.option("--distractor", "distractors", multiple=True, help="A class without references, like 'others'.")
@click.option(
    "--times", type=click.IntRange(0), default=3, show_default=True, help="How often networks are timed; 0: no times."
)
@click.option("--per-class", is_flag=True, help="Also print each class with its best combinations.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for all results.  [default: evaluation-RUN]")
@click.option("--run", "run_file", type=click.Path(path_type=Path), help="Also write the rankings to this TREC run.")
@click.option(
    "--from-run",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Judge the rankings in this TREC run instead.",
)
@click.option("--local", is_flag=True, help="Use no cluster: no vectors of the case, nothing stored for Kibana.")
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
    as_json: bool,
) -> None:
    """Try networks with distances on DATASET, and judge the rankings: --model resnet50,mini.

    DATASET is a folder with one folder for each class, or a CSV file with the columns path and class. References are
    drawn from the classes by the seed; a picture counts as found when it is of its reference's class. Manifest, values,
    figures and a report go into a folder of their own, and into the cluster for Kibana where there is one.
    """
    protocol = Protocol(
        models=_models(settings, layers),
        distances=tuple(dict.fromkeys(find_distance(name).name for name in _names(distances))),
        measures=parse_measures(_names(measures)) or None,
        references=references,
        seed=seed,
        several=several,
        augment=augment,
    )
    if out is not None:
        check_folder_is_new(out)
    if not can_draw():
        say("No figures are drawn: matplotlib is missing. Install it with: pip install 'simquery[evaluation]'")
    with _cluster(settings, local=local) as client:
        with _progress() as progress:
            data = read_dataset(dataset, distractors, lambda count: progress("reading the data set", count, 0))
            if from_run is not None:
                evaluation, timings = judge_run(from_run, data, protocol), []
            else:
                clock = _Clock(settings, protocol, client, times, progress)
                with _run_writer(run_file) as write:
                    evaluation = evaluate_dataset(
                        data, protocol, settings, client=client, progress=progress, each=write, each_model=clock.measure
                    )
                timings = clock.timings
        _warn(evaluation.results.dataset)
        _report(evaluation, timings, protocol, out, per_class=per_class, as_json=as_json)
        if client is not None:
            say("Storing measures and times for Kibana.")
            count = store(client, evaluation.results, timings, evaluation.manifest)
            say(f"{count:,} documents are in simquery-measures and simquery-timings.")


class _Clock:
    """Takes the times of one model after the other."""

    def __init__(
        self, settings: Settings, protocol: Protocol, client: Elasticsearch | None, runs: int, progress: Progress
    ) -> None:
        self.timings: list[Timing] = []
        self._settings = settings
        self._distances = [find_distance(name) for name in protocol.distances]
        self._client = client
        self._runs = runs
        self._progress = progress

    def measure(self, model: str, fingerprint: str, dataset: Dataset, vectors: Features) -> None:
        if not self._runs:
            return
        self._progress(f"timing, {model}", 0, 0)
        settings = self._settings.model_copy(update={"model": model})
        rows = [int(members[0]) for members in dataset.members.values()][:_DISTANCE_RUNS]
        self.timings += time_network(settings, dataset.pictures, self._runs)
        self.timings += time_numpy(model, vectors, rows, self._distances, _DISTANCE_RUNS)
        if self._client is not None:
            self.timings += time_elasticsearch(
                self._client,
                model,
                fingerprint,
                dataset,
                vectors,
                rows=rows,
                distances=self._distances,
                runs=_DISTANCE_RUNS,
            )


@contextlib.contextmanager
def _run_writer(file: Path | None) -> Iterator[Callable[..., None]]:
    if file is None:
        yield lambda *_: None
        return
    with RunWriter(file) as writer:
        yield writer.write
    say(f"The rankings are in '{file}'.")


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]


def _models(settings: Settings, layers: str | None) -> tuple[str, ...]:
    named = [check_model_name(name, settings) for name in _names(settings.model)]
    cut = [
        check_model_name(f"{name.partition('@')[0]}@{layer}", settings) for name in named for layer in _names(layers)
    ]
    return tuple(dict.fromkeys([*named, *cut]))


@contextlib.contextmanager
def _cluster(settings: Settings, *, local: bool) -> Iterator[Elasticsearch | None]:
    if local:
        yield None
        return
    try:
        client = open_cluster(settings)
    except ClusterUnreachableError as error:
        say(f"Going on without a cluster; nothing is stored for Kibana. {error}")
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


def _warn(dataset: Dataset) -> None:
    for omission in dataset.omissions[:_SHOWN]:
        say(f"Left out: {omission.path}: {omission.reason}.")
    if len(dataset.omissions) > _SHOWN:
        say(f"Left out: {len(dataset.omissions) - _SHOWN:,} more; the manifest lists all.")
    for picture in dataset.shared[:_SHOWN]:
        say(f"In several classes, which distorts the measures: {', '.join(picture.paths)}.")
    if len(dataset.shared) > _SHOWN:
        say(f"In several classes: {len(dataset.shared) - _SHOWN:,} more; the manifest lists all.")
    lonely = [label for label, rows in dataset.members.items() if len(rows) == 1 and label not in dataset.distractors]
    if lonely:
        say(f"Classes of one picture give no reference, for nothing would be left to find: {', '.join(lonely)}.")


def _report(
    evaluation: Evaluation,
    timings: list[Timing],
    protocol: Protocol,
    out: Path | None,
    *,
    per_class: bool,
    as_json: bool,
) -> None:
    results, manifest = evaluation.results, evaluation.manifest
    summaries = summarise(results, protocol.seed)
    conclusions = reach_conclusions(results, protocol.seed)
    classes = [class_table(results, measure) for measure in class_measures(results.measures)]
    if as_json:
        document: dict[str, Any] = {
            "run": manifest["run"],
            "summary": [asdict(each) for each in summaries],
            "verdicts": [asdict(each) for each in conclusions],
            "times": [asdict(each) for each in timings],
        }
        if per_class:
            document["classes"] = [asdict(row) for rows in classes for row in rows]
        click.echo(json.dumps(document, indent=2))
    else:
        OUTPUT.print(summary_table(results, summaries, f"{results.dataset.name}, run {manifest['run']}"))
        if any(not condition.single for condition in results.values):
            OUTPUT.print(several_table(summaries, str(main_measure(results))))
        for rows in classes if per_class else ():
            OUTPUT.print(class_rows(rows))
        if timings:
            OUTPUT.print(timing_table(timings))
        for conclusion in conclusions:
            OUTPUT.print(f"{conclusion.title}. {' '.join(conclusion.sentences)}", highlight=False)
    page = write_report(
        out or free_folder(f"evaluation-{manifest['run']}"),
        results,
        manifest,
        summaries=summaries,
        classes=[row for rows in classes for row in rows],
        conclusions=conclusions,
        timings=timings,
        figures=draw_figures(results, timings) if can_draw() else (),
    )
    say(f"Report: '{page}'")
