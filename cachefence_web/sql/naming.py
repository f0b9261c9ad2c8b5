"""What tables and rows are called: two values that the database takes for one give one name, or none at all.

A row's name is `book:42`; every row of a statement that does not tell its rows is `book:*`, the table `book`, and
everything that ever came from SQL `db:*`. Whatever could be taken for the end of a part is percent-encoded.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias
from urllib.parse import quote
from uuid import UUID

from cachefence_web.sql.schema import Exact

Value: TypeAlias = object
"""A parameter, as it is given to the driver."""

MOST_ROWS = 1000
"""So many rows a statement may name; above it, it is a statement about the table."""

# MySQL compares an integer with a text as doubles: beyond these digits one text equals several integers.
_EXACT_DIGITS = 15
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1  # no integer column holds more
_SAFE = "!$&'()+;=@^~|"


def table_name(table: str) -> str:
    """A table as a tag may have it; one that is plain already, as nearly all are, stays what it is."""
    return table if table.isidentifier() and table.isascii() else quote(table, safe=_SAFE, errors="surrogatepass")


def column_name(value: Value, exact: Exact) -> str | None:
    """One value of a key in a row's name, or None if it does not say exactly which row is meant.

    Types are compared exactly, not their descendants: what a driver makes of an enum or of a text of the
    framework's is the driver's secret.
    """
    kind = type(value)
    if exact is Exact.INTEGER:
        return _integer(value)
    if exact is Exact.TEXT:
        return quote(value, safe=_SAFE, errors="surrogatepass") if isinstance(value, str) and kind is str else None
    return _uuid(value)


def _integer(value: Value) -> str | None:
    if type(value) is int:
        return str(value) if _LEAST <= value <= _MOST else None
    if type(value) is str:
        digits = value.removeprefix("-")
        plain = digits.isascii() and digits.isdigit() and len(digits) <= _EXACT_DIGITS
        return value if plain and str(int(value)) == value else None
    if type(value) is Decimal and value.is_finite() and value == value.to_integral_value():
        return str(int(value)) if _LEAST <= value <= _MOST else None
    return None


def _uuid(value: Value) -> str | None:
    try:
        if type(value) is UUID:
            return value.hex
        if type(value) is str and len(value) <= len("{urn:uuid:00000000-0000-0000-0000-000000000000}"):
            return UUID(value).hex
        if type(value) is bytes:
            return UUID(bytes=value).hex
    except ValueError:
        pass
    return None
