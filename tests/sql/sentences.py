"""Statements made up at random, over a few small tables in which everything that sql/ knows of occurs."""

# ruff: noqa: S608 - statements are what is made here
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cachefence_web.sql import Exact, Schema, Table

CREATED = (
    "CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT, written INTEGER DEFAULT 0)",
    "CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, author_id INTEGER, price INTEGER)",
    "CREATE TABLE ebook (book_ptr_id INTEGER PRIMARY KEY REFERENCES book (id) ON DELETE CASCADE, size INTEGER)",
    "CREATE TABLE tag (code TEXT PRIMARY KEY, label TEXT)",
    "CREATE TABLE entry (book_id INTEGER, code TEXT, note TEXT, PRIMARY KEY (book_id, code))",
    "CREATE VIEW cheap AS SELECT id, title, price FROM book WHERE price < 3",
)
FILLED = (
    "INSERT INTO author VALUES (1, 'a', 0), (2, 'b', 0)",
    "INSERT INTO book VALUES (1, 'a', 1, 1), (2, 'b', 1, 2), (3, 'a', NULL, 5)",
    "INSERT INTO ebook VALUES (1, 1), (2, 5)",
    "INSERT INTO tag VALUES ('a', 'x'), ('b', 'y'), ('1', 'z')",
    "INSERT INTO entry VALUES (1, 'a', 'x'), (1, 'b', 'y'), (2, 'a', 'x')",
)
SCHEMA = Schema(
    [
        Table("author", {"id": Exact.INTEGER}),
        Table("book", {"id": Exact.INTEGER}, cascades=["ebook"]),
        Table("ebook", {"book_ptr_id": Exact.INTEGER}),
        Table("tag", {"code": Exact.TEXT}),
        Table("entry", {"book_id": Exact.INTEGER, "code": Exact.TEXT}),
    ],
    views={"cheap": ["book"]},
)
COLUMNS = {
    "author": ("id", "name"),
    "book": ("id", "title", "author_id", "price"),
    "ebook": ("book_ptr_id", "size"),
    "tag": ("code", "label"),
    "entry": ("book_id", "code", "note"),
    "cheap": ("id", "title", "price"),
}
KEYS = {"author": ("id",), "book": ("id",), "ebook": ("book_ptr_id",), "tag": ("code",), "entry": ("book_id", "code")}
TEXTS = frozenset({"name", "title", "code", "label", "note"})


