"""A site whose views the tests put in place: every path leads to the view that a test mounts on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.urls import clear_url_caches, path

urlpatterns: list[Any] = []


@contextmanager
def mounted(**views: Callable[..., Any]) -> Iterator[None]:
    """A site with each view at `/<its name>/` and at `/<its name>/<pk>/`."""
    for name, view in views.items():
        urlpatterns.extend([path(f"{name}/", view), path(f"{name}/<int:pk>/", view)])
    clear_url_caches()
    try:
        yield
    finally:
        urlpatterns.clear()
        clear_url_caches()
