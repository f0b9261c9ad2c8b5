"""`on_outage="outbox"`: a commit that the cache cannot be told of has a row in its own transaction, told by anybody."""

from __future__ import annotations

import io
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.db import IntegrityError, InternalError, OperationalError, connection, connections, transaction
from django.test import Client

from cachefence_web import ConfigurationError, StoreUnavailable
from cachefence_web.django import fence
from cachefence_web.django.draining import drain
from cachefence_web.django.models import Outbox
from cachefence_web.following.outbox import MOST, rows_for
from cachefence_web.runtime.outboxes import Busy
from tests.django_following.conftest import LONG
from tests.django_following.shop.models import Book
from tests.django_following.test_commits import elsewhere
from tests.django_following.test_matrix import shown
from tests.django_following.writes import one, saved
from tests.following.outages import another_process, out_of_reach, settled
from tests.servers import RedisServer

NOWHERE = "redis://127.0.0.1:1/0"


def cache_on(location: str, namespace: str, timeout: float = LONG) -> dict[str, Any]:
    """So long a life that the look which follows each outage after one life meets nothing of the test."""
    return {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": location,
            "OPTIONS": {"namespace": namespace, "on_outage": "outbox", "timeout": timeout, "fence_life": 600.0}}


@pytest.fixture
def outbox(database: Any) -> Iterator[Callable[[], list[list[str]]]]:
    """The tags of the rows there are, as another connection sees them."""
    def rows() -> list[list[str]]:
        return [json.loads(tags) for tags in Outbox.objects.values_list("tags", flat=True)]

    elsewhere(lambda: Outbox.objects.all().delete())
    yield lambda: elsewhere(rows)  # type: ignore[no-any-return]
    elsewhere(lambda: Outbox.objects.all().delete())


@pytest.fixture
def away(settings: Any, namespace: str, outbox: Any) -> None:
    settings.CACHES = {"default": cache_on(NOWHERE, namespace)}


@pytest.fixture
def on_server(
    settings: Any, namespace: str, outbox: Any, new_redis: Callable[..., RedisServer]
) -> Iterator[RedisServer]:
    server = new_redis()
    settings.CACHES = {"default": cache_on(server.url, namespace)}
    yield server
    fence().close()


def in_a_block() -> None:
    with transaction.atomic():
        saved()


def in_words() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE followed_book SET title = '1' WHERE id = 1")
        cursor.execute("COMMIT")


def rolled_back() -> None:
    with transaction.atomic():
        saved()
        transaction.set_rollback(True)


def fails_alone() -> None:
    with pytest.raises(IntegrityError):
        Book.objects.filter(pk=1).update(isbn="isbn-2")


WRITES: dict[str, tuple[Callable[[], object], bool]] = {
    "a block": (in_a_block, True),
    "by itself": (lambda: Book.objects.filter(pk=1).update(title="1"), True),
    "words": (in_words, True),
    "rolled back": (rolled_back, False),
    "fails": (fails_alone, False),
}


@pytest.mark.parametrize("write", WRITES)
def test_p6_the_row_is_there_if_and_only_if_the_transaction_is_committed(
    write: str, away: None, outbox: Callable[[], list[list[str]]]
) -> None:
    run, commits = WRITES[write]
    run()
    assert [set(tags) for tags in outbox()] == [{"followed_book", "followed_book:1"}] * commits
    assert one().title == ("1" if commits else "One")
    assert fence().stats().journaled == (write != "rolled back"), "a look into the outbox, before Redis is read"


@pytest.mark.parametrize("gone", ["paused", "killed"])
def test_p6_what_waits_is_told_when_redis_is_back(
    gone: str, on_server: RedisServer, namespace: str, settings: Any, outbox: Callable[[], list[list[str]]]
) -> None:
    settings.CACHES = {"default": cache_on(on_server.url, namespace, timeout=1.0)}
    other = another_process(on_server, namespace)
    for row in (1, 2):
        other.set(f"book:{row}", "old", tags=[f"followed_book:{row}"])
    fence().get("any")
    if gone == "paused":
        on_server.pause()
    else:
        on_server.kill()
    in_a_block()
    assert len(outbox()) == 1
    assert fence().get_or_set("book:1", lambda: "new") == "new"
    if gone == "paused":
        on_server.resume()
    else:
        on_server.start()
    settled(fence())
    assert outbox() == []
    assert (other.get("book:1"), other.get("book:2")) == (None, "old" if gone == "paused" else None)
    other.close()


