import datetime as dt

import pytest

from simquery.errors import QueryError
from simquery.query import Filters, Place
from simquery.query.filters import period


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2019", dt.date(2019, 1, 1), dt.date(2020, 1, 1)),
        ("2019-2", dt.date(2019, 2, 1), dt.date(2019, 3, 1)),
        ("2020-02", dt.date(2020, 2, 1), dt.date(2020, 3, 1)),
        (" 2019-12-31 ", dt.date(2019, 12, 31), dt.date(2020, 1, 1)),
    ],
)
def test_a_date_is_the_whole_year_month_or_day(text: str, first: dt.date, after: dt.date) -> None:
    assert period(text) == (first, after)


@pytest.mark.parametrize("text", ["", "yesterday", "19", "2019-13", "2019-02-30", "2019/05", "0000", "9999-12-31"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="is not a date"):
        period(text)


def test_dates_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(QueryError, match="is after the last date"):
        Filters(since="2020", until="2019").clauses()


@pytest.mark.parametrize("text", ["", "52,4", "52,4,10,1", "a,b,c", "91,0,1", "0,181,1", "0,0,0", "0,0,inf", "nan,0,1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="is not a place"):
        Place.parse(text)


@pytest.mark.parametrize("pattern", ["[", "a[", "a[]", "[!]", "a[b"])
def test_a_broken_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(QueryError, match=r"has a .\[. without a"):
        Filters(path=pattern).clauses()


def test_no_condition_is_no_clause() -> None:
    assert Filters().clauses() == []


def test_signs_with_a_meaning_in_regular_expressions_stand_for_themselves() -> None:
    (clause,) = Filters(path=r'/a.b+(c){d}|"e\\f?*[xy]').clauses()
    assert clause["regexp"]["paths"]["value"] == r"/a\.b\+\(c\)\{d\}\|\"e\\\\f..*[xy]"


def test_a_pattern_without_brackets_is_a_wildcard_in_which_a_backslash_stands_for_itself() -> None:
    (clause,) = Filters(path=r'/a.b+(c){d}|"e\\f?*').clauses()
    assert clause["wildcard"]["paths"]["value"] == r'/a.b+(c){d}|"e\\\\f?*'
