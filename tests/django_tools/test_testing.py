"""The pytest plugin gives each test a cache of its own, and counts what is computed."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.cache import cache, caches
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory

from cachefence_web import CacheFence, cached
from cachefence_web.django import cache_view
from cachefence_web.django.alias import entry_of, store_of
from cachefence_web.runtime.observing import ComputeBegun, observing
from cachefence_web.testing import assert_computes, isolated_caches, isolated_fence

ROOT = Path(__file__).parents[2]


def run(folder: Path, test: str, *words: str, settings: str = "") -> str:
    """What pytest says of a test file in a project of its own; all its tests have passed."""
    (folder / "pytest.toml").write_text(f"[pytest]\nstrict = true\nfilterwarnings = ['error']\n{settings}\n")
    (folder / "test_it.py").write_text(test)
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "cachefence_web.testing", "-p", "no:cacheprovider", "-p", "no:django",
         "-v", *words], cwd=folder, check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def kept(url: str) -> list[bytes]:
    """What tests have left behind on the server."""
    with redis.Redis.from_url(url) as client:
        return [key for key in client.scan_iter(count=10_000) if re.match(rb"\W?test\.[0-9a-f]{32}\b", key)]


ISOLATED = """
import pytest
from cachefence_web import CacheFence
from cachefence_web.testing import assert_computes

CacheFence.__init__.__kwdefaults__["timeout"] = 30.0  # a busy machine is no outage

@pytest.mark.parametrize("number", [1, 2])
def test_alone(cachefence, number):
    assert cachefence.get("key") is None
    cachefence.set("key", number, tags=["tag"])
    with assert_computes(0):
        assert cachefence.get_or_set("key", lambda: 0) == number

def test_where(cachefence_url):
    assert cachefence_url == "{url}"

@pytest.mark.cachefence("memory://marked")
def test_mark(cachefence_url, cachefence):
    assert cachefence_url == "memory://marked"
    assert "marked" in repr(cachefence)
