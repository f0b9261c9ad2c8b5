"""The app: its label keeps clear of the example project's."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Its tables are made without migrations."""

    name = "tests.django_following.shop"
    label = "followed"
