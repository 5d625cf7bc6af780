"""``simquery evaluate`` from the folder of classes to the report, with a network that is quick: the mean colours."""

import csv
import json
import os
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from PIL import Image

from simquery.cli.main import cli, main
from simquery.distances import DISTANCES
from simquery.embedders import Features, Pixels
from simquery.errors import DatasetError, EmbedderError, SettingsError
from simquery.evaluation import embeddings, figures
from simquery.evaluation.dataset import read_dataset
from simquery.evaluation.embeddings import VectorCache, embed_dataset
from simquery.evaluation.figures import draw_figures, most_confused
from simquery.evaluation.harness import Condition
from simquery.evaluation.measures import parse_measures
from simquery.evaluation.run import THESIS_DISTANCES, Evaluation, Protocol, judge_networks
from simquery.evaluation.tables import class_table
from simquery.evaluation.times import MeanTime, Timing, mean_times, time_network
from simquery.evaluation.trec import RunWriter
from simquery.pictures import decoding
from simquery.settings import Settings, load_settings
from tests.conftest import pixels

LAB_NETWORK = """
import numpy as np

class Colours:
    name, dims, input_size, fingerprint = "colours", 48, (4, 4), "c" * 64
    def embed(self, batch):
        return batch.reshape(len(batch), -1).astype(np.float32)
"""


