"""simquery as a library: rank a case by example, and look closer at what is near.

    python examples/similar.py fraud-7 mini suspect.jpg

The cluster is that of the settings (``SIMQUERY_URL`` …), or the local node when it runs.
"""

import sys

from simquery.cli.options import open_cluster
from simquery.distances import DISTANCES
from simquery.embedders import build_embedder
from simquery.query import Augmentation, Combine, Filters, Mode, Query, Searcher
from simquery.settings import load_settings


def main(case: str, model: str, picture: str) -> None:
    """Print what four queries find."""
    settings = load_settings(case=case, model=model)
    with open_cluster(settings) as client:
        # The network is built only where a reference is not in the case already.
        searcher = Searcher(client, case, model, lambda: build_embedder(settings))
        reference = searcher.reference(picture)

        # Every picture is scored: the evidential mode.
        ranking = searcher.rank(Query((reference,), DISTANCES["modified"], k=10, mode=Mode.EXACT))
        print(f"{ranking.matched} pictures ranked in {ranking.took_ms} ms")
        for hit in ranking.hits:
            print(f"{hit.rank:5} {hit.distance:.6f} {hit.facts.get('format')} {hit.paths[0]}")

        # One more round: like the reference and its nearest picture, unlike the farthest of the ten.
        near, far = (searcher.reference(ranking.hits[place].sha256) for place in (1, -1))
        refined = Query((reference, near), DISTANCES["pearson"], k=10, combine=Combine.MEAN, rejected=(far,))
        print("refined:", [hit.sha256[:8] for hit in searcher.rank(refined).hits])

        # Mirrored or turned copies too, large pictures only.
        variants = searcher.reference(picture, [Augmentation.FLIP, Augmentation.ROTATE])
        large = Query((variants,), DISTANCES["cosine"], k=10, filters=Filters(min_size=200))
        print("large:", [hit.sha256[:8] for hit in searcher.rank(large).hits])

        # The whole ranking, hit by hit, in constant memory.
        everything = searcher.hits(Query((reference,), DISTANCES["cosine"], k=None))
        print("all:", sum(1 for _ in everything))


if __name__ == "__main__":
    main(*sys.argv[1:])
