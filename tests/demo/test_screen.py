"""The board shows each step as it stands, and fits a small terminal."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from cachefence_web.demo.report import Burst, Report, Save, Step
from cachefence_web.demo.run import Plan
from cachefence_web.demo.scenario import Framework
from cachefence_web.demo.screen import Board, final
from tests.demo.test_report import CROWD, KEPT

PLAN = Plan((Framework.DJANGO, Framework.FLASK), 500, 20, "redis://:secret@host/0", 4, "1.0", Path())


def seen(what: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_board_follows_the_story() -> None:
    board = Board(PLAN)
    assert "20 clients" not in seen(board)
    board.doing(Framework.DJANGO, Step.UNCACHED, "gunicorn starts")
    assert "gunicorn starts …" in seen(board)
    board.answered(Framework.DJANGO, Step.UNCACHED, 7, 20)
    assert "7 of 20 answers" in seen(board)
    board.done(Framework.DJANGO, Step.UNCACHED, Burst(20, 20, 4.0, {}))
    board.done(Framework.DJANGO, Step.COLD, Burst(500, 2, 0.3, {"status 500": 4}))
    board.done(Framework.DJANGO, Step.SAVE, Save(False, 0.0042))
    board.done(Framework.DJANGO, Step.AGAIN, CROWD)
    text = seen(board)
    assert "✔ without the cache         20 clients, 20 queries   last answer after 4.00 s" in text
    assert "✘ with it, the page cold    500 clients, 2 queries   last answer after 300 ms   4 wrong" in seen(board, 100)
    assert "✘ a save, the next request  not shown   answer after 4.2 ms" in text
    assert "✔ another save              500 clients, 1 query" in text


def test_no_screen_shows_a_password() -> None:
    assert "secret" not in seen(Board(PLAN))
    assert "redis://:***@host/0, 4 server processes" in seen(Board(PLAN))


def test_the_table_fits_eighty_columns() -> None:
    lines = seen(final(Report("1.0", "memory://", 2, (KEPT, KEPT, KEPT)))).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(
        line.split() == ["20", "clients", "500", "clients", "the", "next", "request", "500", "clients"]
        for line in lines
    )
