"""The star catalogue under uvicorn: a renamed star is right in every answer at once, and no other star is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.projects import Project, Site, served
from tests.servers import RedisServer

# Whoever comes first seeds the database, which takes a busy machine minutes.
pytestmark = pytest.mark.timeout(600)

SHOWN = ("/", "/stars/8", "/api/stars", "/api/stars/8")
"""Where Sirius is to be seen."""

OTHERS = ("/stars/9", "/api/stars/9")


def test_p3_a_renamed_star_shows_at_once_and_answers_about_others_are_still_hits(
    seeded: Callable[[str], Project], tmp_path: Path
) -> None:
    with RedisServer() as redis, served(
        seeded("fastapi_catalog"), tmp_path, "--redis", redis.url, "--workers=2"
    ) as site:
        for path in (*SHOWN, *OTHERS):
            assert "hit" not in visit(site, path)[1], path
            assert "hit" in visit(site, path)[1], path
        before = site.visitor.get("/api/statistics").json()
        assert site.visitor.get("/api/statistics").json() == before
        site.edit()
        for path in SHOWN:
            text, state = visit(site, path)
            assert (site.scenario["after"] in text, "hit" in state) == (True, False), path
        for path in OTHERS:
            assert "hit" in visit(site, path)[1], path
        assert site.visitor.get("/api/statistics").json()["counted_at"] > before["counted_at"]


def visit(site: Site, path: str) -> tuple[str, str]:
    """What is answered, and what the cache says of it."""
    answer = site.visitor.get(path).raise_for_status()
    return answer.text, answer.headers["cache-status"]
