"""What Django REST framework and django-ninja make of rows is followed to them, however late they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rest_framework")
pytest.importorskip("ninja")

from django.http import HttpRequest
from django.test import Client
from django.urls import clear_url_caches, path
from django.utils.decorators import method_decorator
from ninja import NinjaAPI, Schema
from ninja.decorators import decorate_view
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer, StringRelatedField

from cachefence_web.django import cache_view
from tests.django_following import site
from tests.django_following.shop.models import Author, Book, Label, Review
from tests.django_following.writes import saved

CACHED = cache_view(ttl=3600)
api = NinjaAPI(urls_namespace="followed")


class Reviews(ModelSerializer[Review]):
    class Meta:
        model = Review
        fields = ("stars",)


class Books(ModelSerializer[Book]):
    """With rows of three other tables, which are read when it is rendered."""

    author = StringRelatedField[Author]()
    reviews = Reviews(many=True)

    class Meta:
        model = Book
        fields = ("title", "author", "reviews", "labels")


class Views:
    queryset = Book.objects.all()
    serializer_class = Books
    renderer_classes = (JSONRenderer,)
    authentication_classes = ()


@method_decorator(CACHED, name="dispatch")
class One(Views, RetrieveAPIView):  # type: ignore[misc]
    pass


class All(Views, ListAPIView):  # type: ignore[misc]
    queryset = Book.objects.prefetch_related("reviews", "labels").order_by("pk")

    @method_decorator(CACHED)
    def get(self, *args: Any, **kwargs: Any) -> Any:
        return super().get(*args, **kwargs)


class Shown(Schema):
    title: str
    author: str
    stars: list[int]

    @staticmethod
    def resolve_author(book: Book) -> str:
        return str(book.author)

    @staticmethod
    def resolve_stars(book: Book) -> list[int]:
        return list(book.reviews.values_list("stars", flat=True))


@api.get("/{pk}/", response=Shown)
@decorate_view(CACHED)
def one(request: HttpRequest, pk: int) -> Book:
    return Book.objects.get(pk=pk)


@pytest.fixture(autouse=True)
def mounted(database: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(site, "urlpatterns", [
        path("rest/<int:pk>/", One.as_view()), path("rest/", All.as_view()), path("ninja/", api.urls)])
    clear_url_caches()
    yield
    monkeypatch.undo()
    clear_url_caches()


WRITES = {
    "row": saved,
    "reverse": lambda: Review.objects.create(book_id=1, stars=1),
    "foreign": lambda: Book.objects.filter(pk=1).update(author_id=2),
    "m2m": lambda: Book.objects.get(pk=1).labels.add(Label.objects.get(pk="new")),
}


@pytest.mark.parametrize("page", ["/rest/1/", "/rest/", "/ninja/1/"])
def test_p3_a_serialized_page_is_right_after_a_write_to_any_row_in_it(page: str, client: Client, database: Any) -> None:
    def shown() -> tuple[bytes, bool]:
        answer = client.get(page)
        return answer.content, "hit" in answer["Cache-Status"]

    for name, write in WRITES.items():
        database()
        first = shown()[0]
        assert shown() == (first, True), name
        write()
        after, was_hit = shown()
        if page.startswith("/rest") or name != "m2m":
            assert after != first, name
            assert not was_hit, name
        assert shown() == (after, True), name
