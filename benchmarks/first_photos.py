"""Precision at 10 on a folder of classes, through the whole path, with the first photo of each class as the reference.

Run against the local node or the cluster of the settings::

    simquery up
    python benchmarks/first_photos.py ../shared/data/caltech101 --model mobilenetv2

The photos are indexed into a temporary case, which is deleted at the end. The reference does not count as a hit. The
folder names are the only judgements.
"""

import argparse
import json
import sys
import time
import uuid
from pathlib import Path

import numpy as np

from simquery.connection import open_cluster
from simquery.distances import DISTANCES
from simquery.embedders import build_embedder
from simquery.indexer import Indexer, check_folder, scan
from simquery.query import Query, Ranking, Searcher
from simquery.settings import load_settings

K = 10


def precision(ranking: Ranking, label: str) -> float:
    """Return the share of the first `K` hits, without the reference, that lie in the reference's folder."""
    reference = ranking.references[0].sha256
    hits = [hit for hit in ranking.hits if hit.sha256 != reference][:K]
    return sum(Path(hit.paths[0]).parent.name == label for hit in hits) / K


def main() -> None:
    """Index, query and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder with one folder for each class")
    parser.add_argument("--model")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings = load_settings(model=arguments.model, case=f"bench-{uuid.uuid4().hex[:8]}")
    folder = check_folder(arguments.photos)
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    embedder = build_embedder(settings)
    with open_cluster(settings, as_administrator=True) as client:
        try:
            started = time.monotonic()
            indexer = Indexer(client, settings.case, embedder)
            indexer.index(scan(folder), lambda counts: print(counts.seen, end="\r", file=sys.stderr))
            seconds = time.monotonic() - started
            searcher = Searcher(client, settings.case, embedder.name, lambda: embedder)
            values: dict[str, list[float]] = {name: [] for name in DISTANCES}
            for path in classes:
                reference = searcher.reference(min(path.iterdir()))
                for name, distance in DISTANCES.items():
                    values[name].append(precision(searcher.rank(Query((reference,), distance, K + 1)), path.name))
        finally:
            client.indices.delete(
                index=f"simquery-files-{settings.case},simquery-images-{settings.case}-{embedder.name}"
            )
    counts = indexer.counts
    report = {
        "model": embedder.name,
        "pictures": counts.indexed,
        "classes": len(classes),
        "files_per_second": round(counts.seen / seconds, 1),
        "precision_at_10": {name: round(float(np.mean(each)), 4) for name, each in values.items()},
    }
    if arguments.json:
        print(json.dumps(report))
        return
    print(f"{report['model']}: {report['pictures']} pictures, {report['files_per_second']} files/s")
    for name, mean in report["precision_at_10"].items():
        print(f"  P@{K} {name:10} {mean:.3f}")


if __name__ == "__main__":
    main()
