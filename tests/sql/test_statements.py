"""What statements are taken to read and write, and when they are not understood."""

# ruff: noqa: S608 - statements are what is made here
from __future__ import annotations

import logging
import re
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError
from cachefence_web.sql import Analyser, Exact, Kind, Routine, Schema, Table, folded

SCHEMA = Schema(
    [
        Table("book", {"id": Exact.INTEGER}, cascades=["ebook"]),
        Table("ebook", {"book_ptr_id": Exact.INTEGER}, triggers=["audit"]),
        Table('"shop"."author"', {"id": Exact.INTEGER}),
        Table("pair", {"a": Exact.INTEGER, "b": Exact.INTEGER}),
        Table("tag", {"code": Exact.TEXT}),
        Table("token", {"id": Exact.UUID}),
        Table("review"),
    ],
    views={"cheap": ["book"], "cheapest": ["cheap", "author"]},
    routines={"score": Routine(reads=["review"], writes=["hit"]), "tidy": Routine(writes=["review"])},
)
ANALYSERS = {
    "postgres": Analyser("postgresql", "pyformat", SCHEMA),
    "sqlite": Analyser("sqlite", "qmark", SCHEMA),
    "mysql": Analyser("mysql", "pyformat", SCHEMA),
    "oracle": Analyser("oracle", "named", SCHEMA),
}
PG, LITE, MY, ORA = ANALYSERS.values()


def called(value: Any) -> str:
    """The name of a parameter in a test's."""
    return next((name for name, analyser in ANALYSERS.items() if analyser is value), str(value))


# From these, and pieces of them, statements are made that nobody would write.
SAID = (
    "SELECT b.id, count(*) FROM book b LEFT JOIN ebook e ON e.book_ptr_id = b.id WHERE b.id IN (%s, 2) GROUP BY b.id",
    "WITH x AS (DELETE FROM pair WHERE (a, b) IN ((1, 2), (3, 4)) RETURNING *) SELECT * FROM x FOR UPDATE",
    "INSERT INTO book (id, title) VALUES (%s, 'x'), (2, NULL) ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
    "UPDATE author SET name = CASE WHEN id = 1 THEN 'a' WHEN id = 2 THEN 'b' END FROM book WHERE author.id = ANY(%s)",
    "DELETE FROM author USING book WHERE author.id = 1 OR author.id = book.id",
    "MERGE INTO author USING book ON author.id = book.id WHEN MATCHED THEN UPDATE SET name = 'x'",
    "ALTER TABLE book RENAME TO tome; BEGIN; TRUNCATE author, review; COMMIT AND CHAIN",
    "EXPLAIN ANALYZE CALL tidy(1); DECLARE c CURSOR FOR TABLE book; COPY author FROM STDIN; SET x = 1",
)
WORDS = sorted({piece for text in SAID for piece in re.findall(r"\w+|.", text)})
PIECES = [*WORDS, "'", '"', "`", "/*", "--", "$$", "[", "?", "\0"]


def reads(analyser: Analyser, text: str, *parameters: Any) -> str:
    """The tags if all rows are found, but `db:*`, which every read has."""
    found = analyser.analyse(text, bound=bool(parameters)).reads(parameters)
    assert "db:*" in found.tags
    assert found.refusal is None
    return " ".join(sorted(set(found.tags) - {"db:*"}))


def writes(analyser: Analyser, text: str, *parameters: Any) -> str:
    statement = analyser.analyse(text, bound=bool(parameters))
    assert statement.kind in (Kind.WRITE, Kind.DDL, Kind.UNKNOWN)
    return " ".join(sorted(statement.writes(parameters)))


