import csv
import io
import json
from collections.abc import Iterable

import numpy as np
import pytest
from rich.console import Console

from simquery.distances import DISTANCES
from simquery.errors import QueryError
from simquery.mappings import PATHS_LISTED
from simquery.query import FORMATS, Hit, Mode, Query, Ranking, Reference, ranking_table

REFERENCES = tuple(Reference(f"{name}.jpg", name * 64, np.ones((1, 3), np.float32)) for name in "ab")
QUERY = Query(REFERENCES, DISTANCES["cosine"])
HITS = [
    Hit(1, 0.0, "a" * 64, ("/e/1.jpg", '/e/copy, of "1".jpg'), {"format": "JPEG", "labels": ["x", "y"]}),
    Hit(2, 1e-9, "c" * 64, ("/e/=2.jpg",), {"location": {"lat": 52.5, "lon": 4.9}}),
]


def lines(name: str, hits: Iterable[Hit] = HITS) -> list[str]:
    return list(FORMATS[name](QUERY, hits))


def test_json_lines_hold_a_hit_each() -> None:
    first, second = (json.loads(line) for line in lines("jsonl"))
    assert first["paths"] == list(HITS[0].paths)
    assert (second["rank"], second["distance"], second["location"]) == (2, 1e-9, {"lat": 52.5, "lon": 4.9})


def test_csv_has_a_row_for_each_path() -> None:
    rows = list(csv.DictReader(lines("csv")))
    assert [row["path"] for row in rows] == ["/e/1.jpg", '/e/copy, of "1".jpg', "/e/=2.jpg"]
    assert [row["rank"] for row in rows] == ["1", "1", "2"]
    assert (rows[0]["labels"], rows[2]["location"], rows[2]["distance"]) == ("x;y", "52.5,4.9", "1e-09")


def test_csv_runs_no_formula_from_the_evidence_and_keeps_numbers() -> None:
    facts = {"camera": "=cmd|'/C calc'!A0", "labels": ["@SUM(A1)"], "location": {"lat": -33.9, "lon": 18.4}, "size": 7}
    (row,) = csv.DictReader(lines("csv", [Hit(1, 0.5, "a" * 64, ("+1.jpg",), facts)]))
    assert (row["path"], row["camera"], row["labels"]) == ("'+1.jpg", "'=cmd|'/C calc'!A0", "'@SUM(A1)")
    assert (row["location"], row["size"], row["distance"]) == ("-33.9,18.4", "7", "0.5")
    (exact,) = (json.loads(line) for line in lines("jsonl", [Hit(1, 0.5, "a" * 64, ("+1.jpg",), facts)]))
    assert (exact["paths"], exact["camera"]) == (["+1.jpg"], facts["camera"])


def test_a_list_of_paths_that_may_be_cut_says_so() -> None:
    full = Hit(1, 0.5, "a" * 64, tuple(f"/e/{number}.jpg" for number in range(PATHS_LISTED)))
    console = Console(width=200, file=io.StringIO())
    ranking = Ranking("c", "net", "f" * 64, QUERY, Mode.EXACT, None, 2, 2, 1, (full, HITS[0]))
    console.print(ranking_table(ranking))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "/e/0.jpg  (+at least 999 more)" in shown
    assert "/e/1.jpg  (+1 more)" in shown
    assert [row["paths_full"] for row in csv.DictReader(lines("csv", [full, HITS[1]]))][-2:] == ["true", "false"]
    assert [json.loads(line)["paths_full"] for line in lines("jsonl", [full, HITS[0]])] == [True, False]


def test_a_trec_run_scores_the_nearest_highest() -> None:
    first, second = (line.split() for line in lines("trec"))
    assert first[:4] == [f"{'a' * 64}+{'b' * 64}", "Q0", "a" * 64, "1"]
    assert float(first[4]) > float(second[4])
    assert first[5] == "simquery-cosine"


def test_a_ranking_of_nothing_is_empty_in_every_format() -> None:
    assert {name: len(lines(name, [])) for name in FORMATS} == {"jsonl": 0, "csv": 1, "trec": 0}


@pytest.mark.parametrize(
    "wrong",
    [{"k": 0}, {"k": 2**31}, {"k": 10**30}, {"within": -1.0}, {"within": float("nan")}, {"candidates": 0},
     {"candidates": 10_001}, {"k": None, "mode": Mode.APPROXIMATE}],
)  # fmt: skip
def test_a_query_without_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(QueryError):
        Query(REFERENCES, DISTANCES["cosine"], **wrong)  # type: ignore[arg-type]
