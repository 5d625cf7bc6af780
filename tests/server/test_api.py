"""`import simquery`: a program can do whatever the command line can."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest
from elasticsearch import Elasticsearch

import simquery
from simquery.cli.main import cli
from simquery.errors import CaseError, ClusterError, FolderError, PictureError, QueryError
from simquery.settings import Settings
from tests.conftest import pixels, save_picture
from tests.server.conftest import MODEL

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("command_environment")


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    for seed in range(12):
        save_picture(folder / f"{seed}.png", seed)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def test_the_example_of_the_documentation_works(case: str, evidence: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = dedent((simquery.__doc__ or "").partition("::\n")[2]).strip()
    assert example in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len([line for line in example.splitlines() if line]) <= 6
    program = example.replace("fraud-7", case).replace("/mnt/evidence", str(evidence))
    exec(compile(program.replace("knife.jpg", str(evidence / "3.png")), "example", "exec"), {})  # noqa: S102
    first = capsys.readouterr().out.splitlines()[0].split()
    assert first == ["1", "0.0", str(evidence / "3.png")]


def test_a_case_is_indexed_verified_and_counted(case: str, evidence: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with simquery.open_case(case) as opened:
        counts = opened.index(
            evidence,
            exclude=["*1.png"],
            thumbnails=True,
            progress=lambda counts, total: seen.append((counts.seen, total)),
        )
        assert (counts.indexed, counts.unreadable, counts.skipped) == (10, 1, 2)
        assert seen[-1][0] == 13
        assert seen[-1][1] in {None, 13}
        report = opened.verify(evidence)
        assert (report.files, report.differences) == (13, [])
        status = opened.status()
    assert [(each.model, each.pictures) for each in status.models] == [(MODEL, 10)]
    assert status.files == {"indexed": 10, "skipped": 2, "unreadable": 1}
    assert status.gone == 0


def test_an_option_that_does_not_exist_is_refused(case: str, evidence: Path) -> None:
    with simquery.open_case(case) as opened:
        with pytest.raises(TypeError, match="includes"):
            opened.index(evidence, includes=["*.png"])  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="distanse"):
            opened.query(evidence / "1.png", distanse="cosine")  # type: ignore[call-arg]


def test_a_query_takes_what_the_command_takes_and_gives_the_same(case: str, evidence: Path) -> None:
    with simquery.open_case(case) as opened:
        opened.index(evidence)
        ranking = opened.query(
            evidence / "3.png",
            evidence / "4.png",
            rejected=[evidence / "5.png"],
            combine="min",
            distance="l2",
            path="*.png",
            min_size=10,
            k=None,
        )
    assert len(ranking) == 12
    options = ["--not", evidence / "5.png", "--combine", "min", "--distance", "l2", "--path", "*.png", "--min-size", 10]
    arguments = ["query", evidence / "3.png", evidence / "4.png", "--case", case, "--all", "--json", *options]
    done = subprocess.run(
        [sys.executable, "-m", "simquery", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    from_command = json.loads(done.stdout)
    from_program = json.loads(json.dumps(ranking.as_dict()))
    del from_command["took_ms"], from_program["took_ms"]
    assert from_command == from_program


def test_hits_within_a_distance_come_without_a_limit(case: str, evidence: Path) -> None:
    with simquery.open_case(case) as opened:
        opened.index(evidence)
        everything = opened.query(evidence / "3.png", within=1e9)
        assert len(everything) == 12
        assert len(opened.query(evidence / "3.png", within=1e9, k=3)) == 3
        assert [hit.rank for hit in opened.hits(opened.prepare(evidence / "3.png", within=0.0))] == [1]


def test_hits_are_saved_and_marked(case: str, evidence: Path) -> None:
    with simquery.open_case(case) as opened:
        opened.index(evidence)
        saved = opened.save(opened.query(evidence / "3.png", k=5), note="red")
        review = opened.mark(saved.query, [2, 3], "relevant", note="the same room")
        assert (review.hits, review.reviewed, review.precision) == (5, 2, 1.0)
        assert [mark.rank for mark in opened.review(saved.query).marks] == [2, 3]
        with pytest.raises(QueryError, match="no verdict 'nice'"):
            opened.mark(saved.query, [1], "nice")


def test_recall_is_measured_and_stored(case: str, evidence: Path) -> None:
    with simquery.open_case(case) as opened:
        opened.index(evidence)
        report = opened.recall(["cosine"], k=3, candidates=[5, 10], sample=4, store=0.5)
        assert [row.candidates for row in report.recall["cosine"]] == [5, 10]
        assert report.stored == {"cosine": 5}


def test_a_folder_is_watched_until_another_thread_stops_it(case: str, evidence: Path) -> None:
    with simquery.open_case(case) as opened:
        indexing = opened.watch(evidence)
        seen = []
        for counts in indexing:
            seen.append(counts.indexed)
            if len(seen) == 1:
                save_picture(evidence / "new" / "dropped.png", 77)
            if counts.indexed == 13:
                thread = threading.Thread(target=indexing.stop)
                thread.start()
                thread.join()
        assert seen[0] == 12
        assert seen[-1] == 13
        assert indexing.counts.indexed == 13


def test_nonsense_raises_the_documented_errors(case: str, evidence: Path, tmp_path: Path) -> None:
    with simquery.open_case(case) as opened:
        with pytest.raises(CaseError, match="Nothing has been indexed"):
            opened.query(evidence / "1.png")
        with pytest.raises(FolderError):
            opened.index(tmp_path / "nowhere")
        opened.index(evidence)
        with pytest.raises(PictureError):
            opened.query(evidence / "broken.jpg")
        for options in ({"mode": "fast"}, {"combine": "xor"}, {"augment": ["shear"]}, {"distance": "hamming"}):
            with pytest.raises(QueryError, match="Choose from: "):
                opened.query(evidence / "1.png", **options)  # type: ignore[arg-type]
        with pytest.raises(QueryError, match="needs at least one reference"):
            opened.query()


def test_settings_can_be_given(case: str, cluster: Settings) -> None:
    with simquery.open_case(case, model="mini", settings=cluster) as opened:
        assert (opened.name, opened.model) == (case, "mini")
        assert opened.status().models == ()


def test_each_command_that_works_on_a_case_is_a_method_of_it() -> None:
    methods = {"index", "watch", "verify", "query", "mark", "recall", "status"}
    assert methods <= {name for name in vars(simquery.Case) if not name.startswith("_")}
    outside_of_a_case = {"up", "down", "evaluate", "models", "kibana"}
    assert set(cli.list_commands(None)) == methods | outside_of_a_case  # type: ignore[arg-type]


def test_vectors_of_a_program_are_those_of_a_picture_file(case: str, evidence: Path) -> None:
    """A reference that the case does not hold goes through the network."""
    with simquery.open_case(case) as opened:
        opened.index(evidence)
        save_picture(evidence.parent / "copy.bmp", 3)
        assert pixels(3).any()
        assert opened.query(evidence.parent / "copy.bmp", k=1).hits[0].paths == (str(evidence / "3.png"),)


def test_errors_of_the_cluster_are_those_of_simquery(case: str, evidence: Path) -> None:
    with simquery.open_case(case) as opened:
        opened.index(evidence)
        with pytest.raises(ClusterError, match="nonsense"):
            opened.query(evidence / "1.png", raw={"nonsense": {}})
        with pytest.raises(ClusterError, match="nonsense"):
            list(opened.hits(opened.prepare(evidence / "1.png", raw={"nonsense": {}}, k=None)))


def test_an_index_that_somebody_else_named_like_ours_does_not_hide_the_cases(
    client: Elasticsearch, case: str, evidence: Path, cluster: Settings
) -> None:
    with simquery.open_case(case) as opened:
        opened.index(evidence)
    client.indices.create(index=f"simquery-images-{case}-foreign")
    assert case in {each.case for each in simquery.cluster_status(cluster).cases}
