"""What a statement reads and writes, as tags: from its text, its parameters and what is known of its tables.

`Analyser(...).analyse(text)` gives a `Statement`, remembered for each distinct text; with the parameters it tells what
it `reads` and `writes`. Nothing here looks at a database. Where there is doubt, more is invalidated, or nothing stored.
"""

from cachefence_web.sql.analysing import Analyser
from cachefence_web.sql.facts import Kind
from cachefence_web.sql.lexing import Dialect, Paramstyle
from cachefence_web.sql.rows import Parameters
from cachefence_web.sql.schema import Exact, Routine, Schema, Table, folded
from cachefence_web.sql.statement import Reads, Statement

__all__ = [
    "Analyser",
    "Dialect",
    "Exact",
    "Kind",
    "Parameters",
    "Paramstyle",
    "Reads",
    "Routine",
    "Schema",
    "Statement",
    "Table",
    "folded",
]
