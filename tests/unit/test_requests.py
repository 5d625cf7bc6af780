import json
import re
from typing import Any

import numpy as np
import pytest

from simquery.distances import DISTANCES
from simquery.errors import QueryError
from simquery.query import Combine, Example
from simquery.query.requests import approximate_search, exact_search

REFERENCES = np.array([[0.5, 1.5, 2.0], [1.0, 0.0, 3.0]], dtype=np.float32)
EXAMPLE = Example.of([REFERENCES[:1], REFERENCES[1:]])
COSINE = DISTANCES["cosine"]


def script(example: Example, name: str = "modified") -> dict[str, Any]:
    found: dict[str, Any] = exact_search(example, DISTANCES[name], 10)["query"]["script_score"]["script"]
    return found


@pytest.mark.parametrize("name", DISTANCES)
def test_each_reference_has_its_own_place_in_the_script(name: str) -> None:
    made = script(EXAMPLE, name)
    assert re.findall(r"params\.q(\d)", made["source"]) == ["0", "1"]
    assert made["params"]["q1"] == [1.0, 0.0, 3.0]


def test_norm_and_sum_are_those_of_the_reference() -> None:
    parameters = script(EXAMPLE)["params"]
    assert parameters["norm1"] == pytest.approx(10**0.5)
    assert parameters["sum0"] == 4.0
    assert parameters["dims"] == 3


def test_equal_distances_are_ordered_by_content() -> None:
    assert exact_search(EXAMPLE, COSINE, 10)["sort"] == [{"_score": "desc"}, {"sha256": "asc"}]


def test_the_request_carries_the_vector_without_loss() -> None:
    vector = np.random.default_rng(2).normal(size=(1, 50)).astype(np.float32)
    request = json.loads(json.dumps(script(Example.of([vector]), "euclidean")))
    sent = np.array(request["params"]["q0"], dtype=np.float32)
    np.testing.assert_array_equal(sent, vector[0])


def test_the_mean_of_the_features_is_one_vector() -> None:
    example = Example.of([REFERENCES[:1], REFERENCES[1:]], combine=Combine.FEATURES)
    np.testing.assert_array_equal(example.vectors, [[0.75, 0.75, 2.5]])


def test_any_number_of_references_fits_when_their_features_are_averaged() -> None:
    many = list(np.ones((65, 1, 3), np.float32))
    with pytest.raises(QueryError, match="at most 64"):
        Example.of(many)
    assert len(Example.of(many, combine=Combine.FEATURES).vectors) == 1


def test_an_approximate_search_filters_inside_the_graph_and_asks_it_for_each_wanted_vector() -> None:
    example = Example.of([REFERENCES], [REFERENCES[:1]])
    clause = {"terms": {"format": ["JPEG"]}}
    query = approximate_search(example, COSINE, 10, 250, [clause])["query"]["script_score"]["query"]
    graph = [part["knn"] for part in query["bool"]["should"]]
    assert [part["query_vector"] for part in graph] == REFERENCES.tolist()
    assert all(part["filter"] == [clause] and part["k"] == part["num_candidates"] == 250 for part in graph)
