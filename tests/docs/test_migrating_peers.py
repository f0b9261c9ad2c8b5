"""What the pages on moving show of the caches that are left runs on them as it stands, where they are installed.

Two of them patch Django when it starts, so each has a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.pages import FOLDER, Page
from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]

BEGIN = """
import sys
from django.conf import settings
from tests.docs.pages import Page, run
page = Page.read({page!r})
printed = page.settings(before=True)
CACHES = printed.pop("CACHES", {{}})
for entry in CACHES.values():
    entry["LOCATION"] = {redis!r}
if "CACHEOPS_REDIS" in printed:
    printed["CACHEOPS_REDIS"] = {redis!r}
installed = ["tests.django.library", *printed.pop("INSTALLED_APPS", ["library"])[1:]]
settings.configure(
    CACHES=CACHES or {{"default": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *installed],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    TEMPLATES=[{{"BACKEND": "django.template.backends.django.DjangoTemplates"}}],
    SECRET_KEY="only for this test", ALLOWED_HOSTS=["*"], USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", **printed)
import django
django.setup()
from tests.django.library import models
sys.modules["library.models"] = models
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.template import engines
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
call_command("migrate", run_syncdb=True, verbosity=0)
from tests.django.library.models import Book, Loan, Reader
book, ada = Book.objects.create(title="Ema"), Reader.objects.create(name="Ada")
loan = Loan.objects.create(reader=ada)
visit = RequestFactory().get("/books/")
names = {{"cache": cache, "make_report": lambda: 7, "Book": Book}}
for block in page.theirs[1:]:
    names = run(block, names)
def asked(work):
    with CaptureQueriesContext(connection) as queries:
        work()
    return len(queries)
def read_before_and_stored_after(load, change):
    done = []
    def meanwhile(execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("SELECT") and not done:
            done.append(change())
        return result
    with connection.execute_wrapper(meanwhile):
        before = load()
    assert done
    return before, load()
def shown(template):
    return engines["django"].from_string(template).render({{"books": Book.objects.all(), "reader": ada}}).strip()
"""

DJANGO_REDIS = """
from django.core.cache import caches
assert type(caches["default"]).__module__ == "django_redis.cache"
assert names["report"]() == names["report"]() == 7
cache.set(f"book:{book.pk}:page", 1)
names["refresh"](book)
assert cache.get(f"book:{book.pk}:page") is None
settings.CACHES["default"]["BACKEND"] = "cachefence_web.django.RedisCache"
del caches["default"]
from django_redis import get_redis_connection
assert get_redis_connection("default").ping()
assert type(caches["default"]).__module__ == "cachefence_web.django.backend"
"""

CACHEOPS = """
assert names["loans_of"](ada.pk) == [loan] and names["reader"](ada.pk) == ada
assert asked(lambda: (names["loans_of"](ada.pk), names["reader"](ada.pk), names["figures"](1815))) == 0
assert names["weather"]("Bath") == "rain in Bath"
assert names["book"](visit, pk=book.pk).content == b"Ema"
assert names["book"](visit, pk=book.pk).content == b"Ema"
assert shown(page.before_templates[0]) == "Ema"
names["rename"]()
assert names["book"](visit, pk=book.pk).content == b"Emma"
names["after_an_import"](book)
assert asked(lambda: names["figures"](1815)) == 2
assert read_before_and_stored_after(lambda: len(names["loans_of"](ada.pk)), loan.delete) == (1, 1), "as the page says"
other = RequestFactory().get("/books/", HTTP_COOKIE="sessionid=other", HTTP_ACCEPT_LANGUAGE="fr")
names["book"](visit, pk=book.pk)
assert asked(lambda: names["book"](other, pk=book.pk)) == 0, "pages are told apart by their address alone"
"""

CACHALOT = """
assert names["shelf"](visit).content == b"Ema"
assert asked(lambda: names["shelf"](visit)) == 0
assert asked(names["fresh_count"]) == 1
assert shown(page.before_templates[0]) == "Ema"
names["rename"]()
assert names["shelf"](visit).content == b"Emma"
assert shown(page.before_templates[0]) == "Emma"
names["after_an_import"]()
assert asked(lambda: names["shelf"](visit)) == 1
count = Book.objects.count
assert read_before_and_stored_after(count, lambda: Book(title="Persuasion").save()) == (1, 1), "as the page says"
assert asked(count) == 0
settings.CACHES["default"]["BACKEND"] = "cachefence_web.django.RedisCache"
from django.core.cache import caches
from django.core.checks import run_checks
del caches["default"]
names["shelf"](visit)
assert type(caches["default"]).__module__ == "cachefence_web.django.backend"
assert asked(lambda: names["shelf"](visit)) == 0
assert [message.id for message in run_checks() if message.id.startswith("cachalot")] == ["cachalot.W001"]
"""


@pytest.mark.parametrize(("package", "module", "script"), [
    ("django-redis", "django_redis", DJANGO_REDIS),
    ("django-cacheops", "cacheops", CACHEOPS),
    ("django-cachalot", "cachalot", CACHALOT),
], ids=["django-redis", "cacheops", "cachalot"])
def test_what_is_left_runs_as_shown(new_redis: type[RedisServer], package: str, module: str, script: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{package} is not installed: tox -e docs installs it")
    page = f"from-{package if module == 'django_redis' else module}.md"
    assert f"Compared with {package} {version(package)} " in (FOLDER / page).read_text()
    assert Page.read(page).theirs
    begin = BEGIN.format(page=page, redis=new_redis().tcp_url)
    done = subprocess.run(
        [sys.executable, "-"], input=begin + script, text=True, capture_output=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": ""})
    assert done.returncode == 0, done.stderr
