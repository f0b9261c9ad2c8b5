"""The page as Django serves it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from cachefence_web.django import cache_view
from tests.lint.sites import PAGE


@cache_view(ttl=60)
def page(request: HttpRequest) -> HttpResponse:
    """The page."""
    return HttpResponse(PAGE)


urlpatterns = [path("page", page)]