"""


@pytest.mark.parametrize("way", ["default", "option", "ini"])
def test_each_test_has_a_namespace_of_its_own_where_the_project_says(
    tmp_path: Path, redis_url: str, way: str
) -> None:
    url = "memory://" if way == "default" else redis_url
    words = [f"--cachefence-url={url}"] if way == "option" else []
    run(tmp_path, ISOLATED.format(url=url), *words, settings=f"cachefence_url = {url!r}" if way == "ini" else "")
    assert kept(redis_url) == []


DJANGO = """
import django, pytest
from django.conf import settings
settings.configure(SECRET_KEY="a secret for the tests", CACHES={{
    "default": {{"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "{url}", "OPTIONS": {{"timeout": 30}}}},
    "other": {{"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "{url}", "OPTIONS": {{"timeout": 30}}}},
    "local": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}})
django.setup()
from django.core.cache import caches
from cachefence_web.django.alias import entry_of, store_of

@pytest.mark.parametrize("number", [1, 2])
def test_alone(number):
    assert [each.get("key") for each in (caches["default"], caches["other"])] == [None, None]
    caches["default"].set("key", number)
    assert caches["other"].get("key") is None
    assert settings.CACHES["local"] == {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

@pytest.mark.cachefence("memory://")
def test_memory():
    assert not entry_of(caches["default"]).raw.exists
"""


def test_djangos_caches_are_isolated_in_every_test_by_one_setting(tmp_path: Path, redis_url: str) -> None:
    run(tmp_path, DJANGO.format(url=redis_url), settings="cachefence_isolate = true")
    assert kept(redis_url) == []


def test_a_project_without_django_or_a_cache_is_left_alone(tmp_path: Path) -> None:
    printed = run(tmp_path, "import sys\ndef test_it(): assert not {'django', 'redis', 'flask'} & set(sys.modules)\n")
    assert "1 passed" in printed


@pytest.mark.parametrize("url", ["memory://", "redis://127.0.0.1:1/0"], ids=["memory", "away"])
def test_a_fence_works_wherever_it_is(url: str) -> None:
    with isolated_fence(url, on_outage="log") as fence:
        assert fence.get_or_set("key", lambda: 7) == 7


def test_isolated_caches_are_put_back(configure: Any, location: str, redis_url: str) -> None:
    configure(location)
    cache.set("key", 1)
    before = cache.fence.namespace
    for _ in range(2):
        with isolated_caches():
            assert cache.get("key") is None
            cache.set("key", 2, tags=["tag"])
        assert (cache.get("key"), cache.fence.namespace) == (1, before)
    with isolated_caches("memory://"):
        assert not entry_of(caches["default"]).raw.exists
    assert kept(redis_url) == []


def test_isolated_caches_isolate_what_a_module_holds(configure: Any, location: str, redis_url: str) -> None:
    configure(location)
    held = caches["default"]
    held.set("own", 1)
    for _ in range(2):
        with isolated_caches():
            assert (held.get("own"), held.get("key")) == (None, None)
            held.set("key", 2)
            assert (caches["default"].get("key"), cache.get("key")) == (2, 2)
    assert (held.get("own"), held.get("key")) == (1, None)
    assert kept(redis_url) == []


@pytest.mark.parametrize("url", ["memory://", "memory://named"])
def test_a_namespace_in_memory_is_gone_with_its_test(configure: Any, url: str) -> None:
    configure(url)
    cache.set("own", 1)
    with isolated_caches():
        caches["default"].set("key", 1)
        stores = [weakref.ref(store_of(caches["default"].fence))]
    with isolated_fence(url) as fence:
        fence.set("key", 1)
        stores.append(weakref.ref(store_of(fence)))
    del fence
    gc.collect()
    assert [store() for store in stores] == [None, None]
    assert cache.get("own") == 1


class TestAssertComputes:
    def test_what_is_computed_counts_and_what_is_found_does_not(self) -> None:
        with isolated_fence() as fence, assert_computes(2) as computes:
            for key in ("a", "b", "a", "b"):
                fence.get_or_set(key, lambda: 1)
            fence.set("c", 1)
            fence.get_or_set("c", lambda: 1)
        assert computes.keys == ["a", "b"]

    @pytest.mark.parametrize(("count", "says"), [
        (0, "0 to be computed, and there was 1: 'a'"), (2, "2 to be computed, and there was 1: 'a'")])
    def test_another_number_fails_and_names_them(self, count: int, says: str) -> None:
        with isolated_fence() as fence, pytest.raises(AssertionError, match=says):
            with assert_computes(count):
                fence.get_or_set("a", lambda: 1)

    def test_nothing_at_all_is_said_to_be_none(self) -> None:
        with pytest.raises(AssertionError, match="there were 0: none"), assert_computes(1):
            pass

    def test_an_error_in_the_block_is_the_one_that_is_raised(self) -> None:
        with pytest.raises(LookupError), assert_computes(1):
            raise LookupError

    def test_a_glob_chooses_keys(self) -> None:
        with isolated_fence() as fence, assert_computes(2), assert_computes(1, key="user:*"):
            fence.get_or_set("user:1", lambda: 1)
            fence.get_or_set("book:1", lambda: 1)

    def test_a_compute_that_fails_counts(self) -> None:
        with isolated_fence() as fence, assert_computes(1), pytest.raises(ZeroDivisionError):
            fence.get_or_set("a", lambda: 1 // 0)

    def test_blocks_inside_one_another_count_alike_and_apart(self) -> None:
        with isolated_fence() as fence, assert_computes(2) as outer:
            with assert_computes(1) as inner, assert_computes(1):
                fence.get_or_set("a", lambda: 1)
            fence.get_or_set("b", lambda: 1)
        assert (outer.keys, inner.keys) == (["a", "b"], ["a"])

    def test_what_is_refreshed_behind_a_callers_back_counts(self) -> None:
        refreshed = threading.Event()
        with isolated_fence() as fence:
            fence.set("a", "old", tags=["tag"], stale_for=60)
            fence.expire_tags("tag")
            with assert_computes(1):
                assert fence.get_or_set("a", refreshed.set, stale_for=60) == "old"
                assert refreshed.wait(20)

    def test_an_observer_that_fails_is_logged_and_the_compute_goes_on(self, caplog: pytest.LogCaptureFixture) -> None:
        def fails(begun: ComputeBegun) -> None:
            raise LookupError(begun.key)

        with isolated_fence() as fence, observing(fails), assert_computes(1):
            assert fence.get_or_set("a", lambda: 7) == 7
            assert "LookupError: a" in caplog.text
            caplog.clear()
        with isolated_fence() as fence:
            assert fence.get_or_set("b", lambda: 7) == 7
        assert [record.getMessage() for record in caplog.records if record.name == "cachefence_web"] == []

    def test_an_observer_is_told_of_the_store(self) -> None:
        told: list[ComputeBegun] = []
        with isolated_fence("memory://told") as fence, observing(told.append):
            fence.get_or_set("a", lambda: 7)
            asyncio.run(fence.aio.get_or_set("b", lambda: 7))
            with fence.leading(fence.begin("c")) as block:
                block.finish(7)
        assert [each.key for each in told] == ["a", "b", "c"]
        assert {each.store for each in told} == {f"memory://told/{fence.namespace}"}

    def test_many_threads_that_share_one_are_one(self) -> None:
        everybody = threading.Barrier(6)

        def load() -> int:
            everybody.wait(20)
            return 1

        def ask(fence: CacheFence, number: int) -> int:
            if number:
                everybody.wait(20)
            return fence.get_or_set("a", load)

        with isolated_fence() as fence, ThreadPoolExecutor(6) as pool, assert_computes(1):
            assert list(pool.map(lambda number: ask(fence, number), range(6))) == [1] * 6

    def test_event_loops_decorators_and_batches_count(self) -> None:
        with isolated_fence() as fence:
            @cached(cache=fence, key="user:{number}")
            async def user(number: int) -> int:
                return number

            async def main() -> None:
                await asyncio.gather(*[user(7) for _ in range(5)])
                await fence.aio.get_or_set("b", lambda: 1)

            with assert_computes(4) as computes:
                asyncio.run(main())
                fence.get_or_set_many(["c", "d"], lambda keys: dict.fromkeys(keys, 1))
            assert computes.keys == ["user:7", "b", "c", "d"]

    def test_pages_and_fragments_count(self, configure: Any) -> None:
        configure("memory://")
        show = Template("{% load cachefence %}{% cachefence 60 one %}x{% endcachefence %}")
        view = cache_view(ttl=60)(lambda request: HttpResponse(show.render(Context())))
        with assert_computes(2), assert_computes(1, key="*template.cachefence.one.*"), assert_computes(1, "response:*"):
            for _ in range(3):
                view(RequestFactory().get("/", headers={"host": "shop.example"}))
