"""What is seen: a board while the demo runs, a table when it is over, and the same table as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from cachefence_web.demo.report import Burst, Finding, Report, Save, Step, counted
from cachefence_web.demo.run import Plan
from cachefence_web.demo.scenario import EXAMPLES, Framework
from cachefence_web.demo.servers import shown

GOOD, BAD, COSTLY, ACCENT, QUIET = "bold green", "bold red", "yellow", "bold cyan", "bright_black"
PICTURE_WIDTH = 84

STEPS = {
    Step.UNCACHED: "without the cache",
    Step.COLD: "with it, the page cold",
    Step.SAVE: "a save, the next request",
    Step.AGAIN: "another save",
}


@dataclass(frozen=True, slots=True)
class _Doing:
    what: str


@dataclass(frozen=True, slots=True)
class _Counting:
    answers: int
    clients: int


_State = _Doing | _Counting | Burst | Save


class Board:
    """The live view of a run: four lines for each framework, told by the story as it goes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._states: dict[tuple[Framework, Step], _State] = {}
        self._spinner = Spinner("dots", style=ACCENT)

    def doing(self, framework: Framework, step: Step, what: str) -> None:
        """Show what is waited for."""
        self._states[framework, step] = _Doing(what)

    def answered(self, framework: Framework, step: Step, answers: int, clients: int) -> None:
        """Move the burst's bar."""
        self._states[framework, step] = _Counting(answers, clients)

    def done(self, framework: Framework, step: Step, outcome: Burst | Save) -> None:
        """Put the numbers in the bar's place."""
        self._states[framework, step] = outcome

    def __rich__(self) -> RenderableType:
        """The board as it stands now."""
        lanes = [self._lane(framework) for framework in self._plan.frameworks]
        return Group(heading(self._plan.store, self._plan.workers), "", *lanes)

    def _lane(self, framework: Framework) -> RenderableType:
        example = EXAMPLES[framework]
        grid = Table.grid(Column(width=2), Column(width=25), Column(), padding=(0, 1))
        begun = any(place == framework for place, _ in self._states)
        style = "bold" if begun else QUIET
        grid.add_row("", Text(example.label, style=style), Text(example.server, style=QUIET))
        for step, name in STEPS.items():
            state = self._states.get((framework, step))
            grid.add_row(self._mark(step, state), Text(name, style="" if state else QUIET), self._news(state))
        return Padding(grid, (0, 1, 1, 1))

    def _mark(self, step: Step, state: _State | None) -> RenderableType:
        match state:
            case None:
                return Text(" ·", style=QUIET)
            case _Doing() | _Counting():
                return Padding(self._spinner, (0, 0, 0, 1))
            case Burst():
                return Text(" ✔", style=GOOD) if step is Step.UNCACHED else _tick(_kept(state))
            case Save():
                return _tick(state.shown)
            case _:
                assert_never(state)

    def _news(self, state: _State | None) -> RenderableType:
        match state:
            case None:
                return ""
            case _Doing(what):
                return Text(f"{what} …", style=QUIET)
            case _Counting(answers, clients):
                bar = ProgressBar(clients, answers, width=30, complete_style="cyan", finished_style="green")
                tally = Text.assemble((f"{answers:,}", "bold"), (f" of {counted(clients, 'answer')}", QUIET))
                grid = Table.grid(padding=(0, 2))
                grid.add_row(bar, tally)
                return grid
            case Burst():
                return _summary(state)
            case Save():
                words = "shown" if state.shown else "not shown"
                return Text.assemble(words, (f"   answer after {_seconds(state.seconds)}", QUIET))
            case _:
                assert_never(state)


def heading(store: str, workers: int) -> RenderableType:
    """The line above board and table."""
    place = f"{shown(store)}, {counted(workers, 'server process')}"
    return Padding(Text.assemble(("cachefence-web demo", ACCENT), f"   {place}", style=QUIET), (1, 2, 0, 2))


