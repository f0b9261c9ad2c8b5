"""What is shown while a writer stands between its fence and its COMMIT, by how close to commits it is to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from cachefence_web import AsyncCacheFence, CacheFence, Policy
from cachefence_web import flask as adapter
from cachefence_web.following import AsyncCommitting
from tests.following.stopping import stopped_before_its_commit
from tests.sqlalchemy_following.pages import commit, title
from tests.sqlalchemy_following.test_asyncio import commit as acommit
from tests.sqlalchemy_following.test_asyncio import title as atitle

Follow = Callable[..., Any]

WHILE = {"committed": ("One", True), "strict": ("One", False), "eventual": ("One", True)}
"""What is shown before the COMMIT, and whether it is what was stored."""


@pytest.mark.parametrize("consistency", WHILE)
@pytest.mark.parametrize("said_by", ["view", "policy", "cache", "function"])
def test_p3_a_view_of_flask_is_as_close_to_commits_as_it_or_its_cache_says(
    said_by: str, consistency: str, engine: Engine, follow: Follow, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, policy = Flask("close"), Policy(consistency=consistency)
    fence = adapter.CacheFence(namespace=namespace, policy=policy if said_by == "cache" else Policy())
    fence.init_app(app)
    follow(engine, fence)
    made: list[str] = []

    def view() -> str:
        made.append("")
        return title(engine)

    options: dict[str, dict[str, Any]] = {
        "view": {"consistency": consistency}, "function": {"consistency": consistency}, "policy": {"policy": policy}}
    if said_by == "function":
        kept = fence.memoize(key="title", **options["function"])(view)
        app.add_url_rule("/", view_func=kept, endpoint="view")
    else:
        app.add_url_rule("/", view_func=fence.cache_view(**options.get(said_by, {}))(view), endpoint="view")

    def show() -> tuple[str, bool]:
        made.clear()
        return app.test_client().get("/").text, not made

    assert [show(), show()] == [("One", False), ("One", True)]
    with stopped_before_its_commit(monkeypatch, lambda: commit(engine, "New")):
        assert [show(), show()] == [WHILE[consistency]] * 2
    assert [show(), show()] == [("New", False), ("New", True)]
    fence.of(app).close()


@pytest.mark.parametrize("consistency", WHILE)
async def test_p3_a_value_in_an_event_loop_is_as_close_to_commits_as_it_says(
    consistency: str, async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follow(async_engine, async_fence)
    fenced, on, made = asyncio.Event(), asyncio.Event(), [""]
    before = AsyncCommitting.before

    async def stop(self: AsyncCommitting, *, made: bool = False) -> None:
        await before(self, made=made)
        fenced.set()
        await on.wait()

    async def load() -> str:
        made.append("")
        return await atitle(async_engine)

    async def show() -> tuple[str, bool]:
        made.clear()
        return await async_fence.get_or_set("page", load, ttl=60, consistency=consistency), not made

    assert [await show(), await show()] == [("One", False), ("One", True)]
    monkeypatch.setattr(AsyncCommitting, "before", stop)
    writing = asyncio.create_task(acommit(async_engine, "New"))
    await fenced.wait()
    assert [await show(), await show()] == [WHILE[consistency]] * 2
    on.set()
    await writing
    assert [await show(), await show()] == [("New", False), ("New", True)]


@pytest.mark.parametrize("tier", ["exact", "loose"])
def test_p3_a_tier_of_policies_says_it_for_all_that_name_it(
    tier: str, engine: Engine, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = {"exact": Policy(consistency="strict"), "loose": Policy(consistency="eventual")}
    made: list[str] = []
    with CacheFence(policies=policies) as fence:
        follow(engine, fence)

        def load() -> str:
            made.append("")
            return title(engine)

        def show() -> str:
            return fence.get_or_set("page", load, policy=tier)

        assert (show(), show()) == ("One", "One")
        made.clear()
        with stopped_before_its_commit(monkeypatch, lambda: commit(engine, "New")):
            assert (show(), len(made)) == ("One", 1 if tier == "exact" else 0)
        assert show() == "New"
