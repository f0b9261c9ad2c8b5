"""The one place that says which cached pages a saved book makes untrue."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        from cachefence_web.django import invalidates

        from .models import Book

        invalidates(Book, tags=lambda book: [f"book:{book.pk}", "book"])