@pytest.mark.parametrize(("analyser", "text", "parameters", "tags"), [
    (PG, 'SELECT * FROM "book" WHERE "book"."id" = %s LIMIT 21', (42,), "book:* book:42"),
    (PG, 'SELECT * FROM "audit"."book" WHERE "book"."id" = %s', (42,), "book"),
    (PG, 'SELECT * FROM "shop"."author" WHERE "author"."id" = %s', (42,), "author:* author:42"),
    (PG, "SELECT title FROM Book b WHERE (b.ID = %s) AND b.title <> 'x;y' -- %s", (42, 1), "book:* book:42"),
    (PG, "SELECT * FROM book WHERE id IN (%s, %s, %s) ORDER BY 1", (1, "2", 1), "book:* book:1 book:2"),
    (PG, "SELECT * FROM book WHERE id = ANY(%s)", ([3, 4],), "book:* book:3 book:4"),
    (PG, "SELECT * FROM book WHERE id = ANY(%s::int[])", ("{3}",), "book"),
    (PG, "SELECT * FROM book WHERE id = %s::INTEGER", (7,), "book:* book:7"),
    (PG, "SELECT * FROM book WHERE id = 7 OR id IN (8, 9)", (), "book:* book:7 book:8 book:9"),
    (PG, "SELECT * FROM book WHERE id = 7 OR title = 'x'", (), "book"),
    (PG, "SELECT * FROM book WHERE NOT id = 7", (), "book"),
    (PG, "SELECT * FROM book WHERE id > 7", (), "book"),
    (PG, "SELECT * FROM book WHERE id = (SELECT max(id) FROM book)", (), "book"),
    (PG, "SELECT * FROM book WHERE id IN (SELECT book_id FROM review)", (), "book review"),
    (PG, "SELECT count(*) FROM book WHERE id = 7", (), "book"),
    (PG, "SELECT my_total(id) FROM book WHERE id = 7", (), "book"),
    (PG, "SELECT (SELECT max(book.id) FROM review) FROM book WHERE id = 7", (), "book review"),
    (PG, "SELECT (SELECT max(r.id) FROM review r WHERE r.book_id = book.id) FROM book WHERE id = 7", (),
     "book:* book:7 review"),
    (PG, "SELECT b.id, count(r.id) FROM book b LEFT JOIN review r ON r.book_id = b.id WHERE b.id = 7 GROUP BY b.id", (),
     "book:* book:7 review"),
    (PG, "SELECT b.id FROM book b WHERE b.id = 7 GROUP BY ROLLUP (b.id)", (), "book"),
    (PG, "SELECT 1 FROM book WHERE id = 7 GROUP BY ()", (), "book"),
    (PG, "SELECT * FROM book WHERE id = 1 UNION SELECT * FROM book WHERE id = 2", (), "book"),
    (PG, "SELECT * FROM book a, book b WHERE a.id = 1 AND b.id = 2", (), "book"),
    (PG, "SELECT * FROM (SELECT * FROM book WHERE id = 1) s", (), "book"),
    (PG, "WITH book AS (SELECT 1 AS id) SELECT * FROM book WHERE id = 1", (), "book"),
    (PG, "SELECT EXISTS(SELECT 1 FROM book WHERE id = 1)", (), "book"),
    (PG, "SELECT * FROM book JOIN author a ON a.id = book.author_id WHERE book.id IN (1, 2)", (),
     "author book:* book:1 book:2"),
    (PG, "SELECT * FROM book JOIN review r ON r.book_id = book.id WHERE book.id IN (1, 2)", (), "book review"),
    (LITE, "SELECT * FROM book LEFT JOIN tag ON tag.code = book.price WHERE book.id IN (1, 2)", (), "book tag"),
    (LITE, "SELECT * FROM book LEFT JOIN tag ON tag.code = book.price WHERE book.id = 1", (), "book:* book:1 tag"),
    (PG, "SELECT * FROM book JOIN ebook e ON e.book_ptr_id = book.id WHERE e.book_ptr_id = 5", (),
     "book:* book:5 ebook:* ebook:5"),
    (PG, "SELECT * FROM book LEFT JOIN ebook e ON e.book_ptr_id = book.id WHERE book.id = 5", (),
     "book:* book:5 ebook"),
    (PG, "SELECT * FROM pair WHERE a = 1 AND b IN (2, 3)", (), "pair:* pair:1,2 pair:1,3"),
    (PG, "SELECT * FROM pair WHERE (b, a) IN ((%s, %s), (%s, %s))", (1, 2, 3, 4), "pair:* pair:2,1 pair:4,3"),
    (PG, "SELECT * FROM pair WHERE a = 1", (), "pair"),
    (PG, "SELECT * FROM tag WHERE code = %s", ("a b,{c}:*",), "tag:* tag:a%20b%2C%7Bc%7D%3A%2A"),
    (PG, "SELECT * FROM tag WHERE code = %s COLLATE nocase", ("a",), "tag"),
    (PG, "SELECT * FROM tag WHERE code = %s::varchar(1)", ("ab",), "tag"),
    (PG, "SELECT * FROM cheapest WHERE id = 1", (), "author book cheap cheapest"),
    (PG, "SELECT * FROM book, cheap WHERE book.id = 1", (), "book cheap"),
    (PG, "SELECT score(1) FROM author WHERE id = 1", (), "author review"),
    (PG, "TABLE book", (), "book"),
    (PG, "SELECT '%%s', 5 %% 2 FROM book WHERE id = %s", (9,), "book:* book:9"),
    (PG, "SELECT $$ from author $$ FROM book /* a /* nested */ comment */ WHERE id = %s", (9,), "book:* book:9"),
    (PG, "DECLARE c NO SCROLL CURSOR FOR SELECT * FROM book", (), "book"),
    (LITE, "SELECT * FROM [book] WHERE `id` = ?", (1,), "book:* book:1"),
    (LITE, "SELECT * FROM book WHERE id = ?2 AND title = ?1", ("x", 3), "book:* book:3"),
    (LITE, "SELECT * FROM email('x')", (), "email"),
    (MY, "SELECT * FROM `book` WHERE `id` = %s # AND id = 2", (1,), "book:* book:1"),
    (MY, "SELECT \"it's\", 'a\\'b' FROM book WHERE id = %s", (1,), "book:* book:1"),
    (MY, "SELECT 5--1 FROM book WHERE id = %s", (1,), "book:* book:1"),
    (ORA, 'SELECT * FROM "BOOK" WHERE "ID" = 3 FETCH FIRST 21 ROWS ONLY', (), "book:* book:3"),
    (ORA, "SELECT q'[it's]' FROM dual", (), "dual"),
    (ORA, "SELECT * FROM book, author WHERE book.id = author.id(+) AND book.id = 1", (), "author book"),
    (ORA, "SELECT * FROM book WHERE id = 1 CONNECT BY PRIOR id = parent", (), "book"),
], ids=called)
def test_a_read_depends_on(analyser: Analyser, text: str, parameters: tuple[Any, ...], tags: str) -> None:
    assert reads(analyser, text, *parameters) == tags


