"""`invalidates`: a committed change shows at once, one that was rolled back invalidates nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext

from cachefence_web import CacheFence, ConfigurationError, StoreUnavailable
from cachefence_web.django import fence, invalidates
from tests.django.library.models import Book, Favourite, Loan, Novel, Reader, Tag

pytestmark = [pytest.mark.usefixtures("on_store"), pytest.mark.django_db(transaction=True)]

Follow = Callable[..., Any]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """`invalidates`, ended with the test."""
    subscriptions: list[Any] = []

    def subscribe(model: Any, **options: Any) -> Any:
        subscriptions.append(invalidates(model, **options))
        return subscriptions[-1]

    yield subscribe
    for subscription in subscriptions:
        subscription.disconnect()


class Sent:
    """The tags of each invalidation that went out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[set[str]] = []
        send = CacheFence.invalidate_tags

        def spy(face: CacheFence, *tags: str) -> None:
            self.calls.append(set(tags))
            send(face, *tags)

        monkeypatch.setattr(CacheFence, "invalidate_tags", spy)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    return Sent(monkeypatch)


def by_pk(model: type[models.Model] = Book) -> list[str]:
    return [f"{model.__name__.lower()}:{{pk}}"]


def rolled_back() -> Book:
    """A book made in a block that did not last."""
    with transaction.atomic():
        book = Book.objects.create()
        transaction.set_rollback(True)
    return book


def test_p3_a_page_is_right_as_soon_as_a_save_has_returned(follow: Follow) -> None:
    follow(Book, tags=["book:{pk}"])
    book = Book.objects.create(title="old")

    def title() -> str:
        return fence().get_or_set("title", lambda: Book.objects.get().title, tags=[f"book:{book.pk}"])

    assert title() == "old"
    book.title = "new"
    book.save()
    assert title() == "new"
    with transaction.atomic():
        Book.objects.get().delete()
        with pytest.raises(Book.DoesNotExist):  # a transaction that has written reads past the cache
            title()
        Book.objects.create(pk=book.pk, title="newest")
    assert title() == "newest"


@pytest.mark.parametrize("tags", [
    lambda book: [f"book:{book.pk}", "book"],
    ["book:{pk}", "book"],
    ("book:{id}", "book"),
], ids=["function", "templates", "tuple"])
def test_tags_are_templates_or_a_function(follow: Follow, sent: Sent, tags: Any) -> None:
    follow(Book, tags=tags)
    book = Book.objects.create()
    assert sent.calls == [{f"book:{book.pk}", "book"}]


def test_nothing_is_sent_before_the_outermost_commit_and_all_of_it_at_once_after(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=by_pk())
    with transaction.atomic():
        first = Book.objects.create()
        with transaction.atomic():
            second = Book.objects.create()
        first.save()
        assert not sent.calls
    assert sent.calls == [{f"book:{first.pk}", f"book:{second.pk}"}]


def test_what_is_rolled_back_invalidates_nothing(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=by_pk())
    rolled_back()
    assert not sent.calls
    book = Book.objects.create()
    assert sent.calls == [{f"book:{book.pk}"}]


def test_p3_a_savepoint_rolled_back_takes_nothing_with_it_that_came_later(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=by_pk())
    with transaction.atomic():
        rolled_back()
        kept = Book.objects.create()
    assert sent.calls == [{f"book:{kept.pk}"}]


def test_p3_a_savepoint_rolled_back_takes_nothing_with_it_that_came_before(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=by_pk())
    with transaction.atomic():
        kept = Book.objects.create()
        rolled_back()
    assert len(sent.calls) == 1
    assert f"book:{kept.pk}" in sent.calls[0]


def test_p3_many_callbacks_of_the_users_own_lose_nothing(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=by_pk())
    with transaction.atomic():
        first = Book.objects.create()
        for _ in range(100):
            transaction.on_commit(lambda: None)
        second = Book.objects.create()
    assert set().union(*sent.calls) == {f"book:{first.pk}", f"book:{second.pk}"}


def test_p3_where_transactions_are_managed_by_hand_a_fence_covers_the_commit(follow: Follow) -> None:
    follow(Book, tags=["book"])
    cached = fence()
    Book.objects.create(title="old")
    transaction.set_autocommit(False)
    try:
        cached.set("title", "old", tags=["book"])
        Book.objects.update(title="new")
        Book.objects.get().save()
        assert cached.get("title") is None
        cached.set("title", "old", tags=["book"])
        # A strict reader is told that a commit may be on its way.
        assert cached.get("title") == "old"
        assert cached.peek("title", consistency="strict") is None
        with transaction.atomic():
            Book.objects.get().save()
        assert cached.get("title") is None
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_a_callback_captured_by_a_test_sends_once_and_later_changes_send_again(
    follow: Follow, sent: Sent, django_capture_on_commit_callbacks: Any
) -> None:
    follow(Book, tags=by_pk())
    outermost = transaction.atomic()
    outermost._from_testcase = True
    with outermost:
        transaction.on_commit(lambda: None)
        for count in (1, 2):
            with django_capture_on_commit_callbacks(execute=True):
                book = Book.objects.create()
            assert len(sent.calls) == count
            assert sent.calls[-1] == {f"book:{book.pk}"}


