"""Time to rank and judge the main experiment of the thesis, once the feature vectors exist.

The experiment has the size of Caltech-256 and the dimensions of the six networks (thesis, section 3.2), with random
features::

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --pictures 9144 --several 5

It needs no pictures, weights or cluster.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from simquery.distances import DISTANCES
from simquery.embedders.networks import NETWORKS
from simquery.evaluation.dataset import Dataset, LabelledPicture
from simquery.evaluation.harness import Judge, rank_all
from simquery.evaluation.measures import DEFAULT_MEASURES
from simquery.evaluation.run import THESIS_DISTANCES
from simquery.evaluation.tables import summarise
from simquery.evaluation.topics import draw_topics

THESIS = ("xception", "vgg16", "vgg19", "resnet50", "inceptionresnetv2", "nasnetlarge")
KIBIBYTES_PER_GIBIBYTE = 1 << 20


def main() -> None:
    """Rank, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=30_607)
    parser.add_argument("--classes", type=int, default=257)
    parser.add_argument("--references", type=int, default=100)
    parser.add_argument("--several", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pictures = tuple(
        LabelledPicture(f"{row:064x}", Path(f"{row}.jpg"), (f"{row}.jpg",), (f"{row % arguments.classes:03}",))
        for row in range(arguments.pictures)
    )
    dataset = Dataset("random", pictures)
    queries = draw_topics(dataset, arguments.references, 0, arguments.several)
    judge = Judge(dataset, queries, DEFAULT_MEASURES)
    random = np.random.default_rng(0)
    seconds = {}
    for name in THESIS:
        vectors = random.standard_normal((arguments.pictures, NETWORKS[name].dims), dtype=np.float32)
        np.maximum(vectors, 0, out=vectors)
        started = time.monotonic()
        for distance in THESIS_DISTANCES:
            for ranked in rank_all(name, DISTANCES[distance], vectors, queries):
                judge.add(ranked)
        seconds[name] = round(time.monotonic() - started, 1)
    started = time.monotonic()
    summarise(judge.results(), 0)
    report = {
        "pictures": arguments.pictures,
        "references": len(queries),
        "several": arguments.several,
        "distances": THESIS_DISTANCES,
        "seconds": seconds,
        "summary_seconds": round(time.monotonic() - started, 1),
        "total_seconds": round(sum(seconds.values()), 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIBIBYTES_PER_GIBIBYTE, 2),
    }
    if arguments.json:
        print(json.dumps(report))
        return
    for key, value in report.items():
        print(f"{key:16} {value}")


if __name__ == "__main__":
    main()
