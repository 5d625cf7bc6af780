"""Intervals, tests and the sentences about them."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import permutation_test

from simquery.evaluation.statistics import Comparison, compare, conclusion, confidence_intervals

EACH = [str(number) for number in range(40)]


def confidence_interval(values: NDArray[np.float64], groups: Sequence[str], seed: int) -> tuple[float, float]:
    (interval,) = confidence_intervals(values[:, np.newaxis], groups, seed)
    return interval


def test_the_interval_is_that_of_the_normal_distribution_where_that_holds() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    low, high = confidence_interval(values, [str(i) for i in range(400)], seed=0)
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert confidence_interval(values, [str(i) for i in range(400)], seed=0) == (low, high)


def test_references_of_one_class_do_not_count_as_independent() -> None:
    classes = np.random.default_rng(2).normal(size=20)
    values = np.repeat(classes, 10)
    together = confidence_interval(values, np.repeat(np.arange(20).astype(str), 10).tolist(), seed=0)
    apart = confidence_interval(values, [str(i) for i in range(200)], seed=0)
    assert together[1] - together[0] > 2.5 * (apart[1] - apart[0])


def test_a_single_class_is_resampled_by_its_references() -> None:
    low, high = confidence_interval(np.arange(30.0), ["only"] * 30, seed=0)
    assert low < 14.5 < high


def test_values_that_are_missing_take_no_part() -> None:
    values = np.array([1.0, np.nan, 3.0])
    assert confidence_interval(values, ["a", "b", "c"], 0) == (1.0, 3.0)


def test_a_single_reference_has_an_interval_of_its_own_value() -> None:
    assert confidence_interval(np.array([0.5]), ["only"], seed=0) == (0.5, 0.5)


def test_a_single_reference_shows_no_difference() -> None:
    assert compare({"a": np.array([0.5]), "b": np.array([0.2])}, ["only"], seed=0) == [
        Comparison("a", "b", pytest.approx(0.3), 1.0)  # type: ignore[arg-type]
    ]


def test_columns_have_the_intervals_that_they_have_alone() -> None:
    values = np.random.default_rng(4).normal(size=(40, 3))
    alone = [confidence_interval(column, EACH, seed=1) for column in values.T]
    np.testing.assert_allclose(confidence_intervals(values, EACH, seed=1), alone)


def test_whole_classes_change_sides() -> None:
    differences = np.random.default_rng(9).normal(0.3, 1, 12)
    names = [str(number) for number in range(12)]
    each, repeated = np.zeros(12), np.zeros(120)
    (alone,) = compare({"a": each + differences, "b": each}, names, seed=0)
    (ten,) = compare({"a": repeated + np.repeat(differences, 10), "b": repeated}, np.repeat(names, 10).tolist(), seed=0)
    assert ten.p == alone.p > 0.05
    assert compare({"a": repeated + np.repeat(differences, 10), "b": repeated}, EACH * 3, seed=0)[0].p != ten.p


def test_the_p_value_is_that_of_scipys_permutation_test() -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(0.0, 1, 40), random.normal(0.35, 1, 40)
    expected = permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", n_resamples=20_000, rng=4
    ).pvalue
    (comparison,) = compare({"a": a, "b": b}, EACH, seed=5)
    assert comparison.p == pytest.approx(expected, abs=0.01)
    assert comparison.difference == pytest.approx(float((a - b).mean()))


def test_several_comparisons_are_corrected_as_holm_says() -> None:
    random = np.random.default_rng(6)
    base = random.normal(size=40)
    values = {"a": base, "b": base + random.normal(0.4, 1, 40), "c": base + random.normal(0.2, 1, 40)}
    alone = {
        (x, y): compare({x: values[x], y: values[y]}, EACH, seed=7)[0].p
        for x, y in (("a", "b"), ("a", "c"), ("b", "c"))
    }
    together = {(each.first, each.second): each.p for each in compare(values, EACH, seed=7)}
    expected, before = {}, 0.0
    for factor, (pair, p) in zip((3, 2, 1), sorted(alone.items(), key=lambda item: item[1]), strict=True):
        before = max(before, p * factor)
        expected[pair] = min(before, 1.0)
    for pair, p in together.items():
        assert p == pytest.approx(expected[pair], abs=0.03)


def test_equal_candidates_are_not_told_apart() -> None:
    values = np.random.default_rng(8).normal(size=40)
    (comparison,) = compare({"a": values, "b": values.copy()}, EACH, seed=0)
    assert comparison.p == 1.0


def test_the_verdict_says_who_beats_whom_and_who_is_not_told_apart() -> None:
    candidates = {"cosine": np.full(4, 0.026), "manhattan": np.full(4, 0.077), "modified": np.full(4, 0.022)}
    comparisons = [
        Comparison("cosine", "manhattan", -0.051, 0.0003),
        Comparison("cosine", "modified", 0.004, 0.21),
        Comparison("manhattan", "modified", 0.055, 0.0004),
    ]
    assert conclusion(candidates, comparisons, measure="nAUIRC", higher_is_better=False) == [
        "Mean nAUIRC (lower is better): modified 0.0220, cosine 0.0260, manhattan 0.0770.",
        "modified beats manhattan (p < 0.001).",
        "cosine beats manhattan (p < 0.001).",
        "These references show no difference between modified and cosine (p = 0.21).",
    ]