@pytest.mark.parametrize(("analyser", "text", "parameters", "tags"), [
    (PG, "INSERT INTO book (title) VALUES (%s) RETURNING id", ("x",), "book"),
    (PG, "INSERT INTO book (id, title) VALUES (%s, %s), (%s, %s)", (1, "x", 2, "y"), "book book:1 book:2"),
    (PG, "INSERT INTO book (id, title) VALUES (%s, 'a'), (2, %s), (-3, NULL)", (1, "x"), "book book:-3 book:1 book:2"),
    (PG, "INSERT INTO book (id) VALUES (1) ON CONFLICT DO NOTHING", (), "book book:1"),
    (PG, "INSERT INTO author (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'x'", (), "author author:*"),
    (PG, "INSERT INTO author SELECT * FROM book", (), "author"),
    (PG, "INSERT INTO book (id) OVERRIDING SYSTEM VALUE VALUES (1)", (), "book book:1"),
    (PG, "INSERT INTO cheap (id) VALUES (1)", (), "book book:* cheap cheap:* ebook ebook:* audit audit:*"),
    (PG, "UPDATE book SET title = %s WHERE id = %s", ("x", 4), "book book:4"),
    (PG, "UPDATE book b SET title = a.name FROM author a WHERE a.id = 1 AND b.id = 4", (), "book book:4"),
    (PG, "UPDATE book SET title = 'x' WHERE author_id = 4", (), "book book:*"),
    (PG, "UPDATE author SET id = 5 WHERE id = 4", (), "author author:*"),
    (PG, "UPDATE author SET (id, name) = (5, 'x') WHERE id = 4", (), "author author:*"),
    (PG, "UPDATE author SET name = 'x' WHERE id = 1 OR id = 2", (), "author author:1 author:2"),
    (PG, "UPDATE ebook SET size = 2 WHERE book_ptr_id = 4", (), "audit audit:* ebook ebook:4"),
    (PG, "DELETE FROM audit.author WHERE id = 1", (), "author author:*"),
    (PG, "DELETE FROM author WHERE id IN (%s, %s)", (1, 2), "author author:1 author:2"),
    (PG, "DELETE FROM book WHERE id = 1", (), "audit audit:* book book:1 ebook ebook:*"),
    (PG, "DELETE FROM author USING book WHERE book.author_id = author.id AND author.id = 3", (), "author author:3"),
    (PG, "WITH gone AS (DELETE FROM author WHERE id = 3 RETURNING *) SELECT * FROM gone", (), "author author:3"),
    (PG, "MERGE INTO author USING book ON author.id = book.id WHEN MATCHED THEN DELETE", (), "author author:*"),
    (PG, "SELECT * INTO fresh FROM author", (), "fresh fresh:*"),
    (PG, "SELECT score(1)", (), "hit hit:*"),
    (PG, "CALL public.tidy(1)", (), "review review:*"),
    (PG, "EXPLAIN ANALYZE CALL tidy", (), "review review:*"),
    (PG, "CALL other(1)", (), "db:*"),
    (PG, "DO $$ BEGIN DELETE FROM book; END $$", (), "db:*"),
    (PG, "EXECUTE prepared(1)", (), "db:*"),
    (PG, "NOBODY KNOWS", (), "db:*"),
    (PG, "UPDATE book SET WHERE (", (), "db:*"),
    (PG, "COPY author (id) FROM STDIN", (), "author author:*"),
    (PG, "COPY BINARY author FROM STDIN", (), "author author:*"),
    (PG, "COPY binary FROM STDIN", (), "binary binary:*"),
    (PG, "COPY (DELETE FROM author RETURNING *) TO STDOUT", (), "db:*"),
    (PG, "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM author WHERE id = 1", (), "author author:1"),
    (PG, 'TRUNCATE "author", review RESTART IDENTITY', (), "author author:* review review:*"),
    (PG, "TRUNCATE author CASCADE", (), "db:*"),
    (PG, 'ALTER TABLE "author" RENAME TO "writer"', (), "author author:* writer writer:*"),
    (PG, "DROP TABLE IF EXISTS author, public.review", (), "author author:* review review:*"),
    (PG, "CREATE INDEX CONCURRENTLY i ON author (name)", (), ""),
    (PG, "CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ SELECT 1; $$ LANGUAGE sql", (), "db:*"),
    (PG, "REFRESH MATERIALIZED VIEW CONCURRENTLY report", (), "report report:*"),
    (PG, "ALTER TABLE t ATTACH PARTITION t1 FOR VALUES IN (1)", (), "t t1 t1:* t:*"),
    (LITE, "REPLACE INTO author (id) VALUES (?)", (1,), "author author:*"),
    (LITE, "INSERT OR REPLACE INTO author (id) VALUES (?)", (1,), "author author:*"),
    (LITE, "INSERT OR IGNORE INTO author (id) VALUES (?)", (1,), "author author:1"),
    (LITE, "UPDATE OR IGNORE author SET name = ? WHERE id = ?", ("x", 1), "author author:1"),
    (LITE, "UPDATE OR REPLACE author SET name = ? WHERE id = ?", ("x", 1), "db:*"),
    (LITE, "CREATE TRIGGER x AFTER INSERT ON author BEGIN DELETE FROM book; END", (), "db:*"),
    (MY, "INSERT INTO author (id) VALUES (%s) ON DUPLICATE KEY UPDATE name = 'x'", (1,), "author author:*"),
    (MY, "INSERT IGNORE INTO author (id) VALUES (%s)", (1,), "author author:1"),
    (MY, "UPDATE author JOIN review ON author.id = review.a SET author.x = 1 WHERE author.id = 1", (),
     "author author:* review review:*"),
    (MY, "DELETE author FROM author JOIN review ON author.id = review.a", (), "author author:* review review:*"),
    (MY, "RENAME TABLE author TO a, review TO r", (), "a a:* author author:* r r:* review review:*"),
    (MY, "INSERT INTO author /*! SELECT * FROM book */ (id) VALUES (1)", (), "db:*"),
    (ORA, "INSERT ALL INTO author VALUES (1) INTO review VALUES (2) SELECT * FROM dual", (),
     "author author:* dual dual:* review review:*"),
    (ORA, "BEGIN tidy_up; END;", (), "db:*"),
], ids=called)
def test_a_write_invalidates(analyser: Analyser, text: str, parameters: tuple[Any, ...], tags: str) -> None:
    assert writes(analyser, text, *parameters) == " ".join(sorted(tags.split()))


