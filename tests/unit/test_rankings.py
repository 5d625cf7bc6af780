"""The fast forms of the distances against their definitions, and the order that they give."""

import numpy as np
import pytest
from numpy.typing import NDArray

from simquery.distances import DISTANCES
from simquery.evaluation import rankings
from simquery.evaluation.rankings import distances_to, order_of

NONE = np.array([], dtype=np.int64)


def features(seed: int, count: int, dims: int = 64, scale: float = 1.0) -> NDArray[np.float32]:
    """Like a network's pooled features: never negative, many small, some zero."""
    values = np.random.default_rng(seed).gamma(0.4, 1.0, (count, dims)) * scale
    return np.where(values < 0.02 * scale, 0, values).astype(np.float32)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_blocked_products_give_what_the_distance_itself_gives(
    name: str, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankings, "_BLOCK_BYTES", 64 * 8 * 37)  # blocks of 37 documents
    references, documents = features(1, 5, scale=scale), features(2, 200, scale=scale)
    documents[3] = references[0]
    expected = DISTANCES[name].between(references, documents)
    got = distances_to(DISTANCES[name], references, documents)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9 * float(np.median(expected)))
    assert got[0, 3] <= 1e-9 * float(np.median(expected))


@pytest.mark.parametrize("name", DISTANCES)
def test_vectors_at_the_edges_of_a_definition_get_what_the_definition_says(name: str) -> None:
    documents = features(3, 20)
    documents[4] = np.tile([1.0, -1.0], 32)  # its sum is 0
    documents[5] = 1.0  # constant
    expected = DISTANCES[name].between(documents[3:6], documents)
    got = distances_to(DISTANCES[name], documents[3:6], documents)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9 * float(np.median(expected)))


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_vectors_tie_and_stand_in_the_order_of_their_ids(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankings, "_BLOCK_BYTES", 64 * 8 * 7)
    documents = np.tile(features(4, 6), (5, 1))  # each vector five times, in different places of blocks
    distances = distances_to(DISTANCES[name], features(5, 1), documents)[0]
    for row in range(6):
        assert len(set(distances[row::6].tolist())) == 1
    order = order_of(distances, NONE).tolist()
    assert order == sorted(range(30), key=lambda row: (distances[row], row))


def test_what_is_left_out_is_not_ranked() -> None:
    distances = np.array([0.0, 0.3, 0.1, 0.1], dtype=np.float32)
    assert order_of(distances, np.array([0])).tolist() == [2, 3, 1]
    assert order_of(distances, np.array([0, 3])).tolist() == [2, 1]