@pytest.mark.parametrize("reader", ["lived through it", "begins later"])
def test_p4_the_page_is_right_though_its_writer_was_killed(
    reader: str, vendor: str, places: Any, on_server: RedisServer, namespace: str, settings: Any, client: Client,
    outbox: Callable[[], list[list[str]]],
) -> None:
    shown(client, "pk")
    assert shown(client, "pk") == ("'One/1'", True)
    with out_of_reach(on_server):
        died = subprocess.run(
            [sys.executable, "-m", "tests.django_following.dying_away", json.dumps(places[vendor]),
             json.dumps(cache_on(on_server.url, namespace))],
            cwd=Path(__file__).parents[2], capture_output=True, timeout=60, check=False)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert len(outbox()) == 1
        if reader == "lived through it":
            assert shown(client, "pk") == ("'from the grave/1'", False)
        else:
            fence().close()
            there = on_server.url.replace("/redis.sock", "/./redis.sock")
            settings.CACHES = {"default": cache_on(there, namespace)}
    assert shown(client, "pk")[0] == "'from the grave/1'"
    settled(fence())
    assert shown(client, "pk")[0] == "'from the grave/1'"
    assert shown(client, "pk")[1]
    assert outbox() == []


def waiting(namespace: str, count: int) -> None:
    for number in range(count):
        for row, whose, tags in rows_for([namespace], (f"followed_book:{number}",)):
            Outbox.objects.create(id=row, namespace=whose, tags=tags)


