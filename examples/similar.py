"""Example of simquery as a library: rank a case by a picture, and refine the query.

    python examples/similar.py fraud-7 mini suspect.jpg

It uses the cluster in the settings (``SIMQUERY_URL`` …), or the local node if it is running.
"""

import sys

import simquery


def main(name: str, model: str, picture: str) -> None:
    """Print the hits of four queries."""
    with simquery.open_case(name, model=model) as case:
        # Every picture is scored: the evidential mode.
        ranking = case.query(picture, distance="modified", k=10, mode="exact")
        print(f"{ranking.matched} pictures ranked in {ranking.took_ms} ms")
        for hit in ranking:
            print(f"{hit.rank:5} {hit.distance:.6f} {hit.facts.get('format')} {hit.paths[0]}")

        # One more round: like the picture and its nearest hit, unlike the farthest of the ten.
        nearest, farthest = (ranking.hits[place].sha256 for place in (1, -1))
        refined = case.query(picture, nearest, rejected=[farthest], distance="pearson", combine="mean", k=10)
        print("refined:", [hit.sha256[:8] for hit in refined])

        # Mirrored or turned copies too, large pictures only.
        large = case.query(picture, augment=["flip", "rotate"], min_size=200, k=10)
        print("large:", [hit.sha256[:8] for hit in large])

        # The whole ranking, hit by hit, in constant memory.
        print("all:", sum(1 for _ in case.hits(case.prepare(picture, k=None))))


if __name__ == "__main__":
    main(*sys.argv[1:])
