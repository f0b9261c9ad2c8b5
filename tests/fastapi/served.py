"""What the server tests serve: one title in three cached shapes, and a way to change it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse

from cachefence_web import AsyncCacheFence
from cachefence_web.fastapi import cache_view, cached, install

FOLDER = Path(os.environ["SERVED"])
SLOW = 0.2

fence = AsyncCacheFence(os.environ.get("CACHE", "memory://"), namespace=os.environ.get("NAMESPACE", "served"),
                        timeout=20.0)  # 500 clients on two cores are no outage
app = FastAPI(default_response_class=PlainTextResponse)
install(app, fence)


def read(what: str) -> str:
    """The title, and a line in the log of those who read it."""
    log = os.open(FOLDER / "computes.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(log, f"{what}\n".encode())
    os.close(log)
    file = FOLDER / "title.txt"
    return file.read_text() if file.exists() else "old"


async def load() -> str:
    title = read("/value")
    await asyncio.sleep(SLOW)
    return title


@app.get("/async", dependencies=[Depends(cached(ttl=60, tags=["title"]))])
async def in_the_loop() -> str:
    title = read("/async")
    await asyncio.sleep(SLOW)
    return title


@app.get("/sync", dependencies=[Depends(cached(ttl=60, tags=["title"]))])
def in_a_thread() -> str:
    title = read("/sync")
    time.sleep(SLOW)
    return title


@app.get("/view")
@cache_view(ttl=60, tags=["title"])
def view() -> str:
    title = read("/view")
    time.sleep(SLOW)
    return title


@app.get("/value")
async def value(title: Annotated[str, Depends(cached(load, ttl=60, tags=["title"]))]) -> str:
    return title


@app.post("/save/{title}")
async def save(title: str) -> str:
    (FOLDER / "title.txt").write_text(title)
    await fence.invalidate_tags("title")
    return "saved"


@app.get("/health")
async def health() -> str:
    return "well"
