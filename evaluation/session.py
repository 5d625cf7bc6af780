"""One evaluation, from the folder of classes to the report and the documents for Kibana."""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from elasticsearch import Elasticsearch

from simquery.connection import open_cluster
from simquery.distances import find_distance
from simquery.embedders import Features
from simquery.errors import ClusterUnreachableError
from simquery.evaluation.conclusions import Conclusion, reach_conclusions
from simquery.evaluation.dataset import Dataset, read_dataset
from simquery.evaluation.documents import store
from simquery.evaluation.figures import can_draw, draw_figures
from simquery.evaluation.harness import Ranked, Results
from simquery.evaluation.report import check_folder_is_new, free_folder, write_report
from simquery.evaluation.run import Progress, Protocol, ProtocolOptions, judge_networks, judge_run
from simquery.evaluation.tables import ClassRow, Summary, class_measures, class_table, summarise
from simquery.evaluation.times import Timing, time_model
from simquery.evaluation.trec import RunWriter
from simquery.settings import Settings, load_settings

__all__ = ["Outcome", "evaluate"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of an evaluation.

    Attributes
    ----------
    results
        Every measure of every reference under every condition.
    manifest
        Everything that determines the results; ``manifest["run"]`` is the name of the run.
    summaries
        Mean, deviation and confidence interval of each measure under each condition.
    classes
        Each class with its best combinations, for one precision and one inverse recall.
    conclusions
        Which distances and which networks differ, in words.
    timings
        All measured times.
    report
        The HTML page; tables, figures and manifest are beside it.
    documents
        Number of documents stored for Kibana; 0 without a cluster.
    """

    results: Results
    manifest: dict[str, Any]
    summaries: list[Summary]
    classes: list[ClassRow]
    conclusions: list[Conclusion]
    timings: list[Timing]
    report: Path
    documents: int

    def as_dict(self, *, per_class: bool = False) -> dict[str, Any]:
        """Return everything except the single values as a JSON object."""
        document: dict[str, Any] = {
            "run": self.manifest["run"],
            "summary": [asdict(each) for each in self.summaries],
            "verdicts": [asdict(each) for each in self.conclusions],
            "times": [asdict(each) for each in self.timings],
        }
        if per_class:
            document["classes"] = [asdict(row) for row in self.classes]
        return document


def evaluate(
    dataset: Path | str,
    *,
    settings: Settings | None = None,
    local: bool = False,
    distractors: Collection[str] = (),
    from_run: Path | None = None,
    run_file: Path | None = None,
    times: int = 3,
    out: Path | None = None,
    singles: bool = False,
    progress: Progress = lambda *_: None,
    **options: Unpack[ProtocolOptions],
) -> Outcome:
    """Compare networks and distances on a folder of classes by their rankings, and write a report.

    Parameters
    ----------
    dataset
        Folder with one folder for each class, or a CSV file with the columns ``path`` and ``class``.
    settings
        They name the weights, the cache, and the cluster with the case whose vectors can be reused; by default they are
        read as the command line reads them.
    local
        Do not use a cluster: take no vectors from a case, and store nothing for Kibana.
    distractors
        Classes from which no references are drawn.
    from_run
        TREC run to judge instead of networks.
    run_file
        TREC run file to which the rankings are also written.
    times
        How often to time each network; 0: not at all.
    out
        Folder for the report; by default ``evaluation-RUN`` in the current folder.
    singles
        Whether to store every single value in the cluster; see `simquery.evaluation.documents.store`.
    progress
        Called as the run proceeds.
    **options
        Models, distances, measures and more: see `simquery.evaluation.run.ProtocolOptions`.

    Raises
    ------
    SettingsError
        When ``out`` is not empty, or a measure needs more pictures than there are.
    FolderError, DatasetError
        When the data set does not exist, or nothing in it can be judged.
    EmbedderError, ClusterError
        When a network cannot be built, or the cluster fails.
    """
    settings = settings or load_settings()
    protocol = Protocol.named(settings, **options)
    if out is not None:
        check_folder_is_new(out)
    with _cluster(settings, local=local) as client:
        data = read_dataset(Path(dataset), distractors, lambda count: progress("Reading the data set", count, 0))
        timings: list[Timing] = []

        def take_times(model: str, judged: Dataset, vectors: Features) -> None:
            own = settings.model_copy(update={"model": model})
            distances = [find_distance(name) for name in protocol.distances]
            taken = time_model(own, judged, vectors, distances=distances, runs=times, client=client)
            for timing in taken if times else ():
                timings.append(timing)
                progress(f"Taking times, {model}", len(timings), 0)

        if from_run is not None:
            evaluation = judge_run(from_run, data, protocol, progress)
        else:
            with _ranking_writer(run_file) as write:
                evaluation = judge_networks(
                    data, protocol, settings, client=client, progress=progress, each=write, each_model=take_times
                )
        results, manifest = evaluation.results, evaluation.manifest
        progress("Calculating intervals and tests", 0, 0)
        summaries = summarise(results, protocol.seed)
        conclusions = reach_conclusions(results, protocol.seed)
        classes = [row for measure in class_measures(results.measures) for row in class_table(results, measure)]
        progress("Drawing the figures", 0, 0)
        report = write_report(
            out or free_folder(f"evaluation-{manifest['run']}"),
            results,
            manifest,
            summaries=summaries,
            classes=classes,
            conclusions=conclusions,
            timings=timings,
            figures=draw_figures(results, timings) if can_draw() else (),
        )
        documents = 0
        if client is not None:
            progress("Storing measures and times for Kibana", 0, 0)
            try:
                documents = store(client, results, timings, manifest, singles=singles)
            except Exception:
                logger.warning("The report is complete ('%s'), but its figures are not stored for Kibana.", report)
                raise
    return Outcome(results, manifest, summaries, classes, conclusions, timings, report, documents)


@contextlib.contextmanager
def _cluster(settings: Settings, *, local: bool) -> Iterator[Elasticsearch | None]:
    client = None
    if not local:
        try:
            client = open_cluster(settings)
        except ClusterUnreachableError as error:
            logger.warning("Continuing without a cluster; nothing is stored for Kibana. %s", error)
    with client or contextlib.nullcontext():
        yield client


@contextlib.contextmanager
def _ranking_writer(file: Path | None) -> Iterator[Callable[[Dataset, Ranked], None]]:
    if file is None:
        yield lambda *_: None
        return
    with RunWriter(file) as writer:
        yield writer.write
