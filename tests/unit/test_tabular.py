import pytest

from simquery.tabular import safe_cell


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_text_that_a_spreadsheet_would_run_becomes_text(sign: str) -> None:
    assert safe_cell(f"{sign}cmd|'/C calc'!A0") == f"'{sign}cmd|'/C calc'!A0"


@pytest.mark.parametrize("value", ["/evidence/=1.jpg", "", "a=b", -1.5, 3, None, True])
def test_everything_else_stays_as_it_is(value: object) -> None:
    assert safe_cell(value) is value