@pytest.mark.parametrize(("exact", "value", "name"), [
    (Exact.INTEGER, 42, "42"), (Exact.INTEGER, "42", "42"), (Exact.INTEGER, Decimal("42.0"), "42"),
    (Exact.INTEGER, -1, "-1"), (Exact.INTEGER, True, None), (Exact.INTEGER, 42.0, None), (Exact.INTEGER, "042", None),
    (Exact.INTEGER, " 42", None), (Exact.INTEGER, "٤", None), (Exact.INTEGER, None, None),
    (Exact.INTEGER, 1 << 64, None),
    (Exact.INTEGER, "9007199254740993", None), (Exact.INTEGER, Decimal("NaN"), None), (Exact.INTEGER, b"42", None),
    (Exact.UUID, UUID(int=1), UUID(int=1).hex), (Exact.UUID, str(UUID(int=10)).upper(), UUID(int=10).hex),
    (Exact.UUID, UUID(int=1).hex, UUID(int=1).hex), (Exact.UUID, UUID(int=1).bytes, UUID(int=1).hex),
    (Exact.UUID, 1, None), (Exact.UUID, "x", None), (Exact.TEXT, "a", "a"), (Exact.TEXT, 1, None), (Exact.TEXT, "", ""),
    (Exact.TEXT, "Ä", "%C3%84"),
], ids=repr)
def test_values_that_the_database_takes_for_one_name_one_row(exact: Exact, value: object, name: str | None) -> None:
    analyser = Analyser("postgresql", "pyformat", Schema([Table("t", {"k": exact})]))
    found = analyser.analyse("DELETE FROM t WHERE k = %s").writes((value,))
    assert found == ("t", "t:*" if name is None else f"t:{name}")
    assert check_tags(found) == found


