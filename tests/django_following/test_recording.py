"""What is read reaches the entry, by whichever way it was read; and what must not be stored is not."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from contextvars import copy_context
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core.cache import cache
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import Context, RequestContext, Template
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client
from django.urls import clear_url_caches, path

from cachefence_web import cached
from cachefence_web.django import cache_view, dating, fence, untracked
from cachefence_web.django.fragments import fragment_key
from cachefence_web.runtime.recording import explaining
from tests.django_following import site
from tests.django_following.conftest import standing_in
from tests.django_following.shop.models import Book, Label
from tests.django_following.writes import one, run, saved


@pytest.fixture
def visit(client: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Mounts a view, cached without tags, and gives what shows it."""
    async_client = AsyncClient(headers={"host": "shop.example"})

    def mount(view: Any) -> Any:
        view.__qualname__ = f"mounted_{id(view)}"
        monkeypatch.setattr(site, "urlpatterns", [path("mounted/", cache_view(ttl=3600)(view))])
        clear_url_caches()

        def show() -> tuple[str, bool]:
            if asyncio.iscoroutinefunction(view):
                answer = asyncio.run(async_client.get("/mounted/"))
            else:
                answer = client.get("/mounted/")
            body = b"".join(answer.streaming_content) if answer.streaming else answer.content
            return body.decode(), "hit" in answer["Cache-Status"]

        return show

    yield mount
    monkeypatch.undo()
    clear_url_caches()


def right_after_a_save(show: Any) -> None:
    assert show() == ("One", False)
    assert show() == ("One", True)
    saved()
    assert show() == ("1", False)


def test_p3_an_async_view_is_followed(database: Any, visit: Any) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse((await Book.objects.aget(pk=1)).title)

    show = visit(view)
    try:
        right_after_a_save(show)
    finally:
        asyncio.run(sync_to_async(_leave)())


def _leave() -> None:
    """Django's thread for synchronous code outlives this test's databases."""
    connections.close_all()
    if connections.all(initialized_only=True):
        del connections["default"]


def read_in_another_thread() -> str:
    """In the thread of a pool, where connections are to be closed."""
    try:
        return one().title
    finally:
        connections.close_all()


def in_a_pool() -> str:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, read_in_another_thread).result()


async def in_tasks() -> str:
    first, _ = await asyncio.gather(Book.objects.aget(pk=1), asyncio.create_task(Label.objects.acount()))
    return first.title


async def in_a_task_group() -> str:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Book.objects.aget(pk=1))
    return task.result().title


async def in_a_thread_of_the_loop() -> str:
    return await asyncio.to_thread(read_in_another_thread)


async def in_any_thread() -> str:
    return await sync_to_async(read_in_another_thread, thread_sensitive=False)()


async def in_djangos_thread() -> str:
    return await sync_to_async(lambda: one().title)()


@pytest.mark.parametrize("where", [
    in_a_pool, in_tasks, in_a_task_group, in_a_thread_of_the_loop, in_any_thread, in_djangos_thread,
], ids=lambda where: where.__name__)
def test_p3_threads_and_tasks_begun_in_a_view_are_followed_where_they_have_its_context(
    where: Any, database: Any, visit: Any
) -> None:
    if asyncio.iscoroutinefunction(where):
        async def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(await where())
    else:
        def view(request: HttpRequest) -> HttpResponse:  # type: ignore[misc]
            return HttpResponse(where())

    try:
        right_after_a_save(visit(view))
    finally:
        asyncio.run(sync_to_async(_leave)())


def test_p3_a_template_that_is_rendered_later_is_followed(database: Any, visit: Any) -> None:
    engine = Template("{{ books.get.title }}")

    def view(request: HttpRequest) -> HttpResponse:
        return TemplateResponse(request, _Plain(engine), {"books": Book.objects.filter(pk=1)})

    right_after_a_save(visit(view))


class _Plain:
    """A template as a backend gives it."""

    def __init__(self, template: Template) -> None:
        self._template = template

    def render(self, context: dict[str, Any] | None = None, request: Any = None) -> str:
        return self._template.render(Context(context))


def test_a_stream_is_not_stored(database: Any, visit: Any) -> None:
    show = visit(lambda request: StreamingHttpResponse(book.title for book in Book.objects.filter(pk=1)))
    assert show() == ("One", False)
    assert show() == ("One", False)


def test_p3_cached_values_within_a_page_hand_on_what_they_read(database: Any, visit: Any) -> None:
    @cached(ttl=3600, key="title:{pk}", cache=fence)
    def title(pk: int) -> str:
        return Book.objects.get(pk=pk).title

    assert title(1) == "One"
    right_after_a_save(visit(lambda request: HttpResponse(title(1))))


