import json
import re

import numpy as np
import pytest

from simquery.distances import DISTANCES
from simquery.query.requests import exact_search

REFERENCES = np.array([[0.5, 1.5, 2.0], [1.0, 0.0, 3.0]], dtype=np.float32)


@pytest.mark.parametrize("name", DISTANCES)
def test_each_reference_has_its_own_place_in_the_script(name: str) -> None:
    script = exact_search(DISTANCES[name], REFERENCES, 10)["query"]["script_score"]["script"]
    assert re.findall(r"params\.q(\d)", script["source"]) == ["0", "1"]
    assert script["params"]["q1"] == [1.0, 0.0, 3.0]


def test_norm_and_sum_are_those_of_the_reference() -> None:
    parameters = exact_search(DISTANCES["modified"], REFERENCES, 10)["query"]["script_score"]["script"]["params"]
    assert parameters["norm1"] == pytest.approx(10**0.5)
    assert parameters["sum0"] == 4.0
    assert parameters["dims"] == 3


def test_equal_distances_are_ordered_by_content() -> None:
    assert exact_search(DISTANCES["cosine"], REFERENCES, 10)["sort"] == [{"_score": "desc"}, {"sha256": "asc"}]


def test_the_request_carries_the_vector_without_loss() -> None:
    vector = np.random.default_rng(2).normal(size=(1, 50)).astype(np.float32)
    request = json.loads(json.dumps(exact_search(DISTANCES["euclidean"], vector, 1)))
    sent = np.array(request["query"]["script_score"]["script"]["params"]["q0"], dtype=np.float32)
    np.testing.assert_array_equal(sent, vector[0])
