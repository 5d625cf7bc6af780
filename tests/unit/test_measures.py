"""Measures, compared with other implementations and with literal ones of the definitions."""

import math
from fractions import Fraction

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simquery.errors import SettingsError
from simquery.evaluation.measures import DEFAULT_MEASURES, MEASURES, Found, Measure, parse_measure, parse_measures


def found(ranks: list[int], total: int, relevant: int | None = None) -> Found:
    return Found(np.array(sorted(ranks), dtype=np.int64), relevant or len(ranks), total)


@st.composite
def rankings(draw: st.DrawFn) -> Found:
    total = draw(st.integers(1, 60))
    ranks = draw(st.sets(st.integers(1, total), min_size=1))
    return found(list(ranks), total)


@pytest.mark.parametrize(
    "name", ["P@50", "P@1", "R@100", "IR@0.8", "IR@1", "AUIRC", "nAUIRC", "AP", "nDCG", "nDCG@10", "WSS@95"]
)
def test_a_measure_prints_as_the_name_it_parses_from(name: str) -> None:
    assert str(parse_measure(name)) == name
    assert parse_measure(name) == parse_measure(name)


def test_every_kind_of_measure_is_among_the_defaults_and_each_counts_once() -> None:
    assert {measure.symbol for measure in DEFAULT_MEASURES} == set(MEASURES)
    assert [str(measure) for measure in parse_measures(["IR@0.80", "P@5", "IR@0.8"])] == ["IR@0.8", "P@5"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("IR@0", "above 0 and up to 1"),
        ("IR@1.01", "above 0 and up to 1"),
        ("IR@-0.5", "above 0 and up to 1"),
        ("IR@nan", "above 0 and up to 1"),
        ("IR@inf", "above 0 and up to 1"),
        ("IR@1/3", "above 0 and up to 1"),
        ("IR", "above 0 and up to 1"),
        ("WSS@101", "up to 100"),
        ("P", "whole number from 1"),
        ("P@0", "whole number from 1"),
        ("P@5.5", "whole number from 1"),
        ("nDCG@", "whole number from 1"),
        ("AUIRC@3", "takes no cutoff"),
        ("F@3", "There is no measure 'F@3'"),
    ],
)
def test_a_name_that_is_no_measure_is_refused_with_what_it_takes(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_measure(name)


@pytest.mark.parametrize("seed", range(20))
def test_precision_recall_ap_and_ndcg_are_those_of_ir_measures(seed: int) -> None:
    random = np.random.default_rng(seed)
    total = int(random.integers(5, 300))
    held = int(random.integers(1, total + 1))  # how much of the collection the run holds: the rest is not found
    relevant = random.random(total) < random.uniform(0.02, 0.6)
    relevant[random.integers(total)] = True
    names = [f"d{i:03}" for i in random.permutation(total)]
    qrels = {"q": {name: int(value) for name, value in zip(names, relevant, strict=True)}}
    run = {"q": {name: float(-rank) for rank, name in enumerate(names[:held])}}
    theirs = {
        "P@50": ir_measures.P @ 50,
        "P@3": ir_measures.P @ 3,
        "R@10": ir_measures.R @ 10,
        "AP": ir_measures.AP,
        "nDCG": ir_measures.nDCG,
        "nDCG@10": ir_measures.nDCG @ 10,
    }
    expected = ir_measures.calc_aggregate(list(theirs.values()), qrels, run)
    ranking = found(list(np.flatnonzero(relevant[:held]) + 1), total, int(relevant.sum()))
    for name, measure in theirs.items():
        assert parse_measure(name).of(ranking) == pytest.approx(expected[measure], abs=1e-9), name


@given(rankings(), st.integers(1, 100))
def test_inverse_recall_is_what_looking_through_the_list_gives(ranking: Found, percent: int) -> None:
    relevant = set(ranking.ranks.tolist())
    wanted = -(-percent * len(relevant) // 100)
    passed = seen = 0
    while seen < wanted:
        passed += 1
        seen += passed in relevant
    assert parse_measure(f"IR@{percent / 100}").of(ranking) == passed / ranking.total
    assert parse_measure(f"WSS@{percent}").of(ranking) == pytest.approx(percent / 100 - passed / ranking.total)


@given(rankings())
def test_the_area_is_that_of_the_curve_drawn_point_by_point(ranking: Found) -> None:
    area, before = 0.0, 0
    for rank in ranking.ranks.tolist():
        area += (before + rank) / 2
        before = rank
    assert parse_measure("AUIRC").of(ranking) == pytest.approx(area)
    assert parse_measure("nAUIRC").of(ranking) == pytest.approx(area / (len(ranking.ranks) * ranking.total))


@given(rankings())
def test_no_ranking_is_better_than_the_best(ranking: Found) -> None:
    for measure in DEFAULT_MEASURES:
        value, best = measure.of(ranking), measure.best(ranking.relevant, ranking.total)
        assert value <= best + 1e-12 if measure.higher_is_better else value >= best - 1e-12


@given(rankings(), st.data())
def test_moving_a_relevant_picture_up_never_makes_a_ranking_worse(ranking: Found, data: st.DataObject) -> None:
    ranks = ranking.ranks.tolist()
    free = [rank for rank in range(1, max(ranks)) if rank not in ranks]
    if not free:
        return
    to = data.draw(st.sampled_from(free))
    moved = data.draw(st.sampled_from([rank for rank in ranks if rank > to]))
    better = found([to if rank == moved else rank for rank in ranks], ranking.total)
    for measure in DEFAULT_MEASURES:
        gain = measure.of(better) - measure.of(ranking)
        assert (gain if measure.higher_is_better else -gain) >= -1e-12


def test_the_example_of_the_thesis() -> None:
    """Section 3.4.2: 100 pictures, 10 relevant, the fifth at rank 20: inverse recall at 0.5 is 0.2."""
    ranks = [1, 2, 3, 4, 20, 30, 40, 50, 60, 70]
    assert parse_measure("IR@0.5").of(found(ranks, 100)) == 0.2


def value(measure: str, ranking: Found) -> float:
    return parse_measure(measure).of(ranking)


def test_more_asked_for_than_there_is() -> None:
    ranking = found([1, 2, 5], 8)
    assert value("P@6", ranking) == 0.5  # k > R: divided by k all the same
    assert parse_measure("P@6").best(3, 8) == 0.5
    assert value("P@16", ranking) == 3 / 16
    assert value("R@16", ranking) == 1.0
    assert value("nDCG@100", ranking) == value("nDCG", ranking)


def test_a_single_relevant_picture() -> None:
    ranking = found([4], 10)
    assert value("IR@0.01", ranking) == value("IR@1", ranking) == 0.4
    assert value("AUIRC", ranking) == 2.0
    assert value("nAUIRC", ranking) == 0.2
    assert value("AP", ranking) == 0.25
    assert parse_measure("AUIRC").best(1, 10) == 0.5


def test_shares_are_exact_where_floating_point_is_not() -> None:
    assert math.ceil(0.07 * 100) == 8
    assert value("IR@0.07", found(list(range(1, 101)), 100)) == 0.07


def test_relevant_pictures_that_a_run_does_not_hold_come_last_of_all() -> None:
    ranking = found([1, 2], total=10, relevant=4)
    assert ranking.all_ranks().tolist() == [1, 2, 9, 10]
    assert value("IR@1", ranking) == 1.0
    assert value("AP", ranking) == 0.5  # as trec_eval counts them
    assert value("AUIRC", ranking) == 22 - 5


@pytest.mark.parametrize(("ranks", "relevant", "total"), [([], 0, 5), ([1], 6, 5), ([1, 2, 3], 2, 5)])
def test_what_cannot_be_a_ranking_is_refused(ranks: list[int], relevant: int, total: int) -> None:
    with pytest.raises(ValueError, match="relevant among"):
        Found(np.array(ranks, dtype=np.int64), relevant, total)


def test_measures_are_values() -> None:
    measures: set[Measure] = {
        parse_measure("IR@0.5"),
        parse_measure("IR@0.50"),
        parse_measure("nAUIRC"),
        parse_measure("AUIRC"),
    }
    assert len(measures) == 3
    assert parse_measure("IR@0.5") == MEASURES["IR"](Fraction(1, 2))  # type: ignore[call-arg]
