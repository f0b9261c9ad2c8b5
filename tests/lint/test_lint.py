"""httplint has nothing against what the adapters answer: on a miss, a hit, a 304, a 206 and a HEAD."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

import pytest

pytest.importorskip("httplint", reason="each adapter is linted over a real server: pip install httplint")
pytest.importorskip("uvicorn", reason="each adapter is linted over a real server: pip install uvicorn")
pytest.importorskip("gunicorn", reason="each adapter is linted over a real server: pip install gunicorn")
pytest.importorskip("django", reason="each adapter is linted over a real server: pip install django")
pytest.importorskip("flask", reason="each adapter is linted over a real server: pip install flask")

from httplint.note import levels

from tests.lint.sites import PAGE
from tests.lint.wire import ROOT, Exchange, Kind, Site, exchange, remarks

SITES: Mapping[str, Kind] = {
    "starlette_by_rules": "uvicorn",
    "starlette_by_headers": "uvicorn",
    "flask": "gunicorn",
    "django": "gunicorn",
}

ALLOWED: Mapping[tuple[str, str], str] = {
    ("206 of two", "PARTIAL_WITHOUT_RANGE"):
        "several ranges have a Content-Range in each part, and must have none in the header (RFC 9110, 15.3.7.2)",
}
"""Notes at level BAD or WARN that stay, by kind of answer and name of the note's class, each with the reason."""


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Each adapter with one cached page."""
    with Site(request.param, SITES[request.param]) as server:
        yield server


@pytest.fixture(scope="module")
def found(site: Site) -> dict[str, Exchange]:
    """The five kinds of answer, in the order in which they come about."""
    miss = exchange(site.port)
    hit = exchange(site.port)
    etag = (hit.all("etag") or ['"none"'])[0]
    return {
        "miss": miss,
        "hit": hit,
        "304": exchange(site.port, headers={"If-None-Match": etag}),
        "206": exchange(site.port, headers={"Range": "bytes=10-29"}),
        "206 of two": exchange(site.port, headers={"Range": "bytes=0-9, 20-29"}),
        "416": exchange(site.port, headers={"Range": "bytes=1000000-"}),
        "If-Range": exchange(site.port, headers={"Range": "bytes=-5", "If-Range": etag}),
        "HEAD": exchange(site.port, method="HEAD"),
        "HEAD and 304": exchange(site.port, method="HEAD", headers={"If-None-Match": etag}),
    }


KINDS = ("miss", "hit", "304", "206", "206 of two", "416", "If-Range", "HEAD", "HEAD and 304")


@pytest.mark.parametrize("kind", KINDS)
def test_httplint_has_nothing_against_it(found: dict[str, Exchange], kind: str) -> None:
    noted = [remark for remark in remarks(found[kind]) if remark.level in (levels.BAD, levels.WARN)]
    against = [remark for remark in noted if (kind, remark.name) not in ALLOWED]
    assert not against, (kind, found[kind].headers)


WANTED = {
    "miss": (200, PAGE), "hit": (200, PAGE), "304": (304, ""), "206": (206, PAGE[10:30]), "416": (416, None),
    "HEAD": (200, ""), "HEAD and 304": (304, ""),
}


@pytest.mark.parametrize("kind", WANTED)
def test_it_is_the_answer_that_was_asked_for(found: dict[str, Exchange], kind: str) -> None:
    status, body = WANTED[kind]
    assert (found[kind].status, found[kind].cut) == (status, False)
    assert body is None or found[kind].body.decode() == body


def test_if_range_counts_only_with_a_strong_etag(found: dict[str, Exchange]) -> None:
    """RFC 9110, 13.1.5: a weak one never says that the bytes are the same."""
    answer, strong = found["If-Range"], not found["hit"].all("etag")[0].startswith("W/")
    assert (answer.status, answer.body.decode()) == ((206, PAGE[-5:]) if strong else (200, PAGE))


def test_the_first_is_a_miss_and_all_others_come_from_the_cache(found: dict[str, Exchange]) -> None:
    from_cache = {kind: "; hit" in answer.cache_status for kind, answer in found.items()}
    assert from_cache == {kind: kind != "miss" for kind in KINDS}


def test_a_head_names_the_length_that_the_page_has(found: dict[str, Exchange]) -> None:
    assert found["HEAD"].all("content-length") == [str(len(PAGE))]


def test_two_ranges_come_as_parts(found: dict[str, Exchange]) -> None:
    parts = found["206 of two"]
    assert parts.status == 206
    assert parts.all("content-type")[0].startswith("multipart/byteranges")
    assert PAGE[:10].encode() in parts.body
    assert PAGE[20:30].encode() in parts.body


@pytest.mark.skipif(find_spec("redbot") is None, reason="REDbot is not installed: pip install redbot")
def test_redbot_asks_in_its_own_ways_and_has_nothing_against_the_answers(site: Site) -> None:
    url = f"http://127.0.0.1:{site.port}/page"
    for _ in ("miss", "hit"):
        ran = subprocess.run([sys.executable, "-m", "tests.lint.bot", url], cwd=ROOT, capture_output=True, text=True,
                             check=True, timeout=60)
        noted = json.loads(ran.stdout)
        assert noted
        assert not [note for note in noted if note[0] in ("bad", "warning")]
