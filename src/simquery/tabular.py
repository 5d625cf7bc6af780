"""Cells of CSV files that spreadsheets open: text from evidence must not act as a formula there."""

__all__ = ["safe_cell"]

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(value: object) -> object:
    """Value to write into a cell; text that a spreadsheet would run as a formula gets a leading apostrophe.

    Spreadsheets run a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return (OWASP, "CSV
    Injection"). Numbers, and anything else that is not text, stay what they are.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_SIGNS) else value
