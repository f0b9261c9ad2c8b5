"""A statement that was read while something is computed: what it depends on is settled when the compute ends.

Rows that were looked for by key and all found are depended on one by one; of rows that were not found nobody knows
before the last one was fetched. So whoever fetches counts, and the recording asks at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cachefence_web.runtime.recording import recorder

if TYPE_CHECKING:  # whoever has statements to record has the parser, which is an extra
    from cachefence_web.sql import Parameters, Reads, Statement


class Open:
    """A statement that reads rows by key: the count of those that came back decides what it depends on.

    rows: how many were fetched so far; None: nobody counts.
    """

    __slots__ = ("reads", "rows", "source")

    def __init__(self, reads: Reads, source: str) -> None:
        self.reads = reads
        self.rows: int | None = 0
        self.source = source

    def tags(self) -> tuple[str, ...]:
        """What it depends on, as far as rows were fetched."""
        return self.reads.after(self.rows)

    def coarse(self) -> tuple[str, ...]:
        """The tables, for which the rows need not be known."""
        return self.reads.otherwise or self.reads.tags


def read(statement: Statement, parameters: Parameters, source: str) -> Open | None:
    """Record what a statement reads, if anything is computed here; Open if the rows it returns are to be counted.

    source: its text.
    """
    recording = recorder()
    if recording is None:
        return None
    reads = statement.reads(parameters)
    if reads.refusal is not None:
        recording.spoil(reads.refusal)
    if not reads.expected:
        recording.depend(reads.tags, source)
        return None
    found = Open(reads, source)
    recording.find(found)
    return found
