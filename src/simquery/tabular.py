"""Safe cells for CSV files: text from evidence must not act as a formula in a spreadsheet."""

__all__ = ["safe_cell"]

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")


def safe_cell(value: object) -> object:
    """Return the value to write into a cell; text that a spreadsheet would run as a formula gets an apostrophe first.

    Spreadsheets run a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return (OWASP, "CSV
    Injection"). Numbers, and anything else that is not text, stay unchanged.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_SIGNS) else value
