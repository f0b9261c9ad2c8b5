"""The site: each page of `pages.py` at its name, with a primary key, and the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import path

from tests.django_following.pages import VIEWS
from tests.django_following.shop.models import Author, Book

office = admin.AdminSite()
for model in (Author, Book):
    office.register(model)

urlpatterns: list[Any] = [
    path("admin/", office.urls),
    *[path(f"{name}/<int:pk>/", view) for name, view in VIEWS.items()],
]