def test_p3_a_fragment_is_followed(database: Any) -> None:
    template = Template("{% load cachefence %}{% cachefence 3600 'books' %}{{ books.get.title }}{% endcachefence %}")

    def shown() -> str:
        return template.render(Context({"books": Book.objects.filter(pk=1)}))

    assert shown() == "One"
    with untracked():
        Book.objects.filter(pk=2).update(title="x")
    assert shown() == "One"
    saved()
    assert shown() == "1"


FRAGMENT = "{% load cachefence %}{% cachefence 3600 'a-book' %}{{ book.title }}{% endcachefence %}"


def show_book(request: HttpRequest) -> HttpResponse:
    """A view that is not cached, with a part that is."""
    book = Book.objects.get(pk=1)
    return HttpResponse(Template(FRAGMENT).render(Context({"book": book})))


async def show_book_in_a_task(request: HttpRequest) -> HttpResponse:
    """Its rows and its page are each another task's."""
    book = await asyncio.create_task(Book.objects.aget(pk=1))
    return HttpResponse(await sync_to_async(Template(FRAGMENT).render)(Context({"book": book})))


async def asked(path: str) -> bytes:
    """What Django's ASGI application sends, as under a server."""
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "http.request"}])

    async def receive() -> dict[str, Any]:
        for message in received:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "scheme": "http",
             "headers": [(b"host", b"shop.example")], "server": ("shop.example", 80)}
    await ASGIHandler()(scope, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize("vendor", ["postgresql"])
@pytest.mark.parametrize("server", ["wsgi", "asgi", "asgi, async view"])
def test_p3_a_fragment_is_followed_to_what_the_view_has_loaded_for_it(
    server: str, database: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = show_book_in_a_task if "async view" in server else show_book
    monkeypatch.setattr(site, "urlpatterns", [path("mounted/", view)])
    monkeypatch.setattr(dating, "_gathers", False)
    clear_url_caches()

    def show() -> bytes:
        return client.get("/mounted/").content if server == "wsgi" else asyncio.run(asked("/mounted/"))

    def stored() -> bool:
        return cache.get(fragment_key("a-book")) is not None

    fence().set("another", "so that the namespace is older than the request", tags=["another"])
    assert (show(), stored()) == (b"One", False), "nobody knew that there are fragments when its rows were loaded"
    assert (show(), stored()) == (b"One", True)
    Book.objects.filter(pk=2).update(title="x")
    assert stored()
    saved()
    assert not stored()
    assert show() == b"1"
    monkeypatch.undo()
    clear_url_caches()


def test_p3_a_fragment_of_a_request_of_which_nobody_knows_what_it_read_is_not_stored(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django's client for asynchronous code asks the handler in a way that leaves no trace in its context."""
    template = Template(FRAGMENT)

    async def view(request: HttpRequest) -> HttpResponse:
        book = await Book.objects.aget(pk=1)
        return HttpResponse(template.render(RequestContext(request, {"book": book})))

    async def show() -> bytes:
        return bytes((await AsyncClient(headers={"host": "shop.example"}).get("/mounted/")).content)

    monkeypatch.setattr(site, "urlpatterns", [path("mounted/", view)])
    clear_url_caches()
    fence().set("another", "so that the namespace is older than the request", tags=["another"])
    try:
        assert [async_to_sync(show)() for _ in range(2)] == [b"One", b"One"]
        saved()
        assert async_to_sync(show)() == b"1"
    finally:
        monkeypatch.undo()
        clear_url_caches()


@pytest.mark.parametrize("vendor", ["postgresql"])
@pytest.mark.parametrize("in_one_block", [False, True])
def test_p3_requests_answered_at_once_are_told_apart_or_not_stored(
    in_one_block: bool, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = Template("{% load cachefence %}{% cachefence 3600 'title' book.pk %}{{ book.title }}{% endcachefence %}")
    both: list[asyncio.Event] = []

    async def view(request: HttpRequest, pk: int) -> HttpResponse:
        if pk == 1:
            book = await Book.objects.aget(pk=pk)
            both[0].set()
            await both[1].wait()
        else:
            await both[0].wait()
            book = await Book.objects.aget(pk=pk)
            both[1].set()
        return HttpResponse(await sync_to_async(template.render)(Context({"book": book})))

    async def main() -> None:
        both[:] = asyncio.Event(), asyncio.Event()
        async with ThreadSensitiveContext() if in_one_block else nullcontext():
            assert await asyncio.gather(asked("/mounted/1/"), asked("/mounted/2/")) == [b"One", b"Two"]

    monkeypatch.setattr(site, "urlpatterns", [path("mounted/<int:pk>/", view)])
    clear_url_caches()
    fence().set("another", "so that the namespace is older than the requests", tags=["another"])
    try:
        asyncio.run(main())
        found = [cache.get(fragment_key("title", [pk])) for pk in (1, 2)]
        # In one block they are told apart only since Django 6.1, whose signals set what is the request's own.
        assert found == ["One", "Two"] or (in_one_block and found == [None, None])
        Book.objects.filter(pk=2).update(title="2")
        assert cache.get(fragment_key("title", [1])) == found[0]
        assert cache.get(fragment_key("title", [2])) is None
    finally:
        monkeypatch.undo()
        clear_url_caches()


def test_statements_of_an_untracked_block_are_not_depended_on_and_its_writes_invalidate(
    database: Any, visit: Any
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        with untracked():
            Label.objects.count()
        return HttpResponse(one().title)

    show = visit(view)
    show()
    Label.objects.create(code="more")
    assert show() == ("One", True)
    with untracked():
        saved()
    assert show() == ("1", False)


def test_rows_that_are_locked_and_statements_that_are_not_understood_are_not_stored(
    vendor: str, database: Any, visit: Any
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if vendor == "sqlite":
            run("PRAGMA table_info(followed_book)")
        else:
            with transaction.atomic():
                Book.objects.select_for_update().get(pk=1)
        return HttpResponse("x")

    show = visit(view)
    show()
    assert show() == ("x", False)


def test_a_definition_clears_the_tables_that_it_touches(database: Any, visit: Any) -> None:
    show = visit(lambda request: HttpResponse(one().title))
    show()
    assert show() == ("One", True)
    run("CREATE INDEX more ON followed_book (price)")
    run("DROP INDEX more")
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE followed_book ADD COLUMN more integer")
        editor.execute("ALTER TABLE followed_book DROP COLUMN more")
    assert show() == ("One", False)


@pytest.mark.parametrize(("lag", "stored"), [(None, False), (0.0, True), (3600.0, False)])
def test_p3_what_a_replica_said_is_dated_by_its_lag(
    lag: float | None, stored: bool, vendor: str, places: Any, database: Any, settings: Any
) -> None:
    with standing_in(default=places[vendor], replica=places[vendor]):
        settings.CACHEFENCE = {"replicas": {"replica": lag}}
        assert fence().get_or_set("title", lambda: Book.objects.using("replica").get(pk=1).title) == "One"
        assert (fence().get("title") is not None) is stored
        assert fence().get_or_set("outer", lambda: fence().get_or_set("title", lambda: "x")) in ("One", "x")


def test_a_database_of_its_own_space_shares_no_tags(vendor: str, places: Any, database: Any, settings: Any) -> None:
    with standing_in(default=places[vendor], archive=places[vendor]):
        settings.CACHEFENCE = {"spaces": {"archive": "archive."}}
        for alias in ("default", "archive"):
            fence().get_or_set(alias, lambda alias=alias: Book.objects.using(alias).get(pk=1).title)
        Book.objects.using("archive").filter(pk=1).update(title="x")
        assert fence().get_many(["default", "archive"]) == {"default": "One"}


def test_each_tag_of_an_explained_page_is_known_by_its_statement(database: Any) -> None:
    with explaining() as found:
        fence().get_or_set("title", lambda: one().title)
    ((key, recording),) = found
    assert key == "title"
    assert recording.sources is not None
    (statement,) = recording.sources["followed_book:1"]
    assert statement.startswith("SELECT")


def test_p3_one_cursor_may_ask_a_thousand_times(database: Any) -> None:
    def titles() -> list[Any]:
        with connection.cursor() as cursor:
            found = []
            for pk in [1] * 1_500 + [900]:
                cursor.execute("SELECT title FROM followed_book WHERE id = %s", [pk])
                found.append(cursor.fetchone())
        return found

    fence().get_or_set("titles", titles)
    Book.objects.create(pk=900, title="New", isbn="isbn-900")
    assert fence().get_or_set("titles", titles)[-1][0] == "New"


@pytest.mark.parametrize("vendor", ["postgresql"])
def test_p3_texts_that_psycopg_composes_are_followed(database: Any) -> None:
    from psycopg import sql

    asked = sql.SQL("SELECT title FROM {} WHERE id = 1").format(sql.Identifier("followed_book"))

    def title() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(asked)
            return cursor.fetchone()[0]

    assert fence().get_or_set("title", title) == "One"
    assert fence().get("title") == "One"
    Book.objects.filter(pk=2).update(title="x")
    assert fence().get("title") == "One"
    saved()
    assert fence().get_or_set("title", title) == "1"


def test_p3_a_row_whose_key_is_too_long_for_a_tag_is_followed(vendor: str, database: Any) -> None:
    key = "é" * 20
    Label.objects.create(code=key)

    def found() -> bool:
        return fence().get_or_set("label", lambda: len(Label.objects.filter(pk=key)) == 1)

    assert found()
    Label.objects.filter(pk=key).delete()
    assert not found()
