import math
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from simquery.distances import DISTANCES, EPSILON, Distance, distance_of_score, find_distance, score_of_distance
from simquery.errors import QueryError

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def positive_pair(dims: int) -> st.SearchStrategy[Pair]:
    values = st.floats(0.125, 64.0, width=32)
    vector = arrays(np.float64, (1, dims), elements=values)
    return st.tuples(vector, vector)


def printed_in_the_thesis(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Compute the formula of section 2.4.4 literally: three dimensions, every component written out."""
    (x1, y1, z1), (x2, y2, z2) = a, b
    first = (abs(x1 - x2) ** 2 + abs(y1 - y2) ** 2 + abs(z1 - z2) ** 2) / ((x1 + y1 + z1) * (x2 + y2 + z2))
    dot = x1 * x2 + y1 * y2 + z1 * z2
    second = dot / math.sqrt((x1**2 + y1**2 + z1**2) * (x2**2 + y2**2 + z2**2)) - 1
    above = (
        abs(x1 - x2 - 2 * y1 + 2 * y2 + z1 - z2) ** 2
        + abs(2 * x1 - 2 * x2 - y1 + y2 - z1 + z2) ** 2
        + abs(x1 - x2 + y1 - y2 - 2 * z1 + 2 * z2) ** 2
    )
    below = (
        abs(2 * x1 - y1 - z1) ** 2
        + abs(x1 - 2 * y1 + z1) ** 2
        + abs(x1 + y1 - 2 * z1) ** 2
        + abs(2 * x2 - y2 - z2) ** 2
        + abs(x2 - 2 * y2 + z2) ** 2
        + abs(x2 + y2 - 2 * z2) ** 2
    )
    return first**2 + second**2 + above**2 / (4 * below**2)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("euclidean", "euclidean"),
        ("manhattan", "cityblock"),
        ("cosine", "cosine"),
        ("braycurtis", "braycurtis"),
        ("pearson", "correlation"),
    ],
)
@given(pair=positive_pair(12))
def test_standard_distances_agree_with_scipy(name: str, metric: Any, pair: Pair) -> None:
    if min(np.ptp(vector) for vector in pair) < 0.05 * max(vector.max() for vector in pair):
        return  # the correlation of a (nearly) constant vector is an edge of its own, tested below
    np.testing.assert_allclose(
        DISTANCES[name].between(*pair), np.maximum(cdist(*pair, metric), 0), rtol=1e-12, atol=1e-15
    )


@given(pair=positive_pair(3))
def test_modified_is_the_printed_formula_in_three_dimensions(pair: Pair) -> None:
    a, b = pair
    if min(np.ptp(a), np.ptp(b)) < 0.05 * max(a.max(), b.max()):
        return  # (nearly) constant vectors: the printed formula divides by zero, its edge is tested below
    expected = printed_in_the_thesis(a[0], b[0])
    np.testing.assert_allclose(DISTANCES["modified"].between(a, b), [[expected]], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", DISTANCES)
@given(pair=positive_pair(7))
def test_distances_are_symmetric_and_never_negative(name: str, pair: Pair) -> None:
    a, b = pair
    there, back = DISTANCES[name].between(a, b), DISTANCES[name].between(b, a)
    assert (there >= 0).all()
    np.testing.assert_allclose(there, back.T, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_vector_is_at_distance_zero_from_itself(name: str) -> None:
    vectors = np.random.default_rng(1).normal(1, 1, (5, 40))
    np.testing.assert_allclose(np.diag(DISTANCES[name].between(vectors, vectors)), 0, atol=1e-15)


def test_modified_stays_finite_where_components_cancel_out() -> None:
    cancelling = np.array([[1.0, -1.0, 2.0, -2.0]])
    others = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, -1.0, 2.0, -2.0]])
    far, itself = DISTANCES["modified"].between(cancelling, others)[0]
    assert np.isfinite(far)
    assert far > 1e6
    assert itself == pytest.approx(0, abs=1e-30)


def test_modified_of_two_constant_vectors_has_no_centred_term() -> None:
    ones, twos = np.ones((1, 9)), np.full((1, 9), 2.0)
    expected = (9 / (9 * 18)) ** 2
    np.testing.assert_allclose(DISTANCES["modified"].between(ones, twos), [[expected]], rtol=1e-12)


@pytest.mark.parametrize("distance", [0.0, 1e-9, 3.3e-6, 0.25, 1.0, 77.7, 1e5, 3e20])
def test_a_distance_survives_the_score_with_the_digits_of_float32(distance: float) -> None:
    score = float(np.float32(1.0 / (EPSILON + distance)))
    assert math.isfinite(score)
    assert distance_of_score(score) == pytest.approx(distance, rel=1.2e-7, abs=0)


def test_a_score_read_from_json_gives_exactly_zero_for_equal_vectors() -> None:
    assert distance_of_score(1.2676506e30) == 0.0


@pytest.mark.parametrize("distance", [0.0, 1e-9, 3.3e-6, 0.25, 1.0, 77.7, 1e5, 3e20])
def test_whatever_is_no_farther_has_at_least_the_score_of_the_distance(distance: float) -> None:
    assert float(np.float32(1.0 / (EPSILON + distance))) >= score_of_distance(distance)
    assert distance_of_score(score_of_distance(distance)) == pytest.approx(distance, rel=1.3e-7, abs=0)


def test_pearson_of_constant_vectors_is_decided() -> None:
    constant, other = np.full((1, 9), 2.0), np.arange(9.0)[np.newaxis]
    pearson = DISTANCES["pearson"]
    assert pearson.between(constant, 3 * constant) == 0.0
    assert pearson.between(constant, other) == pearson.between(other, constant) == 1.0


@pytest.mark.parametrize(("given_name", "name"), [("L2", "euclidean"), ("l1", "manhattan"), ("correlation", "pearson")])
def test_distances_are_found_by_their_aliases(given_name: str, name: str) -> None:
    assert find_distance(given_name).name == name


class Chebyshev(Distance):
    """A distance as another package would bring it."""

    name = "chebyshev"

    def between(self, references: Any, documents: Any) -> NDArray[np.float64]:
        return cdist(references, documents, "chebyshev")

    def call(self, i: int) -> str:
        return f"l1norm(params.q{i}, 'embedding')"


def test_an_installed_package_can_bring_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("chebyshev", f"{__name__}:Chebyshev", "simquery.distances"),
        EntryPoint("wrong", f"{__name__}:Pair", "simquery.distances"),
        EntryPoint("missing", "no.such.package:Distance", "simquery.distances"),
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: points)
    assert isinstance(find_distance("chebyshev"), Distance)
    for name in ("wrong", "missing"):
        with pytest.raises(QueryError, match=f"Distance '{name}'"):
            find_distance(name)
    with pytest.raises(QueryError, match=r"Choose from: cosine, .*, chebyshev, missing, wrong"):
        find_distance("hamming")
