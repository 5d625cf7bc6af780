"""Real photographs through all steps: similar ones come first."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from elasticsearch import Elasticsearch

from simquery.distances import DISTANCES
from simquery.embedders import Embedder
from simquery.indexer import Counts
from simquery.query import Query, Searcher
from tests.server.conftest import MODEL

CLASSES = ("Motorbikes", "airplanes", "car_side", "dollar_bill", "grand_piano", "stop_sign", "sunflower", "watch")
OF_EACH = 15
K = 10


def test_photos_of_the_same_class_come_first(
    client: Elasticsearch,
    case: str,
    index: Callable[[Path], Counts],
    embedder: Embedder,
    photos: Path,
    tmp_path: Path,
) -> None:
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for photo in sorted((photos / name).iterdir())[:OF_EACH]:
            shutil.copy(photo, tmp_path / name)
    assert index(tmp_path).indexed == len(CLASSES) * OF_EACH
    searcher = Searcher(client, case, MODEL, lambda: embedder)
    for distance in DISTANCES.values():
        precisions = []
        for name in CLASSES:
            reference = searcher.reference(min((tmp_path / name).iterdir()))
            hits = searcher.rank(Query((reference,), distance, K + 1)).hits[1:]
            precisions.append(sum(Path(hit.paths[0]).parent.name == name for hit in hits) / K)
        # By chance it would be 1/8.
        assert np.mean(precisions) > 0.6, (distance.name, precisions)
