"""What is shown while a write is fenced and not yet committed, by how close to commits it is to be."""

from collections.abc import Callable
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from cachefence_web import AsyncCacheFence, Policy
from cachefence_web.core.effects import Outcome
from cachefence_web.fastapi import cached, install
from tests.starlette.asgi import ask

WHILE = {"committed": 1, "strict": 3, "eventual": 1}
"""How often it was made, asked for once before the fence and twice behind it."""


def response(app: FastAPI, consistency: str, load: Callable[[], str]) -> None:
    @app.get("/", dependencies=[Depends(cached(ttl=60, tags=["book:1"], consistency=consistency))])
    async def page() -> str:
        return load()


def value(app: FastAPI, consistency: str, load: Callable[[], str]) -> None:
    kept = cached(load, key="title", ttl=60, tags=["book:1"], consistency=consistency)

    @app.get("/")
    async def page(title: Annotated[str, Depends(kept)]) -> str:
        return title


def policy(app: FastAPI, consistency: str, load: Callable[[], str]) -> None:
    @app.get("/", dependencies=[Depends(cached(tags=["book:1"], policy=Policy(consistency=consistency)))])
    async def page() -> str:
        return load()


@pytest.mark.parametrize("consistency", WHILE)
@pytest.mark.parametrize("declare", [response, value, policy], ids=lambda declare: declare.__name__)
async def test_p3_an_answer_is_as_close_to_commits_as_it_says(
    declare: Callable[..., None], consistency: str, fence: AsyncCacheFence
) -> None:
    app, row, made = FastAPI(), {"title": "One"}, []

    def load() -> str:
        made.append("")
        return row["title"]

    install(app, fence)
    declare(app, consistency, load)

    async def shown() -> str:
        return (await ask(app, "/")).body.decode()

    assert await shown() == '"One"'
    pending = await fence.fence_tags("book:1")
    assert [await shown(), await shown()] == ['"One"'] * 2
    assert len(made) == WHILE[consistency]
    row["title"] = "New"
    await pending.lift(Outcome.COMMITTED)
    assert [await shown(), await shown()] == ['"New"'] * 2
    assert len(made) == WHILE[consistency] + 1