class Colours:
    """The pixels themselves, at a size of 4 × 4; counts what goes through it."""

    name, dims, input_size, fingerprint = "colours", 48, (4, 4), "c" * 64

    def __init__(self) -> None:
        self.seen = 0

    def embed(self, batch: Pixels) -> Features:
        self.seen += len(batch)
        return batch.reshape(len(batch), -1).astype(np.float32)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Four classes of eight noisy copies of a pattern each."""
    for number, label in enumerate(["ash", "birch", "cedar", "others"]):
        for seed in range(8):
            noise = np.random.default_rng(10 * number + seed).integers(-90, 90, (48, 64, 3))
            values = np.clip(pixels(number).astype(int) + noise, 0, 255).astype(np.uint8)
            file = tmp_path / "classes" / label / f"{seed}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(file)
    return tmp_path / "classes"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lab's own network, its module found by this process and by new ones."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "lab_network.py").write_text(LAB_NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path / "lab"))
    monkeypatch.delitem(sys.modules, "lab_network", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lab"), prepend=os.pathsep)
    monkeypatch.setenv("SIMQUERY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SIMQUERY_EMBEDDERS", '{"colours": "lab_network:Colours"}')
    monkeypatch.setenv("SIMQUERY_MODEL", "colours")
    return load_settings()


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, ["evaluate", "--local", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def evaluated(classes: Path, settings: Settings, **options: object) -> Evaluation:
    return judge_networks(read_dataset(classes, {"others"}), Protocol(("colours",), **options), settings)  # type: ignore[arg-type]


@pytest.mark.usefixtures("settings")
def test_one_command_leaves_tables_figures_manifest_and_a_page_that_needs_nothing_else(
    classes: Path, tmp_path: Path
) -> None:
    (classes / "ash" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "out"
    measures = ("--measure", "nAUIRC,IR@0.8", "--distance", "cosine,l1")
    common = ("--distractor", "others", "--references", 9, "--times", 1, "--per-class", "--out", out)
    result = run(classes, *common, *measures)
    for text in (
        "colours",
        "manhattan",
        "nAUIRC",
        "9 references of 3 classes",
        "Classes by IR@0.8",
        "extraction",
        "Mean nAUIRC",
    ):
        assert text in result.stdout, text
    assert "Left out: ash/broken.jpg: not a picture" in result.stderr
    drawn = {file.name for file in (out / "figures").iterdir()}
    for name in (
        "box-nAUIRC", "box-IR@0.8", "curve-colours", "scatter-nAUIRC", "time-build", "time-extraction",
        "time-distance-numpy", "several-sum-nAUIRC", "several-mean-nAUIRC", "augmented-nAUIRC", "confusion",
    ):  # fmt: skip
        assert {f"{name}.png", f"{name}.svg"} <= drawn, name
    page = (out / "report.html").read_text()
    assert page.count("<img ") == page.count('src="data:') == len(drawn) // 2
    assert "http://" not in page
    assert "https://" not in page
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["determined_by"]["models"] == {"colours": "c" * 64}
    assert manifest["dataset"]["left_out"][0]["path"] == "ash/broken.jpg"
    assert len(manifest["determined_by"]["references"]) == 9


@pytest.mark.usefixtures("settings")
def test_the_same_manifest_gives_the_same_figures(classes: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(classes, "--times", 0, "--out", tmp_path / name, "--distance", "l2", "--measure", "AP", "--seed", 3)
    first, second = (
        {
            file.relative_to(folder): file.read_bytes()
            for file in folder.rglob("*.*")
            if file.suffix in {".csv", ".png", ".svg"}
        }
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert len(first) > 8
    assert first == second
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two")]
    assert manifests[0]["determined_by"] == manifests[1]["determined_by"]
    assert manifests[0]["run"] == manifests[1]["run"]


@pytest.mark.usefixtures("settings")
def test_json_has_what_the_table_has(classes: Path, tmp_path: Path) -> None:
    result = run(
        classes, "--times", 0, "--json", "--no-augment", "--several", 1, "--measure", "IR@0.8", "--out", tmp_path / "o"
    )
    document = json.loads(result.stdout)
    assert {row["condition"]["distance"] for row in document["summary"]} == {
        "cosine",
        "euclidean",
        "manhattan",
        "modified",
    }
    for row in document["summary"]:
        ordered = [0.0, *(round(row[name], 9) for name in ("best", "low", "mean", "high")), 1.0]
        assert ordered == sorted(ordered)
    with (tmp_path / "o" / "values.csv").open() as file:
        values = [float(row["IR@0.8"]) for row in csv.DictReader(file) if row["distance"] == "cosine"]
    cosine = next(row for row in document["summary"] if row["condition"]["distance"] == "cosine")
    assert cosine["mean"] == pytest.approx(np.mean(values))


@pytest.mark.usefixtures("settings")
def test_rankings_written_as_a_trec_run_are_judged_alike_when_read(classes: Path, tmp_path: Path) -> None:
    (classes / "ash" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    options = ("--times", 0, "--json", "--no-augment", "--several", 1, "--distance", "cosine, l1")
    ours = json.loads(run(classes, *options, "--run", tmp_path / "run.gz", "--out", tmp_path / "a").stdout)
    theirs = json.loads(run(classes, "--json", "--from-run", tmp_path / "run.gz", "--out", tmp_path / "b").stdout)
    assert [row["condition"] for row in ours["summary"]] == [row["condition"] for row in theirs["summary"]]
    assert [row["mean"] for row in ours["summary"]] == [row["mean"] for row in theirs["summary"]]


@pytest.mark.usefixtures("settings")
def test_another_tools_run_may_name_paths_and_hold_a_part(classes: Path, tmp_path: Path) -> None:
    file = tmp_path / "theirs.run"
    lines = [
        "ash/0.png Q0 ash/1.png 1 9.5 tool",
        "ash/0.png Q0 ash/0.png 2 99 tool",
        "ash/0.png Q0 birch/1.png 3 1e-3 tool",
    ]
    file.write_text("\n".join(lines) + "\n\n")
    result = run(classes, "--json", "--from-run", file, "--measure", "P@2,R@2", "--out", tmp_path / "o")
    means = {row["measure"]: row["mean"] for row in json.loads(result.stdout)["summary"]}
    assert means == {"P@2": 0.5, "R@2": pytest.approx(1 / 7)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ash/0.png Q0 ash/1.png 1 0.5", "line 1: 5 fields instead of 6"),
        ("ash/0.png Q0 elm/1.png 1 0.5 t", "line 1: 'elm/1.png' is not a picture of the data set"),
        ("ash/0.png Q0 ash/1.png first 0.5 t", "is not a TREC run"),
        ("a/0.png Q0 ash/1.png 1 0.5 t", "'a/0.png' is not a picture"),
        ("ash/0.png Q0 ash/1.png 1 1 t\nash/0.png Q0 ash/1.png 2 0 t", "line 2: .* is already in this ranking"),
        ("", "contains no ranking"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_a_run_that_cannot_be_judged_is_refused_with_its_line(
    classes: Path, tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "bad.run").write_text(line)
    with pytest.raises(DatasetError, match=message):
        run(classes, "--from-run", tmp_path / "bad.run")


def test_sum_of_one_distance_and_mean_of_one_vector_are_the_single_reference(classes: Path, settings: Settings) -> None:
    results = evaluated(classes, settings, several=3).results
    for distance in ("cosine", "modified"):
        for combine in ("sum", "mean"):
            values = results.values[Condition("colours", distance, 3, combine)]
            assert np.isfinite(values).all()
        # One reference, but with the same pictures left out as for three, so that only the references differ.
        alone = results.values[Condition("colours", distance, 1, "sum")]
        assert alone.shape == results.values[Condition("colours", distance)].shape


def test_values_are_those_of_ranking_by_the_distance_itself(classes: Path, settings: Settings) -> None:
    """Everything at once, the slow way: every picture compared with every reference, sorted, counted."""
    data = read_dataset(classes, {"others"})
    results = evaluated(
        classes, settings, several=1, augment=False, measures=parse_measures(["P@5", "IR@0.5", "AUIRC"])
    ).results
    network = Colours()
    vectors = np.stack(
        [
            network.embed(np.asarray(Image.open(p.file).resize((4, 4), Image.Resampling.BILINEAR))[np.newaxis])[0]
            for p in data.pictures
        ]
    )
    assert len(results.queries) == 24
    for name in THESIS_DISTANCES:
        distance = DISTANCES[name]
        table = distance.between(vectors, vectors)
        for query, values in zip(results.queries, results.values[Condition("colours", name)], strict=True):
            others = [row for row in range(len(vectors)) if row != query.reference]
            order = sorted(others, key=lambda row: (np.float32(table[query.reference, row]), row))
            ranks = [rank for rank, row in enumerate(order, 1) if query.label in data.pictures[row].labels]
            assert values[0] == sum(rank <= 5 for rank in ranks) / 5
            assert values[1] == ranks[3] / 31  # 4 of 7
            assert values[2] == sum(ranks) - ranks[-1] / 2


def test_an_interrupted_run_goes_on_where_it_was(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_CHUNK", 10)
    data = read_dataset(classes)

    class Interrupted(Colours):
        def embed(self, batch: Pixels) -> Features:
            if self.seen >= 20:
                raise KeyboardInterrupt
            return super().embed(batch)

    with pytest.raises(KeyboardInterrupt):
        embed_dataset(data, "colours", Interrupted, tmp_path / "cache")
    network = Colours()
    embedded = embed_dataset(data, "colours", lambda: network, tmp_path / "cache")
    assert network.seen == len(data.pictures) - 20
    fresh = embed_dataset(data, "colours", Colours, tmp_path / "other")
    assert np.array_equal(embedded.vectors, fresh.vectors)
    assert not embedded.reasons


def test_progress_is_told_for_every_picture_that_goes_through_the_network(classes: Path, tmp_path: Path) -> None:
    data, told = read_dataset(classes), list[int]()
    embed_dataset(data, "colours", Colours, tmp_path / "cache", progress=told.append)
    assert sorted(set(told)) == list(range(len(data.pictures) + 1))


def test_vectors_of_other_weights_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    class Retrained(Colours):
        fingerprint = "d" * 64

    VectorCache(tmp_path, Colours()).store(["a"], np.ones((1, 48), dtype=np.float32))
    vectors = np.zeros((1, 48), dtype=np.float32)
    assert VectorCache(tmp_path, Colours()).fill(["a"], vectors).all()
    assert not VectorCache(tmp_path, Retrained()).fill(["a"], vectors).any()


def test_vectors_of_another_engine_or_precision_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    class ByTensorFlow(Colours):
        inference = "tensorflow"

    class InHalfPrecision(Colours):
        inference = "tensorflow mixed_float16"

    VectorCache(tmp_path, ByTensorFlow()).store(["a"], np.ones((1, 48), dtype=np.float32))
    vectors = np.zeros((1, 48), dtype=np.float32)
    assert VectorCache(tmp_path, ByTensorFlow()).fill(["a"], vectors).all()
    for other in (Colours(), InHalfPrecision()):
        assert not VectorCache(tmp_path, other).fill(["a"], vectors).any()


def test_runs_by_two_engines_have_two_names_and_say_which_engine(
    classes: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    network = "mobilenetv2-0.35"
    protocol = Protocol((network,), distances=("cosine",), references=3, several=1, augment=False)
    manifests = {
        inference: judge_networks(
            read_dataset(classes),
            protocol,
            Settings(model=network, weights_dir=weights, cache=tmp_path / "cache", inference=inference),
        ).manifest
        for inference in ("tensorflow", "openvino")
    }
    engines = {name: each["determined_by"]["inference"][network] for name, each in manifests.items()}
    assert {name: each["engine"] for name, each in engines.items()} == {name: name for name in manifests}
    assert engines["openvino"]["version"] == openvino.__version__
    assert manifests["tensorflow"]["determined_by"]["vectors"] != manifests["openvino"]["determined_by"]["vectors"]
    assert manifests["tensorflow"]["run"] != manifests["openvino"]["run"]


def test_a_run_whose_vectors_differ_in_one_bit_has_another_name(
    classes: Path, settings: Settings, tmp_path: Path
) -> None:
    own = LAB_NETWORK.replace(".astype(np.float32)", ".astype(np.float32) + np.float32(1e-5)")
    (tmp_path / "lab" / "other_processor.py").write_text(own)
    other = settings.model_copy(
        update={"embedders": {"colours": "other_processor:Colours"}, "cache": tmp_path / "other cache"}
    )
    first, again, second = (evaluated(classes, each, augment=False).manifest for each in (settings, settings, other))
    assert first["determined_by"]["models"] == second["determined_by"]["models"]
    assert first["run"] == again["run"] != second["run"]


def test_pictures_are_decoded_in_other_processes_only(
    classes: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded in the process of the run")

    # The fresh process in which networks are timed loads the lab's module, too.
    refusing = "import simquery.pictures.decoding as d\nd.decode_picture = d.load_picture = None"
    (tmp_path / "lab" / "lab_network.py").write_text(f"{LAB_NETWORK}\n{refusing}")
    monkeypatch.setattr(decoding, "decode_picture", refuse)
    monkeypatch.setattr(decoding, "load_picture", refuse)
    data = read_dataset(classes)
    results = evaluated(classes, settings).results
    assert len(results.dataset.pictures) == len(data.pictures)
    assert any(condition.augment == "recompressed" for condition in results.values)
    assert not embeddings.unreadable(data)
    assert {timing.stage for timing in time_network(settings, data.pictures, 1)} == {"build", "extraction"}


def test_an_empty_file_is_called_one_as_in_the_ledger(classes: Path, settings: Settings) -> None:
    (classes / "ash" / "0.png").write_bytes(b"")
    (classes / "ash" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    omissions = evaluated(classes, settings, augment=False).results.dataset.omissions
    assert {omission.path: omission.reason for omission in omissions} == {
        "ash/0.png": "empty file (0 bytes)",
        "ash/broken.jpg": "not a picture in any format that can be decoded here",
    }


def test_pictures_that_give_no_vector_are_left_out_with_their_reasons(classes: Path, settings: Settings) -> None:
    Image.new("RGB", (20, 20)).save(classes / "ash" / "black.png")
    (classes / "birch" / "notes.txt").write_text("no picture")
    omissions = evaluated(classes, settings, augment=False).results.dataset.omissions
    assert {omission.path: omission.reason for omission in omissions} == {
        "ash/black.png": "model 'colours' finds nothing in it",
        "birch/notes.txt": "not a picture in any format that can be decoded here",
    }


def test_a_measure_of_more_pictures_than_there_are_is_refused_but_not_missed_by_default(
    classes: Path, settings: Settings
) -> None:
    with pytest.raises(SettingsError, match="P@32 needs the first 32 pictures of a ranking, but only 31 are ranked"):
        evaluated(classes, settings, measures=parse_measures(["P@32"]))
    names = [str(measure) for measure in evaluated(classes, settings, augment=False).results.measures]
    assert "P@50" not in names
    assert "IR@0.8" in names


@pytest.mark.usefixtures("settings")
def test_nothing_is_overwritten(classes: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(SettingsError, match="is not overwritten"):
        run(classes, "--out", tmp_path / "full")


def test_classes_are_listed_with_all_combinations_near_the_best(classes: Path, settings: Settings) -> None:
    results = evaluated(classes, settings, augment=False, several=1, measures=parse_measures(["P@5", "IR@0.8"])).results
    for measure in results.measures:
        rows = class_table(results, measure)
        assert {row.label for row in rows} == {"ash", "birch", "cedar"}
        assert [row.best for row in rows] == sorted((row.best for row in rows), reverse=measure.higher_is_better)
        for row in rows:
            mine = np.array([query.label == row.label for query in results.queries])
            means = {c.distance: float(results.of(c, measure)[mine].mean()) for c in results.singles}
            best = max(means.values()) if measure.higher_is_better else min(means.values())
            assert row.best == best
            assert {d for _, d in row.combinations} == {d for d, mean in means.items() if abs(mean - best) <= 0.003}


def test_repeated_times_have_a_mean_and_a_deviation() -> None:
    timings = [Timing("net", None, "build", None, seconds, 1) for seconds in (1.0, 3.0)]
    timings.append(Timing("net", "cosine", "distance", "numpy", 0.5, 100))
    assert mean_times(timings) == [
        MeanTime("build", "net", None, None, 2.0, pytest.approx(2**0.5), 2),
        MeanTime("distance", "net", "cosine", "numpy", 0.5, 0.0, 1),
    ]


def test_a_network_that_cannot_be_built_cannot_be_timed(settings: Settings) -> None:
    with pytest.raises(
        EmbedderError, match=r"'nowhere' could not be timed in a separate process: .*no model 'nowhere'"
    ):
        list(time_network(settings.model_copy(update={"model": "nowhere"}), [], 1))


def test_modules_in_the_current_folder_are_not_run_when_networks_are_timed(classes: Path, settings: Settings) -> None:
    Path("numpy.py").write_text("raise SystemExit('a module of the evidence was run')")
    timings = list(time_network(settings, read_dataset(classes).pictures, 1))
    assert len(timings) == 2


def test_without_matplotlib_everything_but_the_figures_is_there(
    classes: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "find_spec", lambda _: None)
    result = run(classes, "--times", 0, "--several", 1, "--no-augment", "--out", tmp_path / "out")
    assert "pip install 'simquery[evaluation]'" in result.stderr
    assert (tmp_path / "out" / "report.html").is_file()
    assert not list((tmp_path / "out" / "figures").iterdir())


def test_a_run_of_one_combination_has_figures_as_well(classes: Path, settings: Settings) -> None:
    results = evaluated(classes, settings, distances=("cosine",), several=1, augment=False, references=1).results
    assert {"box-nAUIRC", "curve-colours"} <= {figure.name for figure in draw_figures(results, [])}


@pytest.mark.usefixtures("settings")
def test_names_that_look_like_formulas_or_markup_are_shown_as_they_are(classes: Path, tmp_path: Path) -> None:
    """In figures (mathematics), in the page (HTML), in the terminal (Rich) and in spreadsheets."""
    hostile = [r"$\frac{1$", "[b]", "<script>alert(1)", "=1+1"]
    for label, name in zip(("ash", "birch", "cedar", "others"), hostile, strict=True):
        (classes / label).rename(classes / name)
    run_file = tmp_path / "tool.run"
    run_file.write_text(r"=1+1/0.png Q0 =1+1/1.png 1 0.5 $\frac{1$[b]<i>")
    ours = run(classes, "--times", 1, "--distance", "cosine", "--per-class", "--out", tmp_path / "ours").stdout
    theirs = run(classes, "--from-run", run_file, "--measure", "P@2", "--out", tmp_path / "theirs").stdout
    assert "[b]" in ours
    assert r"$\frac{1$[b]<i>" in theirs
    assert "<script>" not in (tmp_path / "ours" / "report.html").read_text()
    assert r"$\frac{1$[b]&lt;i&gt;" in (tmp_path / "theirs" / "report.html").read_text()
    assert (tmp_path / "ours" / "figures" / "confusion.svg").is_file()
    with (tmp_path / "ours" / "values.csv").open(newline="") as file:
        names = {row["class"] for row in csv.DictReader(file)}
    assert names == {r"$\\frac{1$", "[b]", "<script>alert(1)", "'=1+1"}


def test_labels_of_three_networks_with_six_distances_do_not_overlap(
    classes: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ("inceptionresnetv2", "mobilenetv2-0.35", "mobilenetv2-0.35_block_3")
    for number, model in enumerate(models):
        own = LAB_NETWORK.replace('"colours"', f'"{model}"').replace('"c"', f'"{number}"')
        (tmp_path / "lab" / f"lab_{number}.py").write_text(own)
    lab = {model: f"lab_{number}:Colours" for number, model in enumerate(models)}
    protocol = Protocol(models, distances=tuple(DISTANCES), references=6, measures=parse_measures(["nAUIRC", "P@5"]))
    assert len(protocol.distances) == 6
    results = judge_networks(read_dataset(classes), protocol, settings.model_copy(update={"embedders": lab})).results
    timings = [Timing(model, name, "distance", "numpy", 0.1, 32) for model in models for name in protocol.distances] + [
        Timing(model, None, "build", None, 1.0, 1) for model in models
    ]
    saved, overlaps = figures._saved, []

    def look(figure: Figure, kind: str) -> bytes:
        content = saved(figure, kind)
        (axes,) = [each for each in figure.axes if each.get_label() != "<colorbar>"]
        legend = axes.get_legend()
        texts = [*axes.get_xticklabels(), axes.xaxis.label, *(legend.get_texts() if legend else ())]
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
        overlaps.extend((a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other))
        return content

    monkeypatch.setattr(figures, "_saved", look)
    drawn = list(draw_figures(results, timings))
    assert {"augmented-nAUIRC", "box-P@5", "scatter-nAUIRC", "several-sum-nAUIRC"} <= {each.name for each in drawn}
    assert not overlaps


def test_of_many_classes_the_most_confused_are_drawn_and_the_caption_says_so(
    classes: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = evaluated(classes, settings, distances=("cosine",), several=1, augment=False).results
    (whole,) = [each for each in draw_figures(results, []) if each.name == "confusion"]
    assert "most confused" not in whole.caption
    monkeypatch.setattr(figures, "_MOST_CLASSES", 2)
    (part,) = [each for each in draw_figures(results, []) if each.name == "confusion"]
    assert part.caption == f"{whole.caption}; the 2 most confused of 4 classes"


def test_the_most_confused_classes_find_others_or_are_found_by_them() -> None:
    shares = np.array([[1.0, 0, 0, 0], [0, 0.4, 0.6, 0], [0, 0, 1.0, 0], [np.nan] * 4])
    assert most_confused(shares, 2) == [1, 2]
    assert most_confused(shares, 60) == [0, 1, 2, 3]


def test_a_shallow_layer_is_tried_beside_the_usual_cut(
    classes: Path, settings: Settings, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMQUERY_WEIGHTS_DIR", str(weights))
    common = ("--times", 0, "--several", 1, "--no-augment", "--json", "--measure", "AP", "--out", tmp_path / "out")
    name = "mobilenetv2-0.35"
    document = json.loads(run(classes, "--model", name, "--layer", "block_3_expand_relu", *common).stdout)
    assert {row["condition"]["model"] for row in document["summary"]} == {name, f"{name}@block_3_expand_relu"}
    assert [verdict["title"] for verdict in document["verdicts"]] == [
        "Distances, over 2 networks",
        "Networks, over 4 distances",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--measure", "IR@1.5"], 2, "above 0 and up to 1"),
        (["--measure", "P@1000"], 2, "P@1000 needs the first 1,000 pictures of a ranking, but only 31 are ranked"),
        (["--distance", ""], 3, "no distance ''"),
        (["--distance", "hamming"], 3, "no distance 'hamming'"),
        (["--distractor", "elm"], 3, "has no class 'elm'. Its classes are: ash, birch, cedar, others."),
        (["--model", "nowhere"], 4, "no model 'nowhere'"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_what_cannot_be_evaluated_is_refused_with_its_exit_code(
    classes: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(classes), "--local", *arguments])
    assert end.value.code == code
    assert message in capsys.readouterr().err
    assert not list(Path.cwd().iterdir())


def test_an_interrupted_run_leaves_no_part_of_a_run_file_and_an_old_one_is_kept(tmp_path: Path) -> None:
    def interrupted() -> None:
        with RunWriter(tmp_path / "new.run"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "new.run").exists()
    (tmp_path / "old.run").write_text("kept")
    with pytest.raises(FileExistsError):
        RunWriter(tmp_path / "old.run")
    assert (tmp_path / "old.run").read_text() == "kept"


@pytest.mark.usefixtures("settings")
def test_the_same_command_again_writes_beside_what_is_there(classes: Path) -> None:
    for _ in range(2):
        run(classes, "--times", 0, "--several", 1, "--no-augment", "--distance", "cosine", "--measure", "R@5")
    first, second = sorted(folder.name for folder in Path.cwd().iterdir())
    assert second == f"{first}-2"