def test_a_change_of_a_relation_speaks_for_both_its_ends(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=by_pk(Book))
    follow(Tag, tags=by_pk(Tag))
    book, tag, other = Book.objects.create(), Tag.objects.create(), Tag.objects.create()
    both = {f"book:{book.pk}", f"tag:{tag.pk}"}
    changes: list[tuple[Callable[[], Any], set[str]]] = [
        (lambda: book.tags.add(tag), both),
        (lambda: book.tags.remove(tag), both),
        (lambda: tag.books.add(book), both),
        (tag.books.clear, both),
        (lambda: tag.books.set([book]), both),
        (book.tags.clear, both),
        (lambda: book.tags.set([tag, other]), both | {f"tag:{other.pk}"}),
    ]
    for change, expected in changes:
        sent.calls.clear()
        change()
        assert sent.calls == [expected]


def test_a_relation_to_the_same_model_speaks_for_both_its_ends(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=by_pk())
    first, second = Book.objects.create(), Book.objects.create()
    both = {f"book:{first.pk}", f"book:{second.pk}"}
    for change in (
        lambda: first.sequels.add(second), second.prequels.clear, lambda: second.prequels.add(first),
        first.sequels.clear,
    ):
        sent.calls.clear()
        change()
        assert sent.calls == [both]


@pytest.mark.parametrize("followed", [Book, Favourite])
@pytest.mark.parametrize("saved", [Book, Favourite, Novel])
def test_proxies_and_children_count_as_the_model(follow: Follow, sent: Sent, followed: Any, saved: Any) -> None:
    follow(followed, tags=["book"])
    made = saved.objects.create()
    assert sent.calls == [{"book"}]
    made.tags.add(Tag.objects.create())
    made.delete()
    assert sent.calls == [{"book"}] * 3


def test_models_that_nobody_follows_are_deleted_as_fast_as_before(follow: Follow) -> None:
    follow(Book, tags=["book"])
    reader = Reader.objects.create()
    Loan.objects.create(reader=reader)
    with CaptureQueriesContext(connection) as queries:
        Reader.objects.all().delete()
    asked = [query["sql"] for query in queries.captured_queries]
    assert not [sql for sql in asked if sql.startswith("SELECT") and "loan" in sql]


def test_a_subscription_ends_with_disconnect(sent: Sent) -> None:
    subscription = invalidates(Book, tags=["book"])
    subscription.disconnect()
    book = Book.objects.create()
    book.tags.add(Tag.objects.create())
    assert not sent.calls


def test_each_cache_is_told_its_own(settings: Any, entry: Any, namespace: str, follow: Follow) -> None:
    settings.CACHES = {"default": entry, "pages": {
        **entry, "OPTIONS": {**entry["OPTIONS"], "namespace": f"{namespace}.pages"}}}
    follow(Book, tags=["book"])
    follow(Book, tags=["book"], cache="pages")
    for alias in ("default", "pages"):
        fence(alias).set("key", 1, tags=["book"])
    with transaction.atomic():
        Book.objects.create()
    assert [fence(alias).get("key") for alias in ("default", "pages")] == [None, None]


def test_more_tags_than_one_call_takes_are_sent_in_several(follow: Follow, sent: Sent) -> None:
    follow(Book, tags=lambda book: [f"page:{number}" for number in range(2500)])
    Book.objects.create()
    assert [len(call) for call in sent.calls] == [1000, 1000, 500]


def test_p6_an_invalidation_that_cannot_be_sent_is_logged_and_the_save_stands(
    follow: Follow, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise StoreUnavailable("no Redis")

    follow(Book, tags=["book"])
    monkeypatch.setattr(CacheFence, "invalidate_tags", away)
    with caplog.at_level(logging.ERROR):
        Book.objects.create()
        with transaction.atomic():
            Book.objects.create()
    assert Book.objects.count() == 2
    assert [record.name for record in caplog.records] == ["cachefence_web"] * 2
    for record in caplog.records:
        assert "no Redis" in record.getMessage()
        assert "call fence('default').invalidate_tags('book')" in record.getMessage()


def test_p3_a_callback_that_raises_does_not_keep_a_committed_change_from_showing(follow: Follow, sent: Sent) -> None:
    def broken() -> None:
        raise RuntimeError("no mail server")

    def sell() -> Book:
        with transaction.atomic():
            transaction.on_commit(broken)
            with transaction.atomic():
                Book.objects.create(pk=7)
            rolled_back()
            transaction.on_commit(broken)
            return Book.objects.create(pk=8)

    follow(Book, tags=by_pk())
    with pytest.raises(RuntimeError, match="mail"):
        sell()
    assert Book.objects.count() == 2
    assert {"book:7", "book:8"} <= set().union(*sent.calls)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"model": "library.Book"}, "takes a model class"),
    ({"model": dict}, "takes a model class"),
    ({"tags": "book"}, r"write \['book'\]"),
    ({"tags": []}, "name a tag"),
    ({"tags": ["book:{isbn}"]}, r"names \{isbn\}, which Book does not have"),
    ({"tags": ["book:{pk"]}, "does not parse"),
    ({"cache": None}, "alias of CACHES"),
])
def test_what_cannot_work_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        invalidates(**{"model": Book, "tags": ["book"], **arguments})


def test_a_tag_that_cannot_be_one_is_an_error_of_the_save(follow: Follow) -> None:
    follow(Book, tags=lambda book: [f"title {book.title}"])
    with pytest.raises(ConfigurationError, match="reserved"), transaction.atomic():
        Book.objects.create(title="a")
    assert not Book.objects.exists()