@dataclass
class Sentence:
    """A statement under construction; `choose` takes one of several, `place` is how this driver writes a parameter."""

    choose: Callable[[Sequence[Any]], Any]
    place: str
    parameters: list[Any] = field(default_factory=list)
    ctes: list[str] = field(default_factory=list)

    def any(self, *choices: Any) -> Any:
        return self.choose(choices)

    def maybe(self, chance: int = 3) -> bool:
        """Once in so many times and one."""
        return bool(self.choose([False] * chance + [True]))

    def value(self, column: str, *, odd: bool = True) -> str:
        """A value as a parameter or literal, now and then of another type than the column's."""
        text = column in TEXTS
        value = self.any("a", "b", "1", "c") if text else self.any(1, 2, 3, 4)
        if odd and self.maybe(9):
            value = self.any(str(value), None, None, *((1.0, True, "01", "A") if text or self.maybe() else ()))
        if self.maybe():
            if value is None:
                return "NULL"
            return f"'{value}'" if isinstance(value, str) else str(int(value))
        self.parameters.append(value)
        return self.place

    def listed(self, column: str) -> str:
        return ", ".join(self.value(column) for _ in range(self.any(1, 2, 2, 3)))

    def condition(self, alias: str, table: str, *, deep: int = 1) -> str:
        column = self.any(*COLUMNS[table])
        named = f"{alias}.{column}" if alias else column
        match self.any(*["key"] * 6, "=", "in", "range", "or", "not", "exists", "null", "sub"):
            case "in":
                return f"{named} IN ({self.listed(column)})"
            case "key" if table in KEYS:
                return self.by_key(alias, table)
            case "range":
                return f"{named} {self.any('<', '>', '<>', '>=')} {self.value(column, odd=False)}"
            case "or" if deep:
                left = self.condition(alias, table, deep=deep - 1)
                return f"({left} OR {self.condition(alias, table, deep=deep - 1)})"
            case "not" if deep:
                return f"NOT ({self.condition(alias, table, deep=deep - 1)})"
            case "exists" if deep:
                other = self.any(*COLUMNS)
                return f"EXISTS (SELECT 1 FROM {other} q WHERE {self.condition('q', other, deep=0)})"
            case "null":
                return f"{named} IS NOT NULL"
            case "sub" if deep:
                other = self.any("book", "entry")
                inner = "id" if other == "book" else "book_id"
                ours = next((each for each in COLUMNS[table] if each not in TEXTS), None)
                if ours:
                    ours = f"{alias}.{ours}" if alias else ours
                    return f"{ours} IN (SELECT {inner} FROM {other} WHERE {self.condition('', other, deep=0)})"
        return f"{named} = {self.value(column)}"

    def by_key(self, alias: str, table: str) -> str:
        key = KEYS[table]
        named = [f"{alias}.{column}" if alias else column for column in key]
        if len(key) > 1 and self.maybe(2):
            rows = [", ".join(self.value(column) for column in key) for _ in range(self.any(1, 2))]
            return f"({', '.join(named)}) IN ({', '.join(f'({row})' for row in rows)})"
        parts = []
        for name, column in zip(named, key, strict=True):
            if self.maybe(2):
                parts.append(f"{name} IN ({self.listed(column)})")
            elif self.maybe():
                parts.append(f"{self.value(column)} = {name}")
            else:
                parts.append(f"{name} = {self.value(column)}")
        return f"({' AND '.join(parts)})" if self.maybe() else " AND ".join(parts)

    def where(self, tables: Sequence[tuple[str, str]]) -> str:
        parts = [self.condition(*self.any(*tables)) for _ in range(self.any(0, 0, 1, 1, 2))]
        alias, table = self.any(*tables)
        if table in KEYS and not self.maybe(2):
            parts.insert(self.any(0, len(parts)), self.by_key(alias, table))
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def select(self) -> str:
        """A SELECT of any form."""
        match self.any(*["detail"] * 8, *["plain"] * 8, "union", "cte", "nested"):
            case "detail":
                return self.detail()
            case "union":
                width = "1 AS x"
                return f"{self.core(width)} {self.any('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT')} {self.core(width)}"
            case "cte":
                name = self.any("book", "fresh", "author")
                body = self.core("3 AS id, 'z' AS title, 9 AS price, 'n' AS name, 1 AS author_id")
                return f"WITH {name} AS ({body}) {self.core('1')}"
            case "nested":
                return f"SELECT count(*), max(x) FROM ({self.core('1 AS x')}) s"
        return self.core()

    def core(self, fixed: str = "") -> str:
        tables = self.froms()
        projected = fixed or self.projection(tables)
        text = f"SELECT {projected} FROM {self.joined(tables)}{self.where(tables)}"
        if not fixed and self.maybe(5):
            text = self.grouped(tables) + self.where(tables)
            alias, table = tables[0]
            grouping = f"{alias}.{COLUMNS[table][0]}" if alias else COLUMNS[table][0]
            text += f" GROUP BY {grouping}{self.any('', '', ' HAVING count(*) > 0')}"
        if not fixed and self.maybe(4):
            text += f" LIMIT {self.any(0, 1, 2)} OFFSET {self.any(0, 0, 1)}" if self.maybe() else " LIMIT 21"
        return text

    def detail(self) -> str:
        """What a page about one object asks, or one about a few."""
        alias, table, joined = self.any(
            ("", "book", ""), ("", "entry", ""), ("", "tag", ""), ("b", "book", " AS b"), ("e", "ebook", " AS e"),
            ("b", "book", " AS b INNER JOIN ebook AS e ON (e.book_ptr_id = b.id)"),
            ("e", "ebook", " AS e INNER JOIN book AS b ON (e.book_ptr_id = b.id)"),
            ("b", "book", " AS b LEFT JOIN ebook AS e ON (e.book_ptr_id = b.id)"),
            ("b", "book", " AS b LEFT JOIN author AS a ON (a.id = b.author_id)"),
            ("b", "book", " AS b JOIN author AS a ON (a.id = b.author_id) RIGHT JOIN tag AS t ON (t.code = b.title)"),
            ("b", "book", " AS b LEFT JOIN entry AS e ON (e.book_id = b.id)"),
            ("a", "author", " AS a INNER JOIN book AS b ON (a.id = b.author_id)"),
            ("b", "book", " AS b, ebook AS e"),
        )
        if "INNER" in joined and self.maybe():  # the other one of the two is restricted
            alias, table = {"b": ("e", "ebook"), "e": ("b", "book"), "a": ("b", "book")}[alias] \
                if "author AS a" not in joined or alias == "a" else (alias, table)
        first = joined.split()[1] if joined else ""
        start = {"b": "book", "e": "ebook", "a": "author"}.get(first, table)
        projected = self.projection([(alias, table)])
        text = f"SELECT {projected} FROM {start}{joined} WHERE {self.by_key(alias, table)}"
        if self.maybe():
            text += f" AND {self.condition(alias, table, deep=0)}"
        return text + self.any("", "", "", " LIMIT 21", " LIMIT 1", " ORDER BY 1 DESC", " GROUP BY 1")

    def grouped(self, tables: list[tuple[str, str]]) -> str:
        alias, table = tables[0]
        column = f"{alias}.{COLUMNS[table][0]}" if alias else COLUMNS[table][0]
        return f"SELECT {column}, count(*) FROM {self.joined(tables)}"

    def froms(self) -> list[tuple[str, str]]:
        """Alias and table of what is selected from; an empty alias for a table that stands alone."""
        count = self.any(1, 1, 1, 2, 2, 3)
        names = [self.any("book", "book", *COLUMNS) for _ in range(count)]
        if count > 1 and self.maybe(2):
            names = self.any(["book", "ebook"], ["ebook", "book"], ["book", "author"], ["ebook", "book", "author"])
        if count == 1 and self.maybe(1):
            return [("", names[0])]
        return [(f"t{number}", name) for number, name in enumerate(names)]

    def joined(self, tables: list[tuple[str, str]]) -> str:
        if not tables[0][0]:
            return tables[0][1]
        text = f"{tables[0][1]} AS {tables[0][0]}"
        for number, (alias, table) in enumerate(tables[1:], 1):
            before = tables[:number]
            how = self.any("INNER JOIN", "INNER JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", ",")
            if how == ",":
                text += f" CROSS JOIN {table} AS {alias}"
            else:
                text += f" {how} {table} AS {alias} ON {self.on(before, alias, table)}"
        return text

    def on(self, before: list[tuple[str, str]], alias: str, table: str) -> str:
        other, over = self.any(*before)
        same = {"book": "id", "ebook": "book_ptr_id", "entry": "book_id", "cheap": "id"}
        if table in same and over in same and not self.maybe(5):
            condition = f"{alias}.{same[table]} = {other}.{same[over]}"
        elif {table, over} == {"author", "book"}:
            book, author = (alias, other) if table == "book" else (other, alias)
            condition = f"{book}.author_id = {author}.id"
        else:
            condition = f"{alias}.{self.any(*COLUMNS[table])} = {other}.{self.any(*COLUMNS[over])}"
            if (condition.split(" = ")[0].split(".")[1] in TEXTS) != (condition.rsplit(".", 1)[1] in TEXTS):
                condition = "1 = 1"
        return f"{condition} AND {self.condition(alias, table, deep=0)}" if self.maybe(5) else condition

    def projection(self, tables: list[tuple[str, str]]) -> str:
        alias, table = self.any(*tables)
        column = self.any(*COLUMNS[table])
        named = f"{alias}.{column}" if alias else column
        other = self.any("entry", "book", "tag")
        return self.any(
            *["*"] * 7, "1 AS a", named, f"DISTINCT {named}", "count(*)", f"max({named})", f"{named}, count(*) OVER ()",
            f"lower('X'), {named}", f"(SELECT count(*) FROM {other} u), {named}",
            f"(SELECT max({named}) FROM {other} u)",
            f"(SELECT max(u.{COLUMNS[other][0]}) FROM {other} u), {named}",
            f"CASE WHEN {named} IS NULL THEN 1 ELSE 2 END", f"sum(1), {named}",
        )

    def write(self) -> str:
        """An INSERT, UPDATE or DELETE of any form."""
        table = self.any("book", "book", "book", *KEYS, "cheap") if self.maybe(3) else self.any(*KEYS)
        columns = COLUMNS[table]
        match self.any(*["update"] * 6, "delete", "delete", "delete", "insert", "upsert", "select", "case", "rekey"):
            case "insert":
                return self.insert(table)
            case "upsert" if table in KEYS:
                column = self.any(*columns)
                return f"{self.insert(table)} ON CONFLICT ({', '.join(KEYS[table])}) " + self.any(
                    "DO NOTHING", f"DO UPDATE SET {column} = EXCLUDED.{column}")
            case "select" if table == "book":
                return (f"INSERT INTO book (id, title, price) SELECT b.id + 3, b.title, b.price FROM book b"
                        f"{self.where([('b', 'book')])}")
            case "delete":
                return f"DELETE FROM {table}{self.where([(self.any('', table), table)])}"
            case "case" if table in KEYS and len(KEYS[table]) == 1:
                key, column = KEYS[table][0], columns[1]
                arms = " ".join(
                    f"WHEN ({table}.{key} = {self.value(key, odd=False)}) THEN {self.value(column, odd=False)}"
                    for _ in range(3))
                return f"UPDATE {table} SET {column} = CASE {arms} ELSE {column} END WHERE {self.by_key(table, table)}"
            case "rekey" if table in KEYS:
                key = KEYS[table][0]
                return f"UPDATE {table} SET {key} = {self.value(key, odd=False)}{self.where([('', table)])}"
        column = self.any(*columns[1:])
        start = f"UPDATE {table} SET {column} = {self.value(column, odd=False)}"
        if table == "book" and self.maybe(3):
            return f"{start} FROM author AS a{self.where([('book', 'book'), ('a', 'author')])}"
        return start + self.where([(self.any("", table), table)])

    def insert(self, table: str) -> str:
        columns = list(COLUMNS[table])
        if self.maybe(4) and table in ("book", "author"):
            columns.remove("id")
        rows = [", ".join(self.value(column, odd=False) for column in columns) for _ in range(self.any(1, 1, 2, 3))]
        return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join(f'({row})' for row in rows)}"


def sentence(kind: str, place: str, choose: Callable[[Sequence[Any]], Any]) -> tuple[str, tuple[Any, ...]]:
    """A SELECT ("read"), or a write, and its parameters."""
    made = Sentence(choose, place)
    text = made.select() if kind == "read" else made.write()
    return text, tuple(made.parameters)
