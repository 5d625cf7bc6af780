"""Queries by example: request builders, the searcher, and what a ranking looks like."""

from simquery.query.ranking import Hit, Ranking, Reference
from simquery.query.requests import MAX_REFERENCES
from simquery.query.results import Saved, save_ranking
from simquery.query.searcher import Searcher
from simquery.query.sheet import contact_sheet
from simquery.query.table import ranking_table

__all__ = [
    "MAX_REFERENCES",
    "Hit",
    "Ranking",
    "Reference",
    "Saved",
    "Searcher",
    "contact_sheet",
    "ranking_table",
    "save_ranking",
]