@pytest.mark.parametrize(("text", "kinds", "commits"), [
    ("BEGIN", "BEGIN", False), ("START TRANSACTION READ ONLY", "BEGIN", False), ("begin immediate", "BEGIN", False),
    ("COMMIT", "COMMIT", True), ("END", "COMMIT", True), ("COMMIT AND CHAIN", "COMMIT BEGIN", True),
    ("ROLLBACK", "ROLLBACK", False), ("ROLLBACK TO SAVEPOINT x", "ROLLBACK_TO", False),
    ("SAVEPOINT x", "SAVEPOINT", False),
    ("RELEASE SAVEPOINT x", "RELEASE", False), ("PREPARE TRANSACTION 'x'", "PREPARE", False),
    ("COMMIT PREPARED 'x'", "COMMIT_PREPARED", True), ("ROLLBACK PREPARED 'x'", "ROLLBACK_PREPARED", False),
    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "NEUTRAL", False), ("SHOW search_path", "NEUTRAL", False),
    ("FETCH 10 FROM c", "NEUTRAL", False), ("LISTEN x", "NEUTRAL", False), ("LOCK TABLE book", "NEUTRAL", False),
    ("VACUUM ANALYZE book", "NEUTRAL", False), ("PREPARE p AS DELETE FROM book", "NEUTRAL", False),
    ("", "NEUTRAL", False),
    ("/* only */ -- a comment", "NEUTRAL", False), ("BEGIN; DELETE FROM book; COMMIT;", "BEGIN WRITE COMMIT", True),
    ("EXPLAIN DELETE FROM book", "READ", False), ("SELECT 1; SELECT 2", "READ READ", False),
], ids=called)
def test_what_steers_a_transaction_or_a_session_writes_nothing(text: str, kinds: str, commits: bool) -> None:
    statement = PG.analyse(text, bound=False)
    assert " ".join(kind.name for kind in statement.kinds) == kinds
    assert statement.commits is commits
    written = {"book", "book:*", "audit", "audit:*", "ebook", "ebook:*"}
    assert set(statement.writes()) == (written if "WRITE" in kinds else set())


