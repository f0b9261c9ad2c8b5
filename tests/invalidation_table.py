"""The tables in docs/invalidation.md: what pages showed after each write, as the matrix tests have found it.

`python -m tests.invalidation_table --write docs/invalidation.md` runs those tests and puts what they find between the
page's markers. Whenever else they run, they compare what they find with what the page says.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "invalidation.md"
TESTS = ("tests/django_following/test_matrix.py", "tests/sqlalchemy_following/test_matrix.py")
COMMAND = "python -m tests.invalidation_table --write docs/invalidation.md"

KINDS = ("by pk", "by a pk not there yet", "unique field", "filtered list", "count", "aggregate", "join", "m2m",
         "reverse", "values", "raw", "other rows by pk")
WRONG, CHANGED, MADE, KEPT = "✗", "✓", "↻", "="
SEVEREST = WRONG + CHANGED + MADE + KEPT
DATABASES = ("SQLite", "PostgreSQL")

Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One page: what it was before the write and after it, what the database had by then, and whether it was a hit."""

    before: object
    after: object
    now: object
    hit: bool

    @property
    def symbol(self) -> str:
        """As the table shows it."""
        if self.after != self.now:
            return WRONG
        return CHANGED if self.before != self.now else KEPT if self.hit else MADE


def cells(pages: Mapping[str, Shown], kinds: Mapping[str, Iterable[str]]) -> Cells:
    """A row of the table: for each kind the severest symbol of its pages."""
    assert tuple(kinds) == KINDS
    assert sorted([name for names in kinds.values() for name in names]) == sorted(pages)
    return tuple([min([pages[name].symbol for name in kinds[kind]], key=SEVEREST.index) for kind in KINDS])


@dataclass
class Table:
    """The rows of one section, by write and database; `agrees` compares with them, or fills them if they are `open`."""

    rows: dict[str, dict[str, Cells]] = field(default_factory=dict)
    open: bool = False

    def agrees(self, write: str, database: str, found: Cells) -> None:
        """Whether the page says what was found."""
        if self.open:
            self.rows.setdefault(write, {}).setdefault(database, found)
        said = self.rows.get(write, {}).get(database)
        assert said == found, f"docs/invalidation.md says otherwise of {write!r}: {COMMAND}"

    def untried(self, write: str) -> None:
        """A write that the framework of this run does not have: the page keeps what it says of it."""
        self.rows.setdefault(write, {})

    def rendered(self) -> str:
        """Its lines; databases that agree share one."""
        lines = [f"| | {' | '.join(KINDS)} |", f"|---|{':-:|' * len(KINDS)}"]
        for write, row in self.rows.items():
            alike = len(row) == len(DATABASES) and len(set(row.values())) == 1
            lines += [f"| {write}{'' if alike else f' ({database})'} | {' | '.join(row[database])} |"
                      for database in (DATABASES[:1] if alike else DATABASES) if database in row]
        return "\n".join(lines) + "\n"

    @classmethod
    def parsed(cls, text: str) -> Table:
        """The rows that such lines tell."""
        table = cls()
        for line in text.splitlines()[2:]:
            name, *found = [cell.strip() for cell in line.strip("|").split("|")]
            said = re.fullmatch(rf"(.*) \(({'|'.join(DATABASES)})\)", name)
            row = table.rows.setdefault(said[1] if said else name, {})
            row.update(dict.fromkeys([said[2]] if said else DATABASES, tuple(found)))
        return table


def table(section: str) -> Table:
    """A section's table: the page's, or the one that is being made."""
    if section not in _tables:
        found = _between(section).search(DOCUMENT.read_text())
        _tables[section] = Table.parsed(found[2] if found else "")
    return _tables[section]


_tables: dict[str, Table] = {}


def _between(section: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {section}: made by the tests -->\n\n)(.*?)(\n<!-- end -->)", re.DOTALL)


def write(document: Path) -> int:
    """Run the tests, and put what they find into the document, where they all pass."""
    text = document.read_text()
    sections = re.findall(r"<!-- (\w+): made by the tests -->", text)
    before = {section: table(section).rows for section in sections}
    _tables.update({section: Table(open=True) for section in sections})
    status = pytest.main(["-q", "-p", "no:cacheprovider", *[str(ROOT / path) for path in TESTS]])
    for section in sections:
        made = table(section)
        made.rows = {name: row or before[section].get(name, {}) for name, row in made.rows.items()}
        if made.rows:
            found = _between(section).search(text)
            assert found is not None
            text = f"{text[:found.start(2)]}{made.rendered()}{text[found.end(2):]}"
    if status == pytest.ExitCode.OK:
        document.write_text(text)
    return int(status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, metavar="PAGE", required=True)
    # The module that the tests import, since its tables are to be filled.
    sys.exit(import_module("tests.invalidation_table").write(parser.parse_args().write))