def final(report: Report) -> RenderableType:
    """The screen a run ends with: the table, how it was measured, and one line that says whether all held."""
    uncached, cold = report.findings[0].uncached.clients, report.findings[0].cold.clients
    table = Table(box=box.SIMPLE_HEAD, header_style="", border_style=QUIET, pad_edge=False, padding=(0, 1))
    table.add_column("")
    table.add_column(_header("Without cache", f"{uncached:,} clients"))
    table.add_column(_header("With it, cold", f"{cold:,} clients"))
    table.add_column(_header("After a save", "the next request"))
    table.add_column(_header("After another", f"{cold:,} clients"))
    for number, finding in enumerate(report.findings):
        table.add_row(*_row(finding), end_section=number + 1 == len(report.findings))
        if number + 1 < len(report.findings):
            table.add_row()
    note = (
        "A query is one run of the page's slow SQL. Clients all ask at once; the times are the last one's. They "
        f"shared {counted(report.cores, 'core')} with the servers. Without the cache each costs a query: only "
        f"{uncached:,} were sent."
    )
    workers = report.findings[0].workers
    return Group(
        heading(report.store, workers),
        Padding(table, (0, 1)),
        Padding(Text(note, style=QUIET), (0, 2, 1, 2)),
        Padding(_verdict(report), (0, 2, 1, 2)),
    )


def picture(report: Report) -> str:
    """The final screen as an SVG that asks no other server for anything."""
    console = Console(
        record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor", width=PICTURE_WIDTH
    )
    console.print(final(report))
    return console.export_svg(
        title="cachefence-web demo", theme=_THEME, code_format=_SVG, unique_id="demo", font_aspect_ratio=0.6
    )


def save_picture(report: Report, path: Path) -> None:
    """Write the final screen to a file."""
    path.write_text(picture(report), encoding="utf-8")


def _row(finding: Finding) -> Sequence[RenderableType]:
    name = Text.assemble((finding.label, "bold"), "\n", (finding.server, QUIET))
    bursts = _cell(finding.uncached, COSTLY), _verified(finding.cold)
    return name, *bursts, _saved(finding.save), _verified(finding.again)


def _cell(burst: Burst, style: str) -> Text:
    return Text.assemble((counted(burst.queries, "query"), style), "\n", (_seconds(burst.last), QUIET))


def _verified(burst: Burst) -> Text:
    cell = _cell(burst, GOOD if _kept(burst) else BAD)
    if burst.failures:
        cell.append(f"\n{sum(burst.failures.values()):,} wrong answers", style=BAD)
    return cell


def _saved(save: Save) -> Text:
    mark, words, style = ("✔", "shown", GOOD) if save.shown else ("✘", "not shown", BAD)
    return Text.assemble((f"{mark} {words}", style), "\n", (_seconds(save.seconds), QUIET))


def _verdict(report: Report) -> RenderableType:
    if not report.broken:
        return Text.assemble(("✔ ", GOOD), (report.verdict, "bold"))
    return Group(*(Text.assemble(("✘ ", BAD), (line, "bold")) for line in report.broken))


def _summary(burst: Burst) -> Text:
    return Text.assemble(
        (f"{counted(burst.clients, 'client')}, ", ""),
        (counted(burst.queries, "query"), "bold"),
        (f"   last answer after {_seconds(burst.last)}", QUIET),
        (f"   {sum(burst.failures.values()):,} wrong" if burst.failures else "", BAD),
    )


def _kept(burst: Burst) -> bool:
    return burst.queries == 1 and not burst.failures


def _tick(kept: bool) -> Text:
    return Text(" ✔", style=GOOD) if kept else Text(" ✘", style=BAD)


def _header(title: str, below: str) -> Text:
    return Text.assemble((title, "bold"), "\n", (below, QUIET))


def _seconds(seconds: float) -> str:
    if seconds >= 0.9995:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


_THEME = TerminalTheme(
    background=(13, 17, 28),
    foreground=(226, 232, 240),
    normal=[
        (13, 17, 28), (251, 113, 133), (74, 222, 128), (251, 191, 36),
        (96, 165, 250), (192, 132, 252), (34, 211, 238), (203, 213, 225),
    ],
    bright=[
        (124, 137, 160), (253, 164, 175), (134, 239, 172), (253, 224, 71),
        (147, 197, 253), (216, 180, 254), (103, 232, 249), (248, 250, 252),
    ],
)  # fmt: skip

# Rich's own template fetches a font from another host, which a README's reader need not tell of the visit.
_SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font: 600 16px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