def test_a_definition_commits_where_the_database_says_so() -> None:
    assert [each.analyse("DROP TABLE x").commits for each in (PG, LITE, MY, ORA)] == [False, False, True, True]
    assert MY.analyse("SET autocommit = 1").commits
    assert not MY.analyse("SET autocommit = 0").commits


@pytest.mark.parametrize(("analyser", "text", "why"), [
    (PG, "SELECT * FROM book WHERE id = 1 FOR UPDATE", "locks"),
    (PG, "SELECT * FROM book FOR SHARE OF book SKIP LOCKED", "locks"),
    (PG, "SELECT FROM WHERE", "not understood (line 1"),
    (PG, "SELECT 'unfinished", "not understood"),
    (PG, "SELECT * FROM pg_stat_activity", "catalog"),
    (PG, "SELECT * FROM information_schema.tables", "catalog"),
    (PG, "EXPLAIN SELECT * FROM book", "plan"),
    (LITE, "SELECT * FROM book WHERE id IN author", "not understood"),
    (LITE, "PRAGMA table_info(book)", "PRAGMA"),
    (MY, "SELECT * FROM book LOCK IN SHARE MODE", "locks"),
    (MY, "SET @x = (SELECT count(*) FROM book)", "variable"),
], ids=called)
def test_what_cannot_be_followed_is_not_stored(analyser: Analyser, text: str, why: str) -> None:
    assert why in (analyser.analyse(text, bound=False).reads().refusal or "")


@pytest.mark.parametrize(("rows", "tags"), [
    (0, ("book", "db:*")), (1, ("book", "db:*")), (None, ("book", "db:*")),
    (2, ("book:1", "book:2", "book:*", "db:*")), (3, ("book:1", "book:2", "book:*", "db:*")),
], ids=called)
def test_a_row_that_was_not_found_makes_the_read_one_of_the_table(rows: int | None, tags: tuple[str, ...]) -> None:
    assert PG.analyse("SELECT * FROM book WHERE id IN (%s, %s)").reads((1, 2)).after(rows) == tags


def test_more_than_a_thousand_rows_are_the_table() -> None:
    marks = ", ".join(["%s"] * 1001)
    assert PG.analyse(f"DELETE FROM author WHERE id IN ({marks})").writes(range(1001)) == ("author", "author:*")
    assert PG.analyse(f"SELECT * FROM author WHERE id IN ({marks})").reads(range(1001)).tags == ("author", "db:*")
    update = PG.analyse("UPDATE author SET name = 'x' WHERE id = %s")
    assert update.writes_many([(number,) for number in range(1001)]) == ("author", "author:*")
    insert = PG.analyse("INSERT INTO author (id) VALUES (%s)")
    assert insert.writes_many([(number,) for number in range(1001)]) == ("author",)


