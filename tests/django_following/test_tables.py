"""What models and settings say of the tables: a key counts only where the database and we agree what is equal."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from cachefence_web.django.declared import declared
from cachefence_web.django.tables import schema_of
from cachefence_web.errors import ConfigurationError
from cachefence_web.sql import Exact
from tests.django_following.shop.models import BY_DATABASE


@isolate_apps("tests.django_following.shop")
def keys_of(vendor: str) -> dict[str, dict[str, Exact]]:
    """The keys of models with each kind of primary key."""

    class Parent(models.Model):
        class Meta:
            app_label = "followed"

    class Child(Parent):
        class Meta:
            app_label = "followed"

    class Grandchild(Child):
        class Meta:
            app_label = "followed"

    class Text(models.Model):
        name = models.SlugField(primary_key=True)

        class Meta:
            app_label = "followed"

    class Collated(models.Model):
        name = models.CharField(primary_key=True, max_length=5, db_collation="nocase")

        class Meta:
            app_label = "followed"

    class Identified(models.Model):
        uid = models.UUIDField(primary_key=True, db_column="identity")

        class Meta:
            app_label = "followed"

    class Priced(models.Model):
        price = models.DecimalField(primary_key=True, max_digits=5, decimal_places=2)

        class Meta:
            app_label = "followed"

    class Placed(models.Model):
        pk = models.CompositePrimaryKey("shelf", "place")
        shelf = models.IntegerField()
        place = models.ForeignKey(Text, models.CASCADE)

        class Meta:
            app_label = "followed"

    class Odd(models.IntegerField):
        def db_type(self, connection: Any) -> str:
            return "citext"

    class Strange(models.Model):
        odd = Odd(primary_key=True)

        class Meta:
            app_label = "followed"

    from cachefence_web.django.tables import _key

    made = (Parent, Child, Grandchild, Text, Collated, Identified, Priced, Placed, Strange)
    return {model.__name__: _key(model, connection) for model in made}


def test_a_key_counts_where_it_compares_exactly(vendor: str, database: Any) -> None:
    assert keys_of(vendor) == {
        "Parent": {"id": Exact.INTEGER},
        "Child": {"parent_ptr_id": Exact.INTEGER},
        "Grandchild": {"child_ptr_id": Exact.INTEGER},
        "Text": {"name": Exact.TEXT},
        "Collated": {},
        "Identified": {"identity": Exact.UUID},
        "Priced": {},
        "Placed": {"shelf": Exact.INTEGER, "place_id": Exact.TEXT},
        "Strange": {},
    }


@pytest.mark.skipif(BY_DATABASE is None, reason="Django 6.1 has it")
def test_what_the_database_deletes_is_reached(database: Any) -> None:
    schema = schema_of(connection)
    assert schema.reached("followed_box", cascading=True) == {"followed_parcel"}
    assert schema.key("followed_box") == {"uid": Exact.UUID}


def test_what_is_declared_is_known(database: Any, settings: Any) -> None:
    settings.CACHEFENCE = {
        "views": {"bestsellers": ["followed_book"]},
        "triggers": {"followed_book": ["audit"]},
        "routines": {"close_month": {"writes": ["followed_book"]}},
    }
    schema = schema_of(connection)
    assert schema.under("bestsellers") == {"bestsellers", "followed_book"}
    assert schema.reached("followed_book", cascading=False) == {"audit"}
    assert schema.key("followed_book") == {"id": Exact.INTEGER}
    assert schema.routine("close_month") is not None


@pytest.mark.parametrize(("wrong", "message"), [
    ([], "is a dict"),
    ({"replica": {}}, "is unknown; it may have replicas"),
    ({"replicas": ["replica1"]}, r'\["replicas"\] is a dict'),
    ({"replicas": {"nowhere": 1.0}}, "'nowhere', which is no alias of DATABASES"),
    ({"replicas": {"default": "soon"}}, r'\["replicas"\]\["default"\]'),
    ({"views": {"sales": "followed_book"}}, "is a list of the names of tables"),
    ({"triggers": {"followed_book": [""]}}, r'\["triggers"\]\["followed_book"\] is a list of the names of tables'),
    ({"routines": {"close": ["followed_book"]}}, "is a dict"),
    ({"routines": {"close": {"write": ["followed_book"]}}}, 'may have "reads" and "writes"'),
    ({"routines": {"close": {"writes": "followed_book"}}}, "is a list of the names of tables"),
    ({"spaces": {"default": 5}}, r'\["spaces"\]\["default"\] is a text'),
    ({"spaces": {"default": "my archive."}}, "white space"),
    ({"spaces": {"default": "archive:"}}, "without colons"),
])
def test_a_wrong_setting_is_named(settings: Any, wrong: Any, message: str) -> None:
    settings.CACHEFENCE = wrong
    with pytest.raises(ConfigurationError, match=message):
        declared()
