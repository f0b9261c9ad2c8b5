"""The shop's three pages."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("books/<int:pk>/", views.book, name="book"),
    path("books/<int:pk>/edit/", views.edit, name="edit"),
]
