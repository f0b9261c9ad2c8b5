"""The application shown in docs/http.md runs as it stands, and its options are those that there are."""

from __future__ import annotations

import re
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import anyio
import httpx

from cachefence_web.http import ResponsePolicy

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


async def _statuses(app: Any, *targets: str) -> list[str]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
        return [(await client.get(target)).headers["cache-status"] for target in targets]


def test_both_modes_work_as_shown() -> None:
    (block,) = BLOCKS
    shown: dict[str, Any] = {}
    exec(compile(block, "docs/http.md", "exec"), shown)  # noqa: S102
    begun = time.monotonic()
    said = anyio.run(_statuses, shown["app"], "/books/7", "/books/7?utm_source=mail", "/news", "/news")
    passed = time.monotonic() - begun
    assert ["; hit" in each for each in said] == [False, True, False, True]
    left = re.fullmatch(r"cachefence; hit; ttl=(\d+)", said[3])
    assert left is not None, said[3]
    assert 29 - passed <= int(left[1]) <= 30


def test_every_option_is_listed_and_no_other() -> None:
    table = PAGE.partition("## What can be configured")[2].partition("## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert listed == [field.name for field in fields(ResponsePolicy) if field.init]