def test_the_parameters_of_an_executemany_are_looked_at_only_if_that_takes_nothing_from_the_driver() -> None:
    update = PG.analyse("UPDATE author SET name = %(name)s WHERE id = %(id)s")
    assert update.writes_many([{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]) == ("author", "author:1", "author:2")
    once = ({"id": number, "name": "x"} for number in range(3))
    assert update.writes_many(once) == ("author", "author:*")
    assert len(list(once)) == 3


@pytest.mark.parametrize("parameters", [None, (), {}, {"id": 1}, [None]], ids=repr)
def test_parameters_that_do_not_fit_name_no_row(parameters: Any) -> None:
    assert PG.analyse("DELETE FROM author WHERE id = %s").writes(parameters) == ("author", "author:*")
    assert PG.analyse("SELECT * FROM author WHERE id = %s").reads(parameters).tags == ("author", "db:*")


@pytest.mark.parametrize(("style", "text", "parameters"), [
    ("format", "DELETE FROM author WHERE name = '%%s' AND id = %s", (5,)),
    ("pyformat", "DELETE FROM author WHERE id = %(key)s", {"key": 5}),
    ("named", "DELETE FROM author WHERE name = ':key' AND x::text = 'y' AND id = :key", {"key": 5}),
    ("numeric", "DELETE FROM author WHERE name = :1 AND id = :2", ("x", 5)),
    ("dollar", "DELETE FROM author WHERE name = $1 AND id = $2", ("x", 5)),
    ("qmark", "DELETE FROM author WHERE name = '?' AND id = ?", (5,)),
], ids=called)
def test_parameters_are_found_in_every_style(style: str, text: str, parameters: Any) -> None:
    assert Analyser("postgresql", style, SCHEMA).analyse(text).writes(parameters) == ("author", "author:5")


def test_without_parameters_a_percent_sign_is_one() -> None:
    assert PG.analyse("SELECT * FROM author WHERE id = 5 % 3 AND '%s' <> '%%'", bound=False).reads().refusal is None
    assert reads(PG, "SELECT * FROM author WHERE name LIKE '%s' AND id = 5") == "author:* author:5"


def test_rows_that_repeat_cost_one_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    analyser = Analyser("postgresql", "pyformat", SCHEMA)
    from cachefence_web.sql import analysing

    ask = analysing.parsed
    monkeypatch.setattr(analysing, "parsed", lambda text, dialect: parsed.append(text) or ask(text, dialect))
    for rows in (2, 3, 900):
        values = ", ".join(["(%s, %s)"] * rows)
        given = [each for number in range(rows) for each in (number, "x")]
        written = analyser.analyse(f"INSERT INTO author (id, name) VALUES {values}").writes(given)
        assert set(written) == {"author", *[f"author:{number}" for number in range(rows)]}
        arms = " ".join(["WHEN (author.id = %s) THEN %s"] * rows)
        marks = ", ".join(["%s"] * rows)
        text = f"UPDATE author SET name = CASE {arms} ELSE NULL END WHERE author.id IN ({marks})"
        assert set(analyser.analyse(text).writes([*given, *range(rows)])) == set(written)
    assert len(parsed) == 2
    assert max(map(len, parsed)) < 150


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 9], ids=str)
@pytest.mark.parametrize("odd", ["(%s, %s)", "(%s, 'x')", "(7, %s)", "(%s, DEFAULT)"], ids=str)
def test_what_repeats_is_read_the_same_however_it_is_laid_out(rows: int, odd: str) -> None:
    listed = ["(%s, %s)"] * rows + [odd] + ["(%s, %s)"] * rows
    insert = f"INSERT INTO pair (a, b) VALUES {', '.join(listed)} RETURNING a"
    marks = ", ".join(["%s"] * rows + ["3"] + ["%s"] * rows)
    arms = " ".join([*["WHEN (author.id = %s) THEN %s"] * rows, "WHEN author.id = %s THEN 5"])
    update = f"UPDATE author SET name = CASE {arms} ELSE NULL END WHERE id IN ({marks}) AND author.id > %s"
    for text in (insert, update):
        parameters = range(100, 100 + text.count("%s"))
        one_by_one = text.replace(", ", " ,\n").replace(" WHEN", "\nWhen")
        assert set(PG.analyse(text).writes(parameters)) == set(PG.analyse(one_by_one).writes(parameters))
    assert set(PG.analyse(update).writes(parameters)) == {
        "author", "author:3", *[f"author:{parameters[at]}" for at in range(2 * rows + 1, 4 * rows + 1)]}


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SAID), st.lists(st.tuples(st.integers(0, 60), st.sampled_from(PIECES)), max_size=5))
def test_whatever_the_text_nobody_is_interrupted(text: str, changed: list[tuple[int, str]]) -> None:
    pieces = re.findall(r"\w+|\s+|.", text, re.DOTALL)
    for at, piece in changed:
        pieces[at:at + len(piece) % 2] = [piece]
    for analyser in ANALYSERS.values():
        for bound in (True, False):
            statement = analyser.analyse("".join(pieces), bound=bound)
            assert "db:*" in statement.reads((1, 2)).tags
            assert bool(statement.writes((1, 2))) >= (statement.kind in (Kind.WRITE, Kind.UNKNOWN))


