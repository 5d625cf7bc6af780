"""Memory and disk that vectors need, by collection size and kind of index.

    python benchmarks/memory.py --dims 1536

The figures are computed, not measured, from what Elasticsearch keeps for each vector: 4 bytes per dimension as float;
1 byte per dimension plus 4 as int8; 1 bit per dimension plus 14 bytes as bbq; 4 bytes for each of 16 neighbours in the
graph. The floats always stay on the disk: they re-score candidates and serve exact search.
"""

import argparse

SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)
NEIGHBOURS = 16


def per_picture(dims: int) -> dict[str, float]:
    """Return the bytes per picture that must be in memory, so that a search does not wait for the disk."""
    graph = 4 * NEIGHBOURS
    return {
        "exact": 4 * dims,
        "hnsw": 4 * dims + graph,
        "int8_hnsw": dims + 4 + graph,
        "bbq_hnsw": dims / 8 + 14 + graph,
    }


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, default=1536, help="dimensions of the network (1536)")
    dims = parser.parse_args().dims
    kinds = per_picture(dims)
    print(f"| pictures | {' | '.join(kinds)} | floats on the disk |")
    print("|" + " --- |" * (len(kinds) + 2))
    for size in SIZES:
        cells = [f"{size * each / 2**30:,.1f} GiB" for each in (*kinds.values(), 4 * dims)]
        print(f"| {size:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
