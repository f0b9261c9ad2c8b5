"""Cached pages, a page of cached parts, cached answers to questions, and the form that makes all of them untrue.

None of them says what it depends on: the rows that it asks the database for are that.
"""

from functools import partial
from urllib.parse import quote

from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from cachefence_web.django import cache_view

from .forms import BookForm
from .models import Book
from .queries import also_bought, bestsellers, genres, matching


@cache_view(ttl=3600)
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/home.html", {"shelf": bestsellers()})


@cache_view(ttl=60, stale_for=300)
def book(request: HttpRequest, pk: int) -> HttpResponse:
    book = get_object_or_404(Book, pk=pk)
    return render(request, "shop/book.html", {"book": book, "shelf": also_bought(book)})


def catalogue(request: HttpRequest) -> HttpResponse:
    genre = request.GET.get("genre", "")
    shelves = cache.get_or_set("genres", genres, 3600)
    if genre and genre not in shelves:
        raise Http404
    # A query set asks the database only if the template's fragment has to be rendered.
    books = Book.objects.filter(genre=genre) if genre else Book.objects.all()
    return render(request, "shop/catalogue.html", {"genre": genre, "shelves": shelves, "books": books})


async def search(request: HttpRequest) -> HttpResponse:
    words = " ".join(request.GET.get("q", "").split()).casefold()[:60]
    found: list[Book] = []
    if words:
        key = f"search:{quote(words)}"
        found = await cache.aget_or_set(key, partial(matching, words), 300)
    return render(request, "shop/search.html", {"words": words, "books": found})


def edit(request: HttpRequest, pk: int) -> HttpResponse:
    book = get_object_or_404(Book, pk=pk)
    form = BookForm(request.POST or None, instance=book)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect(book)
    return render(request, "shop/edit.html", {"book": book, "form": form})
