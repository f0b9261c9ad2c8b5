"""The README's ten lines per framework run as they stand, against a real Redis, and do what is said of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
SECTIONS = re.split(r"^## ", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
PRINTED_REDIS = "redis://localhost:6379/0"

DJANGO = """
import sys
sys.path.insert(0, {shop!r})
{settings}
from django.conf import settings as configured
configured.configure(
    CACHES=CACHES, INSTALLED_APPS=INSTALLED_APPS, SECRET_KEY="long enough to sign with, and only for this test",
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
{views}
from django.urls import path
urlpatterns = [path("books/<int:pk>/", detail)]
from django.test import Client
from django.db import connection
from django.test.utils import CaptureQueriesContext
book = Book.objects.create(**{{
    field.name: field.default if field.has_default() else {{"CharField": "Emma", "TextField": "Emma"}}.get(
        field.get_internal_type(), 1)
    for field in Book._meta.concrete_fields if not field.primary_key}})
book.title = "Emma"
book.save()
client = Client()
assert client.get(f"/books/{{book.pk}}/").content == b"Emma"
with CaptureQueriesContext(connection, ) as queries:
    assert client.get(f"/books/{{book.pk}}/").content == b"Emma"
assert len(queries) == 0, queries.captured_queries
Book.objects.update(title="Persuasion")
assert client.get(f"/books/{{book.pk}}/").content == b"Persuasion"
from django.core.cache import cache
assert cache.get_or_set("totals", lambda: 42, 60) == 42
"""

FLASK = """
{block}
client = app.test_client()
with app.app_context():
    db.create_all()
    db.session.add(Post(id=7, title="Emma"))
    db.session.commit()
assert client.get("/posts/7").text == "Emma"
assert "hit" in client.get("/posts/7").headers["Cache-Status"]
with app.app_context():
    assert headline(7) == headline(post_id=7) == "Emma, and rain"
    db.session.get(Post, 7).title = "Persuasion"
    db.session.commit()
    assert headline(7) == "Persuasion, and rain"
assert client.get("/posts/7").text == "Persuasion"
with app.app_context():
    db.session.remove()
    db.engine.dispose()
fence.close()
"""

FASTAPI = """
{block}
import asyncio, httpx
async def visit():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://catalog") as client:
        assert (await client.get("/books")).json() == ["Emma", "Persuasion"]
        assert "hit" in (await client.get("/books")).headers["cache-status"]
        assert (await client.get("/stats?year=1815")).json() == {{"year": 1815, "books": 42}}
        assert (await client.get("/stats")).status_code == 422
        await fence.invalidate_tags("book")
        assert "hit" not in (await client.get("/books")).headers["cache-status"]
    await fence.aclose()
asyncio.run(visit())
"""

SITES = """
{block}
import asyncio, httpx, time
async def visit():
    begun = time.monotonic()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://site") as client:
        for path in ("/books/7", "/today"):
            assert "stored" in (await client.get(path)).headers["cache-status"]
            found = await client.get(path)
            assert "hit" in found.headers["cache-status"]
            assert 0 <= int(found.headers["age"]) <= time.monotonic() - begun
        assert (await client.get("/today", headers={{"Range": "bytes=0-2"}})).text == "fin"
        await fence.invalidate_tags("book:7")
        assert "hit" not in (await client.get("/books/7")).headers["cache-status"]
    await fence.aclose()
asyncio.run(visit())
"""

ANYWHERE = """
{block}
assert fence.get("user:42") is None, "the fenced write has made it untrue"
assert fence.get("totals") == {{"books": 42}}
fence.close()
"""


def blocks(section: str) -> list[str]:
    """The Python blocks of a section of the README."""
    (text,) = [part for part in SECTIONS if part.startswith(section)]
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(script: str, redis: str, namespace: str) -> None:
    """Run a script as a stranger would, warnings as errors, in an interpreter of its own."""
    isolated = script.replace(PRINTED_REDIS, redis).replace('namespace="catalog"', f'namespace="{namespace}"').replace(
        'namespace="site"', f'namespace="{namespace}"')
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-"], input=isolated, text=True, capture_output=True,
        timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": ""})
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr


@pytest.fixture
def address(redis_server: RedisServer) -> str:
    return redis_server.tcp_url


def test_the_lines_for_django_run(address: str, namespace: str) -> None:
    settings, views = blocks("Django")
    shop = str(ROOT / "example_projects" / "django_shop")
    run(DJANGO.format(settings=settings, views=views, shop=shop), address, namespace)


def test_the_lines_for_flask_run(address: str, namespace: str) -> None:
    (block,) = blocks("Flask")
    run(FLASK.format(block=block), address, namespace)


def test_the_lines_for_fastapi_run(address: str, namespace: str) -> None:
    (block,) = blocks("FastAPI")
    run(FASTAPI.format(block=block), address, namespace)


def test_the_lines_for_whole_sites_run(address: str, namespace: str) -> None:
    (block,) = blocks("Whole sites")
    run(SITES.format(block=block), address, namespace)


def test_the_lines_for_anywhere_run(address: str, namespace: str) -> None:
    (block,) = blocks("Anywhere")
    run(ANYWHERE.format(block=block), address, namespace)


def test_the_readmes_two_commands_are_those_that_ci_and_the_demo_use() -> None:
    readme = (ROOT / "README.md").read_text()
    assert '.venv/bin/pip install -e ".[demo]" && .venv/bin/cachefence-web demo' in readme
    assert ".venv/bin/pip install tox && .venv/bin/tox" in readme
    ci = (ROOT / ".ci" / "run").read_text()
    assert "pip install --quiet tox && .venv/bin/tox" in ci
