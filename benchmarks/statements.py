"""What it costs to know what a statement reads: of a text that was met before, and of one that was not."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.report import Bar, Figure, Measure
from cachefence_web.sql import Analyser, Exact, Schema, Table

ROUNDS, EACH = 30, 1_000
COLD = 20

SCHEMA = Schema([Table("shop_book", {"id": Exact.INTEGER}), Table("shop_author", {"id": Exact.INTEGER})])
BY_KEY = """SELECT "shop_book"."id", "shop_book"."title", "shop_book"."price", "shop_book"."author_id" FROM "shop_book"
    WHERE "shop_book"."id" """
JOIN = """SELECT "shop_book"."id", "shop_book"."title", "shop_author"."name" FROM "shop_book"
    INNER JOIN "shop_author" ON ("shop_book"."author_id" = "shop_author"."id") WHERE "shop_author"."name" LIKE %s
    ORDER BY "shop_book"."title" """
COUNT = """SELECT COUNT(*) AS "__count" FROM "shop_book" WHERE "shop_book"."shelf" = %s"""

STATEMENTS: dict[str, tuple[str, tuple[object, ...]]] = {
    "a row by key": (f"{BY_KEY} = %s LIMIT 21", (42,)),
    "twenty rows by key": (f"{BY_KEY} IN ({', '.join(['%s'] * 20)})", tuple(range(20))),
    "a join, filtered and in order": (JOIN, ("A%",)),
    "a count": (COUNT, (3,)),
}


def analysis(_: str) -> Measure:
    """From text and parameters to tags, as each statement of a page that is recorded."""
    analyser = Analyser("postgresql", "pyformat", SCHEMA)
    times: dict[str, list[float]] = {who: [] for who in STATEMENTS}
    for _round in range(ROUNDS):
        for who, (text, parameters) in STATEMENTS.items():
            times[who].append(_lap(analyser, text, parameters, EACH))
    figures = tuple(
        Figure(who, (median(times[who]) * 1e6, _cold(*STATEMENTS[who]) * 1e6)) for who in STATEMENTS)
    plain = "a row by key"
    return Measure(
        "statements", "What a statement reads: from its text and parameters to tags", ("remembered, µs", "new, µs"),
        figures, (Bar(f"analysis of a remembered text, {plain}, µs", median(times[plain]) * 1e6, 3),),
        note="A text is new once in a process; one whose shape is known is not parsed again.")


def _lap(analyser: Analyser, text: str, parameters: tuple[object, ...], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        analyser.analyse(text).reads(parameters)
    return (time.perf_counter() - began) / count


def _cold(text: str, parameters: tuple[object, ...]) -> float:
    """The median of analysers that know nothing yet."""
    return median([_lap(Analyser("postgresql", "pyformat", SCHEMA), text, parameters, 1) for _ in range(COLD)])
