"""P3 and P4: fences go up right before the COMMIT and come down right after it, whatever the transaction was like."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.test import Client

from cachefence_web.core.effects import Fence, Lift, Outcome
from cachefence_web.django import CommitRefused, fence
from cachefence_web.django.commits import Commits
from tests.django_following.shop.models import Author, Book, Review
from tests.django_following.spying import listen
from tests.django_following.test_matrix import shown
from tests.django_following.writes import by_hand, in_a_savepoint, in_words, new, one, run, saved
from tests.following.outages import another_process, settled
from tests.servers import RedisServer

COMMITTING: dict[str, Callable[[], object]] = {
    "save": saved,
    "create": lambda: new().save(force_insert=True),
    "create, of a key that the database makes": lambda: Book.objects.create(title="New", isbn="isbn-900"),
    "bulk_create": lambda: Book.objects.bulk_create([new(), new(901)]),
    "update": lambda: Book.objects.update(title="All"),
    "delete": lambda: Book.objects.filter(pk=1).delete(),
    "raw": lambda: run("UPDATE followed_book SET title = 'All'"),
    "raw, returning": lambda: run("UPDATE followed_book SET title = 'All' RETURNING id"),
}


def elsewhere(work: Callable[[], Any]) -> Any:
    """What another connection makes of it."""
    results: list[Any] = []

    def there() -> None:
        try:
            results.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    return results[0]


def rows() -> list[Any]:
    return sorted(Book.objects.values_list("pk", "title"))


@pytest.mark.parametrize("write", COMMITTING)
def test_p3_at_the_fence_nothing_is_committed_and_at_the_lift_everything_is(
    write: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows()
    seen: list[tuple[type, list[Any]]] = []
    heard = listen(monkeypatch, lambda effect: seen.append((type(effect), elsewhere(rows))))

    COMMITTING[write]()

    assert seen == [(Fence, before), (Lift, rows())]
    assert rows() != before
    assert heard[0].tags == heard[1].tags
    assert [effect.outcome for effect in heard if isinstance(effect, Lift)] == [Outcome.COMMITTED]


def test_a_rollback_tells_nobody_and_every_page_is_still_a_hit(
    database: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(client, "pk")
    heard = listen(monkeypatch)
    with transaction.atomic():
        saved()
        transaction.set_rollback(True)
    assert heard == []
    assert shown(client, "pk") == ("'One/1'", True)


def test_one_fence_and_one_lift_for_a_transaction_of_many_statements(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = listen(monkeypatch)
    with transaction.atomic():
        for pk in (1, 2):
            Book.objects.filter(pk=pk).update(title="x")
        with transaction.atomic():
            Author.objects.create(name="Cy")
    assert [type(effect) for effect in heard] == [Fence, Lift]
    assert {"followed_book:1", "followed_book:2", "followed_book", "followed_author"} <= {*heard[0].tags}


def test_thousands_of_rows_are_told_as_a_table(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = listen(monkeypatch)
    with transaction.atomic(), connection.cursor() as cursor:
        for pk in range(1_500):
            cursor.execute("UPDATE followed_book SET title = 'x' WHERE id = %s", [pk])
    assert set(heard[0].tags) == {"followed_book", "followed_book:*"}


def test_p3_a_transaction_that_has_written_reads_its_own_writes_and_stores_nothing(
    database: Any, client: Client
) -> None:
    assert shown(client, "pk") == ("'One/1'", False)
    with transaction.atomic():
        Book.objects.filter(pk=1).update(title="mine")
        assert shown(client, "pk") == ("'mine/1'", False)
        assert fence().get_or_set("title", lambda: one().title) == "mine"
        assert fence().get_or_set_many(["a", "b"], lambda keys: dict.fromkeys(keys, one().title)) == {
            "a": "mine", "b": "mine"}
        assert elsewhere(lambda: shown(Client(headers={"host": "shop.example"}), "pk")) == ("'One/1'", True)
        transaction.set_rollback(True)
    assert shown(client, "pk") == ("'One/1'", True)
    assert fence().get_or_set("title", lambda: one().title) == "One"
    assert fence().get_many(["a", "b"]) == {}


@pytest.mark.parametrize("in_a_thread", [False, True])
def test_p3_an_async_cache_used_in_such_a_transaction_does_so_too(in_a_thread: bool, database: Any) -> None:
    async def title() -> str:
        return (await Book.objects.aget(pk=1)).title

    def title_in_a_thread() -> str:
        """One that is not async is run where the connection is another one."""
        try:
            return one().title
        finally:
            connections.close_all()

    def ask(key: str) -> str:
        return async_to_sync(fence().aio.get_or_set)(key, title_in_a_thread if in_a_thread else title)

    own = "One" if in_a_thread else "mine"
    assert (ask("known"), fence().get("known")) == ("One", "One")
    with transaction.atomic():
        Book.objects.filter(pk=1).update(title="mine")
        assert (ask("known"), ask("unknown")) == (own, own)
        assert fence().get("unknown") is None
        transaction.set_rollback(True)
    assert (ask("known"), fence().get_many(["known", "unknown"])) == ("One", {"known": "One"})
    with transaction.atomic():
        Book.objects.filter(pk=1).update(title="mine")
    assert (ask("known"), ask("unknown")) == ("mine", "mine")


def test_p3_what_a_compute_read_of_its_own_transaction_is_not_stored_nor_what_is_made_of_it(database: Any) -> None:
    def inner() -> str:
        with transaction.atomic():
            Book.objects.filter(pk=1).update(title="never")
            title = one().title
            transaction.set_rollback(True)
        return title

    assert fence().get_or_set("outer", lambda: fence().get_or_set("inner", inner)) == "never"
    assert fence().get_many(["outer", "inner"]) == {}


def test_p3_pages_of_atomic_requests_are_stored_and_right(
    vendor: str, database: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    shown(client, "filtered")
    assert shown(client, "filtered")[1]
    saved()
    assert shown(client, "filtered") == ("'1/5, Three/3, Two/2'", False)


@pytest.mark.parametrize("repeatable", [False, True])
def test_p3_a_lease_granted_within_a_snapshot_stores_nothing(repeatable: bool, vendor: str, database: Any) -> None:
    with transaction.atomic():
        if repeatable and vendor == "postgresql":
            run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        Author.objects.count()
        if vendor == "postgresql":  # SQLite lets nobody write meanwhile, unless it keeps a write-ahead log
            elsewhere(lambda: Book.objects.filter(pk=1).update(title="later"))
        found = fence().get_or_set("title", lambda: one().title)
    snapshot = vendor == "sqlite" or repeatable
    assert found == ("One" if snapshot else "later")
    assert ("title" in fence().get_many(["title"])) is not snapshot
    assert fence().get_or_set("title", lambda: one().title) == ("One" if vendor == "sqlite" else "later")


def test_a_lease_granted_before_the_first_statement_of_a_snapshot_is_stored(database: Any) -> None:
    with transaction.atomic():
        fence().get_or_set("title", lambda: one().title)
    assert fence().get("title") == "One"


@pytest.mark.parametrize("vendor", ["postgresql"])  # nobody can end SQLite's
def test_p4_a_connection_that_dies_before_its_commit_leaves_the_old_page_and_a_fence(
    vendor: str, database: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(client, "pk")
    heard = listen(monkeypatch)
    with pytest.raises(OperationalError), transaction.atomic():  # noqa: PT012 (what is raised at its end)
        saved()
        pid = connection.connection.info.backend_pid
        elsewhere(lambda: run("SELECT pg_terminate_backend(%s)", pid))
    assert [effect.outcome for effect in heard if isinstance(effect, Lift)] == [Outcome.UNKNOWN]
    connection.close()
    assert shown(client, "pk") == ("'One/1'", False)


@pytest.mark.parametrize("vendor", ["postgresql"])  # the driver's connection takes no attributes in SQLite
def test_p4_a_commit_that_was_made_and_never_acknowledged_is_seen(
    vendor: str, database: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(client, "pk")

    def commit_and_die() -> None:
        type(connection.connection).commit(connection.connection)
        raise connection.Database.OperationalError("the line is cut")

    with pytest.raises(OperationalError), transaction.atomic():  # noqa: PT012 (what is raised at its end)
        saved()
        connection.connection.commit = commit_and_die
    connection.close()
    assert shown(client, "pk") == ("'1/5'", False)


def test_a_commit_that_is_known_to_have_failed_only_drops_the_fence(
    vendor: str, database: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown(client, "pk")
    heard = listen(monkeypatch)
    with pytest.raises(DatabaseError), transaction.atomic():  # noqa: PT012 (what is raised at its end)
        saved()
        Review.objects.create(book_id=12345, stars=1)  # checked at the end of the transaction
    outcomes = [effect.outcome for effect in heard if isinstance(effect, Lift)]
    # Django's SQLite checks foreign keys as PostgreSQL does, at COMMIT.
    assert outcomes == [Outcome.ROLLED_BACK]
    assert shown(client, "pk") == ("'One/1'", True)


def test_a_failed_begin_changes_nothing(vendor: str, database: Any, client: Client) -> None:
    shown(client, "pk")
    with pytest.raises(DatabaseError):
        run("BEGIN NONSENSE")
    saved()
    assert shown(client, "pk") == ("'1/5'", False)


@pytest.mark.parametrize("write", [saved, by_hand, in_words, in_a_savepoint], ids=lambda write: write.__name__)
def test_p3_a_driver_that_says_nothing_of_its_transactions_is_followed_by_words(
    write: Callable[[], None], database: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Commits, "_within", lambda self: self.in_words or None)
    shown(client, "pk")
    with transaction.atomic():
        saved()
        transaction.set_rollback(True)
    assert shown(client, "pk") == ("'One/1'", True)
    heard = listen(monkeypatch, lambda effect: seen.append((type(effect), elsewhere(rows))))
    seen: list[tuple[type, list[Any]]] = []
    write()
    after = rows()
    assert [what for kind, what in seen if kind is Lift] == [after]
    assert len(heard) == 2
    assert shown(client, "pk")[0] == f"'1/{one().price}'"


def test_a_durable_block_commits_as_any_other(database: Any, client: Client) -> None:
    shown(client, "pk")
    with transaction.atomic(durable=True):
        saved()
    assert shown(client, "pk") == ("'1/5'", False)


@pytest.mark.parametrize("in_a_block", [True, False])
def test_p6_a_cache_that_refuses_stops_the_commit_and_nothing_is_written(
    in_a_block: bool, database: Any, settings: Any
) -> None:
    settings.CACHES = away("raise")
    assert issubclass(CommitRefused, DatabaseError)
    with pytest.raises(CommitRefused, match="nothing was committed"):  # noqa: PT012 (what is raised at its end)
        if in_a_block:
            with transaction.atomic():
                saved()
        else:
            Book.objects.filter(pk=1).update(title="1")
    assert one().title == "One"


def test_p6_a_cache_that_logs_lets_the_commit_go_on(
    database: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CACHES = away("log")
    with transaction.atomic():
        saved()
    assert one().title == "1"
    assert "did not reach the store" in caplog.text


def test_p6_a_commit_is_made_and_told_when_the_store_is_back(
    database: Any, settings: Any, namespace: str, new_redis: Callable[..., RedisServer]
) -> None:
    server = new_redis()
    other = another_process(server, namespace)
    settings.CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": server.url,
                                   "OPTIONS": {"namespace": namespace, "timeout": 1.0}}}
    for row in (1, 2):
        other.set(f"book:{row}", "old", tags=[f"followed_book:{row}"])
    server.pause()
    with transaction.atomic():
        saved()
    server.resume()
    settled(fence())
    assert (other.get("book:1"), other.get("book:2")) == (None, "old")
    assert one().title == "1"
    other.close()


def away(on_outage: str) -> dict[str, Any]:
    return {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "redis://127.0.0.1:1/0",
                        "OPTIONS": {"on_outage": on_outage, "timeout": 0.2}}}


def test_every_cache_is_told_and_each_namespace_once(
    database: Any, settings: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://"}
    settings.CACHES = {
        "default": {**ours, "OPTIONS": {"namespace": namespace}},
        "same": {**ours, "OPTIONS": {"namespace": namespace, "ttl": 5}},
        "other": {**ours, "OPTIONS": {"namespace": f"{namespace}.other"}},
        "alien": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    fence("other").set("k", "old", tags=["followed_book:1"])
    heard = listen(monkeypatch)
    Book.objects.filter(pk=1).update(title="x")
    assert [type(effect) for effect in heard] == [Fence, Fence, Lift, Lift]
    assert fence("other").get("k") is None
