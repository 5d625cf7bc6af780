import json

import pytest

from simquery.indexer.texts import fitting, with_fitting_texts

LUCENE = 32_766


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}", "\N{GRINNING FACE}", "\udcff"])
def test_every_text_fits_into_the_index_and_is_unicode(letter: str) -> None:
    for count in (1, 1_999, 2_000, 8_000, 8_001, 100_000):
        assert len(fitting(letter * count).encode("utf-8")) <= LUCENE


def test_what_fits_stays_as_it_is_and_cutting_twice_changes_nothing() -> None:
    assert fitting("x" * 8_000) == "x" * 8_000
    cut = fitting("x" * 8_001)
    assert cut.endswith("x …")
    assert fitting(cut) == cut


def test_texts_in_lists_are_cut_and_fields_that_are_no_keywords_are_not() -> None:
    document = {"labels": ["x" * 9_000], "thumbnail": "y" * 9_000, "size": 3}
    fitted = with_fitting_texts(document, without=frozenset({"thumbnail"}))
    assert len(fitted["labels"][0]) == 8_000
    assert (fitted["thumbnail"], fitted["size"]) == (document["thumbnail"], 3)
    json.dumps(fitted).encode("utf-8")
