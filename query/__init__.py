"""Queries by example: requests, the searcher, and rankings.

`examples/similar.py` uses them::

    searcher = Searcher(client, "fraud-7", "mobilenetv2", lambda: build_embedder(settings))
    query = Query((searcher.reference("suspect.jpg"),), find_distance("modified"), k=100)
    for hit in searcher.rank(query).hits:
        print(hit.rank, hit.distance, hit.paths)
"""

from simquery.pictures.augmentation import Augmentation, variants
from simquery.query.example import MAX_VECTORS, Combine, Example
from simquery.query.filters import Filters, Place
from simquery.query.formats import FORMATS, ranking_table
from simquery.query.ranking import Hit, Mode, Query, Ranking, Reference
from simquery.query.searcher import Searcher
from simquery.query.sheet import contact_sheet

__all__ = [
    "FORMATS",
    "MAX_VECTORS",
    "Augmentation",
    "Combine",
    "Example",
    "Filters",
    "Hit",
    "Mode",
    "Place",
    "Query",
    "Ranking",
    "Reference",
    "Searcher",
    "contact_sheet",
    "ranking_table",
    "variants",
]
