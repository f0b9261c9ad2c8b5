"""What was measured, as values, and how it is shown: on a screen, in a file for machines, in the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
"""Between these two lines of the documentation the numbers stand; all else in it is written by hand."""

PACKAGES = (
    "cachefence-web", "redis", "hiredis", "msgspec", "aiocache", "async-cache", "cachefence", "cashews",
    "dogpile.cache", "Django", "SQLAlchemy", "psycopg", "sqlglot",
)


@dataclass(frozen=True, slots=True)
class Bar:
    """What is to be reached; `limit` is the least if `at_least`, else the most."""

    what: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One contender's numbers, one for each column of its measure."""

    who: str
    numbers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """One question, and how each contender answered it. `note` says what the reader must know to judge."""

    name: str
    title: str
    columns: tuple[str, ...]
    figures: tuple[Figure, ...]
    bars: tuple[Bar, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and with what it was measured."""

    machine: str
    python: str
    server: str
    packages: tuple[tuple[str, str], ...]
    load: float
    full: bool

    @classmethod
    def here(cls, server: str, *, full: bool) -> Setting:
        """This machine, now."""
        machine = f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
        packages = tuple((name, _version(name)) for name in PACKAGES)
        return cls(machine, f"{platform.python_implementation()} {platform.python_version()}", server, packages,
                   os.getloadavg()[0], full)

    def lines(self) -> Iterable[str]:
        """What the reader must know to repeat it."""
        yield f"{self.machine}; load {self.load:.1f} at the start"
        yield f"{self.python}, {self.server}; " + ", ".join(f"{name} {number}" for name, number in self.packages)


def show(console: Console, measure: Measure) -> None:
    """A measure as a table, its bars below it."""
    table = Table(title=measure.title, title_justify="left", title_style="bold", caption=measure.note or None,
                  caption_justify="left")
    table.add_column("")
    for column in measure.columns:
        table.add_column(column, justify="right")
    for figure in measure.figures:
        table.add_row(figure.who, *map(number, figure.numbers))
    console.print(table)
    for bar in measure.bars:
        console.print(f"  {'[green]met' if bar.met else '[red]not met'}[/]  {_sentence(bar)}", highlight=False)
    console.print()


def show_bars(console: Console, measures: Sequence[Measure]) -> None:
    """All bars at a glance."""
    bars = [bar for measure in measures for bar in measure.bars]
    if bars:
        console.print(f"{sum(bar.met for bar in bars)} of {len(bars)} bars met", style="bold")


def as_json(setting: Setting, measures: Sequence[Measure]) -> dict[str, Any]:
    """All of it for machines."""
    found = [asdict(measure) for measure in measures]
    for raw, measure in zip(found, measures, strict=True):
        raw["bars"] = [{**asdict(bar), "met": bar.met} for bar in measure.bars]
    return {"setting": asdict(setting), "measures": found}


def write_into(document: Path, setting: Setting, measures: Sequence[Measure]) -> None:
    """Put the numbers between the two marks of a document.

    Raises:
        ValueError: it does not have them; add both lines where the numbers belong.
    """
    before, begun, rest = document.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{document} lacks the lines {BEGIN} and {END}: add them where the numbers belong")
    document.write_text(f"{before}{BEGIN}\n\n{_markdown(setting, measures)}\n{END}{after}")


def number(value: float) -> str:
    """A number with the digits that a measurement has."""
    if value != value:  # not a number: nothing to be measured here
        return "–"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _markdown(setting: Setting, measures: Sequence[Measure]) -> str:
    parts = ["\n".join(f"{line}.  " for line in setting.lines()), ""]
    bars = [(measure, bar) for measure in measures for bar in measure.bars]
    if bars:
        parts += ["| bar | asked | measured | |", "|---|---:|---:|---|"]
        parts += [f"| {bar.what} | {'≥' if bar.at_least else '≤'} {number(bar.limit)} | {number(bar.measured)} "
                  f"| {'met' if bar.met else '**not met**'} |" for _, bar in bars]
        parts.append("")
    for measure in measures:
        parts += [f"### {measure.title}", ""]
        parts += [f"| | {' | '.join(measure.columns)} |", f"|---|{'---:|' * len(measure.columns)}"]
        parts += [f"| {figure.who} | {' | '.join(map(number, figure.numbers))} |" for figure in measure.figures]
        parts += ["", measure.note, ""] if measure.note else [""]
    return "\n".join(parts)


def _sentence(bar: Bar) -> str:
    asked = f"at {'least' if bar.at_least else 'most'} {number(bar.limit)}"
    return f"{bar.what}: {number(bar.measured)} (asked: {asked})"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
