"""In the tests of users no transaction is ever committed: their pages are invalidated all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client, TestCase, TransactionTestCase

from cachefence_web.django import fence
from tests.django_following.shop.models import Book
from tests.django_following.test_matrix import shown

HEADERS = {"host": "shop.example"}
ROOT = Path(__file__).parents[2]


def ran(case: type[unittest.TestCase]) -> None:
    """Run the tests of a class; their failures are this test's."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun
    assert not result.failures + result.errors, (result.failures + result.errors)[0][1]


def test_p3_a_test_case_sees_what_its_writes_change(database: Any, client: Client) -> None:
    assert shown(client, "pk")[0] == "'One/1'"

    class Pages(TestCase):
        @classmethod
        def setUpTestData(cls) -> None:
            Book.objects.filter(pk=1).update(title="of the class")

        def test_a_statement(self) -> None:
            visitor = Client(headers=HEADERS)
            shown(visitor, "pk")
            assert shown(visitor, "pk") == ("'of the class/1'", True)
            Book.objects.filter(pk=1).update(title="x")
            assert shown(visitor, "pk") == ("'x/1'", False)
            assert shown(visitor, "pk") == ("'x/1'", True)

        def test_a_block(self) -> None:
            visitor = Client(headers=HEADERS)
            assert shown(visitor, "pk")[0] == "'of the class/1'"
            with transaction.atomic():
                Book.objects.filter(pk=1).update(title="y")
                with transaction.atomic():
                    Book.objects.filter(pk=1).update(price=4)
                assert shown(visitor, "pk") == ("'y/4'", False)
                assert shown(visitor, "pk") == ("'y/4'", False)
            shown(visitor, "pk")
            assert shown(visitor, "pk") == ("'y/4'", True)

        def test_a_block_without_a_savepoint(self) -> None:
            visitor = Client(headers=HEADERS)
            shown(visitor, "pk")
            with transaction.atomic(savepoint=False):
                Book.objects.filter(pk=1).update(title="z")
            assert shown(visitor, "pk")[0] == "'z/1'"

        def test_a_rollback(self) -> None:
            visitor = Client(headers=HEADERS)
            with transaction.atomic():
                Book.objects.filter(pk=1).update(title="never")
                shown(visitor, "pk")
                transaction.set_rollback(True)
            assert shown(visitor, "pk")[0] == "'of the class/1'"

    ran(Pages)
    assert shown(client, "pk")[0] == "'One/1'"


def test_p3_a_transaction_test_case_is_like_life(database: Any, client: Client) -> None:
    shown(client, "count")

    class Pages(TransactionTestCase):
        def test_a_block(self) -> None:
            visitor = Client(headers=HEADERS)
            shown(visitor, "pk")
            with transaction.atomic():
                Book.objects.filter(pk=1).update(title="y")
            assert shown(visitor, "pk") == ("'y/1'", False)

    try:
        ran(Pages)
        assert shown(client, "count")[0] == "0"  # it leaves empty tables behind
    finally:
        database()


@pytest.mark.django_db
@pytest.mark.parametrize("turn", [1, 2])
def test_p3_a_test_of_pytest_django_sees_its_own_rows_and_none_of_another(turn: int) -> None:
    def titles() -> list[str]:
        return fence().get_or_set("titles of the tests", lambda: sorted(Book.objects.values_list("title", flat=True)))

    assert titles() == []
    Book.objects.create(title=f"turn {turn}", isbn="isbn")
    assert titles() == [f"turn {turn}"]
    with transaction.atomic():
        Book.objects.update(title="changed")
    assert titles() == ["changed"]


PROJECT = {
    "settings.py": """
SECRET_KEY = "a secret for the tests"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "shop.pages"
INSTALLED_APPS = ["cachefence_web.django", "shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://"}}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "own.sqlite3",
                         "TEST": {"NAME": "tests.sqlite3"}}}
""",
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Book(models.Model):
    title = models.CharField(max_length=20)
""",
    "shop/pages.py": """
from django.http import HttpResponse
from django.urls import path
from cachefence_web.django import cache_view
from shop.models import Book

@cache_view(ttl=3600)
def titles(request):
    return HttpResponse(",".join(Book.objects.order_by("pk").values_list("title", flat=True)))

urlpatterns = [path("", titles)]
""",
    "test_pages.py": """
import pytest
from django.db import transaction
from shop.models import Book

def shown(client):
    answer = client.get("/")
    return answer.content.decode(), "hit" in answer["Cache-Status"]

def right(client):
    assert shown(client)[0] == ""
    assert shown(client) == ("", True)
    book = Book.objects.create(title="One")
    assert shown(client) == ("One", False)
    assert shown(client) == ("One", True)
    with transaction.atomic():
        book.title = "New"
        book.save()
    assert shown(client) == ("New", False)
    with pytest.raises(LookupError), transaction.atomic():
        book.delete()
        raise LookupError
    assert shown(client)[0] == "New"

@pytest.mark.parametrize("turn", [1, 2])
def test_rolled_back(client, db, turn):
    right(client)

@pytest.mark.parametrize("turn", [1, 2])
def test_flushed(client, transactional_db, turn):
    right(client)

def test_with_callbacks(client, db, django_capture_on_commit_callbacks):
    told = []
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        Book.objects.create(title="Called")
        transaction.on_commit(lambda: told.append(shown(client)))
    assert told == [("Called", False)]

@pytest.fixture
def a_book(db):
    return Book.objects.create(title="Of a fixture")

def test_a_fixtures_row(client, a_book):
    assert shown(client) == ("Of a fixture", False)

def test_nobodys_row(client, db):
    assert shown(client)[0] == ""
""",
}


def test_p3_a_session_of_pytest_django_sees_its_pages_invalidated(tmp_path: Path) -> None:
    for name, text in PROJECT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.toml").write_text("[pytest]\nfilterwarnings = ['error']\npythonpath = ['.']\n")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--ds=settings"], cwd=tmp_path, check=False,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "7 passed" in answer.stdout

