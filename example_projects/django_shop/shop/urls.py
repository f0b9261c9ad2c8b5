"""The shop's pages."""

from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.generic import TemplateView

from . import cart, views

urlpatterns = [
    path("", views.home, name="home"),
    path("books/", views.catalogue, name="catalogue"),
    path("books/<int:pk>/", views.book, name="book"),
    path("books/<int:pk>/edit/", views.edit, name="edit"),
    path("search/", views.search, name="search"),
    path("cart/", cart.cart, name="cart"),
    path("cart/count/", cart.count, name="count"),
    path("cart/add/<int:pk>/", cart.add, name="add"),
    path("cart/change/<int:pk>/", cart.change, name="change"),
    # Django's own decorator goes on working; it knows no tags, and this page shows no book.
    path("about/", cache_page(3600)(TemplateView.as_view(template_name="shop/about.html")), name="about"),
]
