import logging
from pathlib import Path

import numpy as np
import pytest

from simquery.distances import DISTANCES
from simquery.query import Hit, Mode, Query, Ranking, Reference, contact_sheet
from tests.conftest import save_picture


def ranking(folder: Path, count: int) -> Ranking:
    picture = str(save_picture(folder / "a.png"))
    query = Query((Reference(picture, "a" * 64, np.ones((1, 3), np.float32)),), DISTANCES["cosine"], None)
    hits = tuple(Hit(rank, rank / 10, f"{rank:064x}", (picture,)) for rank in range(1, count + 1))
    return Ranking("c", "net", "f" * 64, query, Mode.EXACT, None, count, count, 1, hits)


def test_a_sheet_shows_so_many_hits_and_says_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("simquery.query.sheet.MOST_HITS", 10)
    caplog.set_level(logging.WARNING)
    whole, cut = contact_sheet(ranking(tmp_path, 10)), contact_sheet(ranking(tmp_path, 50_000))
    assert cut.height - whole.height == 20  # the line that says so
    assert [record.getMessage() for record in caplog.records] == ["The sheet shows the first 10 of 50,000 hits."]