def test_p6_two_who_tell_at_once_leave_nothing_out(
    vendor: str, on_server: RedisServer, namespace: str, outbox: Callable[[], list[list[str]]]
) -> None:
    count = 2 * MOST + 50
    fence().get("any")
    fence().set("kept", "v", tags=["kept"])
    for number in range(count):
        fence().set(f"k{number}", "v", tags=[f"followed_book:{number}"])
    with transaction.atomic():
        waiting(namespace, count)
    begin = threading.Barrier(2)
    told: list[int] = []

    def telling() -> None:
        begin.wait()
        try:
            while True:
                try:
                    told.append(drain(fence())["default"])
                except Busy:
                    continue
                return
        finally:
            connections.close_all()

    threads = [threading.Thread(target=telling) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outbox() == []
    settled(fence())  # one more look may have met the two
    assert list(fence().get_many(["kept", *[f"k{number}" for number in range(count)]])) == ["kept"]
    assert len(told) == 2


@pytest.mark.parametrize("vendor", ["postgresql"], indirect=True)  # which locks rows
def test_p6_while_another_tells_nobody_is_done(
    on_server: RedisServer, namespace: str, vendor: str, outbox: Callable[[], list[list[str]]]
) -> None:
    waiting(namespace, 3)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM cachefence_outbox LIMIT 1 FOR UPDATE")
        with pytest.raises(Busy):
            elsewhere_raises(lambda: drain(fence()))
    assert len(outbox()) == 1
    assert drain(fence()) == {"default": 1}


def elsewhere_raises(work: Callable[[], Any]) -> None:
    """Run it in a thread, and raise here what it raises there."""
    def caught() -> BaseException | None:
        try:
            work()
        except BaseException as error:
            return error
        return None

    error = elsewhere(caught)
    if error is not None:
        raise error


@pytest.mark.parametrize("vendor", ["sqlite"], indirect=True)  # which tells each statement that it runs
def test_while_redis_is_there_no_statement_is_added(
    vendor: str, on_server: RedisServer, outbox: Callable[[], list[list[str]]]
) -> None:
    fence().get("any")
    said: list[str] = []
    connection.ensure_connection()
    connection.connection.set_trace_callback(said.append)
    in_a_block()
    Book.objects.filter(pk=2).update(title="2")
    connection.connection.set_trace_callback(None)
    assert [text.split()[0] for text in said] == ["BEGIN", "SELECT", "UPDATE", "COMMIT", "UPDATE"]
    assert outbox() == []
    assert fence().stats().journaled == 0


def test_p6_without_the_table_the_process_remembers_and_says_what_to_do(
    on_server: RedisServer, namespace: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachefence_web.django.outbox._said", set())
    other = another_process(on_server, namespace)
    other.set("book:1", "old", tags=["followed_book:1"])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cachefence_outbox RENAME TO cachefence_elsewhere")
    try:
        fence().get("any")
        with out_of_reach(on_server):
            in_a_block()
            Book.objects.filter(pk=2).update(title="2")
            assert one().title == "1", "the transaction is none the worse for it"
            assert caplog.text.count("manage.py migrate") == 1
            assert fence().stats().journaled > 1
        settled(fence())
        assert other.get("book:1") is None
    finally:
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE cachefence_elsewhere RENAME TO cachefence_outbox")


@pytest.mark.parametrize("vendor", ["postgresql"], indirect=True)  # which says so of a whole session
def test_p6_where_nothing_can_be_written_it_matters_only_that_nothing_waits(
    on_server: RedisServer, namespace: str, vendor: str, outbox: Callable[[], list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {**connection.settings_dict["OPTIONS"], "options": "-c default_transaction_read_only=on"}
    connection.ensure_connection()  # as it is: the others are new
    with monkeypatch.context() as changed:
        changed.setitem(connections.settings["default"], "OPTIONS", options)
        assert drain(fence()) == {"default": 0}
        assert fence().set("a", 1)
        assert fence().get("a") == 1
        waiting(namespace, 1)
        with pytest.raises(InternalError, match="read-only"):
            drain(fence())


def test_p6_a_database_that_is_down_keeps_nobody_from_another_s_rows(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def look(alias: str, *_: object) -> int:
        if alias == "down":
            raise OperationalError("it is down")
        told.append(alias)
        return 1

    monkeypatch.setattr("cachefence_web.django.draining._aliases", lambda: ["down", "default"])
    monkeypatch.setattr("cachefence_web.django.draining._drained", look)
    with pytest.raises(OperationalError, match="down"):
        drain(fence())
    assert told == ["default"]


class Apart:
    """A router that keeps the table away."""

    def allow_migrate(self, db: str, app_label: str, **_: object) -> bool | None:
        return False if app_label == "cachefence" else None


def test_who_has_routed_the_table_away_is_told_of_the_router(
    away: None, settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachefence_web.django.outbox._said", set())
    monkeypatch.setattr("cachefence_web.django.outbox.TABLE", "nowhere")
    settings.DATABASE_ROUTERS = [Apart()]
    in_a_block()
    assert "DATABASE_ROUTERS" in caplog.text
    assert "manage.py migrate" not in caplog.text
    out = io.StringIO()
    settings.CACHES = {"default": cache_on("memory://", "routed")}
    call_command("cachefence", "drain", stdout=out, stderr=io.StringIO())
    assert "DATABASE_ROUTERS" in out.getvalue()


def test_p6_what_cannot_run_in_a_transaction_is_left_to_the_journal(
    vendor: str, on_server: RedisServer, outbox: Callable[[], list[list[str]]]
) -> None:
    fence().get("any")
    with out_of_reach(on_server):
        with connection.cursor() as cursor:
            cursor.execute("VACUUM followed_book" if vendor == "postgresql" else "VACUUM")
            cursor.execute("CREATE TABLE followed_passing (id int)")
            cursor.execute("DROP TABLE followed_passing")
        assert outbox() == []
        assert fence().stats().journaled > 1
    settled(fence())


def test_a_new_process_waits_for_its_first_look_and_loses_nothing(
    on_server: RedisServer, namespace: str, outbox: Callable[[], list[list[str]]]
) -> None:
    other = another_process(on_server, namespace)
    other.set("session", 7)
    other.set("book:1", "old", tags=["followed_book:1"])
    waiting(namespace, 2)
    assert fence().get_many(["session", "book:1"]) == {"session": 7}
    assert fence().set("session", 8)
    assert other.get("session") == 8
    other.close()


def test_one_who_only_writes_waits_for_nothing(on_server: RedisServer, vendor: str) -> None:
    Book.objects.filter(pk=1).update(title="1")
    assert not fence()._terms.engine.outage._used


def test_in_a_test_that_may_use_no_database_the_cache_works(
    on_server: RedisServer, vendor: str, django_db_blocker: Any
) -> None:
    with django_db_blocker.block():
        assert fence().set("a", 1)
        assert fence().get("a") == 1


def test_the_command_tells_what_waits(
    on_server: RedisServer, namespace: str, outbox: Callable[[], list[list[str]]]
) -> None:
    fence().set("book:1", "old", tags=["followed_book:1"])
    waiting(namespace, 3)
    waiting(f"{namespace}.other", 1)
    out = io.StringIO()
    call_command("cachefence", "drain", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"drained": {"default": 3}}
    assert fence().get("book:1") is None
    assert len(outbox()) == 1, "that of another cache"
    call_command("cachefence", "drain", stdout=out)
    assert "default: told of 0 commits." in out.getvalue()


@pytest.mark.parametrize("vendor", ["postgresql"], indirect=True)
@pytest.mark.parametrize("words", [["drain"], ["explain", "/pk/1/", "--user", "anybody"]])
def test_the_command_fails_in_one_line_while_the_database_is_away(
    on_server: RedisServer, vendor: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def there() -> None:
        with pytest.raises(CommandError, match="a database could not be asked"):
            call_command("cachefence", *words)

    with monkeypatch.context() as changed:
        changed.setitem(connections.settings["default"], "HOST", "/nowhere")
        elsewhere_raises(there)


def test_the_command_fails_while_redis_is_away(
    away: None, namespace: str, outbox: Callable[[], list[list[str]]]
) -> None:
    waiting(namespace, 1)
    with pytest.raises(CommandError):
        call_command("cachefence", "drain")
    with pytest.raises(StoreUnavailable):
        drain(fence())
    assert len(outbox()) >= 1


def test_the_migration_is_what_the_model_says(database: Any) -> None:
    call_command("makemigrations", "cachefence", check=True, verbosity=0)


def test_without_the_app_it_is_refused(
    settings: Any, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    settings.CACHES = {"default": cache_on(NOWHERE, namespace)}
    with pytest.raises(ConfigurationError, match=r'\["on_outage"\]: "outbox" is a table of an app'):
        caches["default"].get("k")
    assert logging.getLogger("cachefence_web").handlers == []