@pytest.mark.parametrize("text", [b"DELETE FROM book", None, object(), [1]], ids=["bytes", "none", "object", "list"])
def test_what_is_no_text_may_have_written_anything(text: Any) -> None:
    assert PG.analyse(text).writes() == ("db:*",)


def test_the_parser_says_nothing_in_the_log_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for text in ("SELECT data->'$.[[' FROM book", "INSERT OVERWRITE DIRECTORY x SELECT 1", "SELECT ((("):
            MY.analyse(text)
    assert not caplog.records
    logging.getLogger("sqlglot").warning("somebody else's")
    assert caplog.messages == ["somebody else's"]


def test_tables_of_a_database_of_its_own_have_tags_of_their_own() -> None:
    analyser = Analyser("postgresql", "pyformat", SCHEMA, space="archive.")
    written = analyser.analyse("DELETE FROM author WHERE id = 1", bound=False).writes()
    assert written == ("archive.author", "archive.author:1")
    assert analyser.analyse("CALL x()", bound=False).writes() == ("archive.db:*",)
    assert analyser.analyse("SELECT 1").reads().tags == ("archive.db:*",)


def test_two_tables_of_one_name_that_have_different_keys_have_no_known_rows() -> None:
    schema = Schema([Table("a.book", {"id": Exact.INTEGER}), Table('b."BOOK"', {"code": Exact.TEXT})])
    written = Analyser("postgresql", "pyformat", schema).analyse("DELETE FROM book WHERE id = 1").writes()
    assert written == ("book", "book:*")


@pytest.mark.parametrize(("name", "last"), [
    ("book", "book"), ("Public.Book", "book"), ('"public"."My.Book"', "my.book"), ("`a`.`b`", "b"),
    ("[a].[b c]", "b c"),
], ids=called)
def test_a_name_is_its_last_part(name: str, last: str) -> None:
    assert folded(name) == last


@pytest.mark.parametrize(("make", "remedy"), [
    (lambda: Analyser("mssql", "qmark"), "name tags yourself"),
    (lambda: Analyser("sqlite", "percent"), "paramstyle is one of"),
    (lambda: Schema([Table("t", {"id": "int"})]), "give the table no key"),  # type: ignore[dict-item]
    (lambda: Schema(views={"a": ["b"], "b": ["a"]}), "name the tables beneath"),
    (lambda: Schema(views={"a": "book"}), "['book']"),
], ids=["dialect", "style", "key", "circle", "text"])
def test_what_cannot_be_is_refused_with_a_remedy(make: Any, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert remedy in str(refused.value)


@pytest.mark.parametrize("analyser", ANALYSERS.values(), ids=called)
def test_texts_with_long_literals_cost_neither_memory_nor_time(analyser: Analyser) -> None:
    quote, many = "it''s ", 200_000
    statement = analyser.analyse(f"UPDATE author SET name = '{quote * many}' WHERE id = 5", bound=False)
    assert statement.kind is Kind.UNKNOWN, "too long to be parsed, and read to its end"
    for number in range(100):
        analyser.analyse(f"UPDATE author SET name = '{number}{'x' * 20_000}'", bound=False)
    remembered = analyser._long_shapes
    assert len(remembered) <= remembered.maxsize < 100
