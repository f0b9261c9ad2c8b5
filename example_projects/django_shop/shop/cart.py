"""A visitor's cart: it lives in the session, the session in the cache, and no page that shows it is shared."""

from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from .forms import AddForm, ChangeForm
from .models import Book
from .queries import bestsellers


@dataclass(frozen=True, slots=True)
class Line:
    """So many copies of a book, at the price it has now."""

    book: Book
    copies: int

    @property
    def price(self) -> Decimal:
        return self.book.price * self.copies


def cart(request: HttpRequest) -> HttpResponse:
    copies = request.session.get("cart", {})
    lines = [Line(book, copies[str(book.pk)]) for book in Book.objects.filter(pk__in=copies)]
    total = sum(line.price for line in lines)
    # Not called yet: the template calls it inside a fragment that all visitors share.
    return render(request, "shop/cart.html", {"lines": lines, "total": total, "bestsellers": bestsellers})


def add(request: HttpRequest, pk: int) -> HttpResponse:
    """The form has a CSRF token, which a shared page cannot have: so it is a page of its own."""
    book = get_object_or_404(Book, pk=pk)
    form = AddForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        before = request.session.get("cart", {}).get(str(pk), 0)
        _put(request, pk, before + form.cleaned_data["copies"])
        return redirect("cart")
    return render(request, "shop/add.html", {"book": book, "form": form})


@require_POST
def change(request: HttpRequest, pk: int) -> HttpResponse:
    form = ChangeForm(request.POST)
    if form.is_valid():
        _put(request, pk, form.cleaned_data["copies"])
    return redirect("cart")


@never_cache
async def count(request: HttpRequest) -> JsonResponse:
    """What a script writes into the masthead of pages that are the same for everybody."""
    cart = await request.session.aget("cart", {})
    return JsonResponse({"copies": sum(cart.values())})


def _put(request: HttpRequest, pk: int, copies: int) -> None:
    cart = request.session.get("cart", {}) | {str(pk): min(copies, 99)}
    request.session["cart"] = {pk: copies for pk, copies in cart.items() if copies}
