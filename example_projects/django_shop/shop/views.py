"""Two cached pages and the form that makes them untrue."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from cachefence_web import depends_on
from cachefence_web.django import cache_view

from .forms import BookForm
from .models import Book
from .queries import also_bought, bestsellers


@cache_view(ttl=60, stale_for=300, tags=["book"])
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/home.html", {"shelf": bestsellers()})


@cache_view(ttl=60, stale_for=300, tags=["book:{pk}"])
def book(request: HttpRequest, pk: int) -> HttpResponse:
    book = get_object_or_404(Book, pk=pk)
    shelf = also_bought(book)
    # The page shows titles of other books too, known only now.
    depends_on(*(f"book:{other.pk}" for other in shelf.books))
    return render(request, "shop/book.html", {"book": book, "shelf": shelf})


def edit(request: HttpRequest, pk: int) -> HttpResponse:
    book = get_object_or_404(Book, pk=pk)
    form = BookForm(request.POST or None, instance=book)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect(book)
    return render(request, "shop/edit.html", {"book": book, "form": form})
