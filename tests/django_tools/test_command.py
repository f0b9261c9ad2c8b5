"""`manage.py cachefence` looks into a cache, and says what is wrong with it."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import RequestFactory

from cachefence_web.django import RedisCache, cache_view
from cachefence_web.django.alias import entry_of
from cachefence_web.django.progressing import INTERVAL, progressing
from tests.stores.build import PATIENT

ROOT = Path(__file__).parents[2]
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def on_store(configure: Any, location: str) -> None:
    configure(location)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(*words: str, errors: io.StringIO | None = None) -> str:
    out = io.StringIO()
    call_command("cachefence", *words, stdout=out, stderr=errors or io.StringIO(), no_color=True)
    return out.getvalue()


def data(*words: str) -> Any:
    return json.loads(told(*words, "--json"))


def failed(*words: str) -> tuple[str, str]:
    """What it printed, and how it failed."""
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("cachefence", *words, stdout=out, stderr=io.StringIO(), no_color=True)
    return out.getvalue(), str(error.value)


@pytest.mark.usefixtures("on_store")
class TestInspect:
    def test_a_value_is_told_with_its_tags_and_its_life(self) -> None:
        cache.set("key", {"a": 1}, 60, tags=["book"], stale_for=30)
        found = data("inspect", "key")
        assert found["state"] == "fresh"
        assert (found["key"], found["name"], found["value"]) == ("key", ":1:key", "{'a': 1}")
        assert found["tags"] == {"book": "valid"}
        assert 50 < found["fresh_for"] <= 60
        assert found["stale_for"] == pytest.approx(30, abs=0.1)
        assert 0 <= found["age"] < 10
        assert "book  valid" in told("inspect", "key")

    def test_the_tag_that_forbids_a_value_is_named(self) -> None:
        cache.set("key", 1, 60, tags=["book", "shelf"])
        cache.invalidate_tags("shelf")
        found = data("inspect", "key")
        assert found["state"] == "invalidated"
        assert found["tags"] == {"book": "valid", "shelf": "invalidated"}
        assert "life     over" in told("inspect", "key")

    def test_a_commit_under_way_is_told(self) -> None:
        cache.set("key", 1, 60, tags=["book"])
        with cache.fencing("book"):
            assert data("inspect", "key")["tags"] == {"book": "pending"}

    def test_a_life_without_end_a_number_and_another_version_are_told(self) -> None:
        cache.set("key", 7, None, version=5)
        found = data("inspect", "key", "--key-version", "5")
        assert (found["fresh_for"], found["kind"], found["value"]) == (None, "number", "7")
        assert "life     no end, unless it is invalidated" in told("inspect", "key", "--key-version", "5")

    def test_a_long_value_is_cut(self) -> None:
        cache.set("key", "x" * 5000, 60)
        assert len(data("inspect", "key")["value"]) < 600

    def test_a_key_that_is_not_there_is_status_1(self) -> None:
        printed, error = failed("inspect", "none", "--json")
        assert json.loads(printed)["state"] == "missing"
        assert "':1:none'" in error


@pytest.mark.usefixtures("on_store")
class TestOthers:
    def test_stats_count_values_pages_states_and_tags(self, namespace: str) -> None:
        for number in range(5):
            cache.set(f"key{number}", "x", 60 if number else None, tags=["all", f"n{number}"])
        cache.invalidate_tags("n1")
        view = cache_view(ttl=60)(lambda request: HttpResponse("x"))
        view(RequestFactory().get("/", headers={"host": "shop.example"}))
        found = data("stats")
        assert (found["namespace"], found["pages"], found["endless"]) == (namespace, 1, 1)
        assert found["entries"] == sum(found["states"].values())
        assert found["states"]["invalidated"] == 1
        assert found["tags"]["all"] == 5
        assert bool(found["server"]) is entry_of(caches["default"]).raw.exists
        assert found["epoch"] == f"{cache.fence.instant().epoch:016x}"
        assert f"namespace    {namespace}, in epoch {found['epoch']}" in told("stats")

    def test_stats_count_all_and_read_a_sample(self) -> None:
        cache.set_many({f"key{number}": "x" for number in range(30)}, 60, tags=["all"])
        found = data("stats", "--sample", "10")
        assert (found["entries"], found["sampled"], found["states"]) == (30, 10, {"fresh": 10})
        assert (found["tags"], found["tags_in_all"]) == ({"all": 10}, 1)
        assert "sample       10 entries" in told("stats", "--sample", "10")
        assert "sample" not in told("stats")

    def test_structures_of_redis_are_told_from_entries(self) -> None:
        if not entry_of(caches["default"]).raw.exists:
            pytest.skip("memory:// has no structures")
        cache.set("value", 1, 60)
        for key, add in {"set": cache.sadd, "hash": cache.hset}.items():
            add(key, "a", "1")
        cache.zadd("zset", {"a": 1, "b": 2})
        cache.expire("zset", 60)
        found = data("stats")
        assert (found["entries"], found["structures"], found["sampled"]) == (1, 3, 1)
        printed = told("stats")
        assert "structures   3 sets" in printed
        assert "sample" not in printed
        assert sorted(data("keys")) == ["hash", "set", "value", "zset"]
        assert "state    a hash of Redis" in told("inspect", "hash")
        assert "value    2 in it" in told("inspect", "zset")
        inspected = {key: data("inspect", key) for key in ("set", "hash", "zset")}
        assert {key: (each["state"], each["kind"]) for key, each in inspected.items()} == {
            key: ("structure", key) for key in inspected}
        assert inspected["set"]["fresh_for"] is None
        assert 50 < inspected["zset"]["fresh_for"] <= 60

    def test_stats_tell_which_commits_are_waited_for(self) -> None:
        cache.set("key", 1, 60, tags=["book", "shelf"])
        assert data("stats")["pending"] == []
        with cache.fencing("book"):
            assert data("stats")["pending"] == ["book"]
            assert "waiting      book" in told("stats")

    def test_keys_lists_those_that_match(self) -> None:
        cache.set_many({"book:1": 1, "book:2": 2, "shelf:1": 3})
        assert sorted(data("keys")) == ["book:1", "book:2", "shelf:1"]
        assert sorted(told("keys", "book:*").split()) == ["book:1", "book:2"]
        assert len(data("keys", "--limit", "2")) == 2
        assert data("keys", "--key-version", "2") == []

    def test_invalidate_forbids_what_carries_the_tags(self) -> None:
        cache.set("a", 1, tags=["x"])
        cache.set("b", 2, tags=["y"])
        cache.set("c", 3, tags=["z"])
        assert data("invalidate", "x", "y") == {"invalidated": ["x", "y"]}
        assert cache.get_many(["a", "b", "c"]) == {"c": 3}
        assert told("invalidate", "x") == "Invalidated x.\n"
        assert "white space" in failed("invalidate", "a b")[1]

    def test_clear_empties_the_alias_alone(self, settings: Any, namespace: str) -> None:
        ours = settings.CACHES["default"]
        settings.CACHES = {"default": ours, "other": {
            **ours, "OPTIONS": {**ours["OPTIONS"], "namespace": f"{namespace}.other"}}}
        cache.set("key", 1)
        caches["other"].set("key", 2)
        assert data("clear", "--cache", "other") == {"cleared": f"{namespace}.other"}
        assert (cache.get("key"), caches["other"].get("key")) == (1, None)

    def test_a_healthy_cache_is_told_to_be_one(self) -> None:
        found = data("doctor")
        assert {each["level"] for each in found if each["what"] == "default"} == {"ok"}
        assert "ok default: a round trip takes" in told("doctor")
        assert data("keys") == []

    @pytest.mark.parametrize("words", [
        ["stats"], ["keys"], ["inspect", "key"], ["invalidate", "x"], ["doctor"], ["clear"],
    ], ids=lambda words: words[0])
    def test_it_may_be_called_on_an_event_loop(self, words: list[str]) -> None:
        cache.set("key", 1)

        async def call() -> str:
            return told(*words)

        assert isinstance(asyncio.run(call()), str)


@pytest.mark.parametrize("forgiving", ["raise", "log"])
@pytest.mark.parametrize("words", [["stats"], ["keys"], ["inspect", "key"], ["invalidate", "x"], ["clear"]],
                         ids=lambda words: words[0])
def test_a_store_that_is_away_is_one_line_and_status_1(configure: Any, words: list[str], forgiving: str) -> None:
    configure(NOWHERE, on_outage=forgiving)
    printed, error = failed(*words)
    assert (printed, "\n" in error) == ("", False)


def test_a_doctor_finds_a_store_that_is_away(configure: Any) -> None:
    configure(NOWHERE)
    printed, error = failed("doctor", "--json")
    found = {each["what"]: each["level"] for each in json.loads(printed)}
    assert found == {"cachefence.W004": "warning", "default": "error"}
    assert error == "errors found: 1"


def test_a_doctor_finds_settings_that_cannot_work(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "nowhere"}}
    printed, error = failed("doctor")
    assert "error cachefence.E002" in printed
    assert error == "errors found: 1"


def test_a_doctor_who_is_asked_about_one_alias_says_nothing_of_the_others(settings: Any) -> None:
    ours = {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://"}
    settings.CACHES = {"default": {**ours, "LOCATION": "nowhere"}, "other": ours}
    found = data("doctor", "--cache", "other")
    assert {each["level"] for each in found} == {"warning", "ok"}
    assert all("default" not in each["text"] for each in found)
    assert "E002" in failed("doctor", "--cache", "default")[0]


def test_a_doctor_finds_that_no_alias_has_this_backend(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert "no alias has this backend" in failed("doctor")[0]


@pytest.mark.parametrize(("words", "says"), [
    (["keys", "--cache", "nowhere"], "no alias of CACHES; there are 'default'"), (["invalidate"], "required"),
    ([], "required"), (["keys", "--limit", "0"], "at least 1"), (["nonsense"], "invalid choice"),
], ids=["alias", "no-tags", "no-action", "limit", "unknown"])
def test_bad_arguments_are_told(words: list[str], says: str) -> None:
    assert says in failed(*words)[1]


def test_another_backend_is_refused(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert "LocMemCache" in failed("stats")[1]


def test_progress_is_a_line_from_time_to_time_where_there_is_no_terminal() -> None:
    out, times = io.StringIO(), iter([0.0, 0.1, INTERVAL, INTERVAL, INTERVAL + 0.1])
    with progressing("entries", out, clock=lambda: next(times)) as tell:
        for seen in (500, 1000, 1500):
            tell(seen)
    assert out.getvalue() == "1,000 entries\n"


def test_progress_needs_no_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    out, times = Terminal(), iter([0.0, INTERVAL, INTERVAL])
    with progressing("entries", out, clock=lambda: next(times)) as tell:
        tell(7)
    assert out.getvalue() == "7 entries\n"


def test_progress_is_drawn_by_rich_on_a_terminal() -> None:
    pytest.importorskip("rich")
    out = Terminal()
    with progressing("entries", out) as tell:
        tell(1234)
    assert "1,234 entries" in out.getvalue()


def test_json_is_alone_on_the_output_and_nothing_is_drawn(configure: Any, redis_url: str) -> None:
    configure(redis_url)
    errors = Terminal()
    json.loads(told("stats", "--json", errors=errors))
    assert errors.getvalue() == ""


@pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
@pytest.mark.usefixtures("on_store")
@pytest.mark.parametrize("key", ["line\nbreak", "bell\x07", "\u2028"], ids=ascii)
def test_a_key_that_a_terminal_cannot_show_is_printed_as_json_has_it(key: str) -> None:
    cache.set(key, 1, tags=["tag"])
    printed = told("keys")
    assert (json.loads(printed), printed.isascii()) == (key, True)
    assert data("keys") == [key]
    assert data("inspect", key)["key"] == key
    assert json.dumps(key) in told("inspect", key)


def test_an_interrupted_walk_has_printed_what_it_found_and_ends_as_such(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("memory://")

    def interrupted(*_: Any, **__: Any) -> Iterator[str]:
        yield "first"
        raise KeyboardInterrupt

    monkeypatch.setattr(RedisCache, "iter_keys", interrupted)
    out = io.StringIO()
    with pytest.raises(CommandError, match="interrupted") as error:
        call_command("cachefence", "keys", stdout=out, stderr=io.StringIO())
    assert (out.getvalue(), error.value.returncode) == ("first\n", 130)


def test_whoever_reads_only_the_first_lines_sees_no_traceback(redis_url: str, namespace: str) -> None:
    program = f"""
import django, sys
from django.conf import settings
settings.configure(SECRET_KEY="a secret for the tests", INSTALLED_APPS=["cachefence_web.django"], CACHES={{"default": {{
    "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": {redis_url!r},
    "OPTIONS": {{"namespace": {namespace!r}, "timeout": {PATIENT}}}}}}})
django.setup()
from django.core.cache import cache
from django.core.management import execute_from_command_line
cache.set_many({{"key" * 20 + str(number): 1 for number in range(5000)}})
sys.stdout.write("set\\n")
sys.stdout.flush()
sys.stdin.readline()
execute_from_command_line(["manage.py", "cachefence", "keys"])
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, cwd=ROOT) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == "set\n"
        command.stdout.close()
        command.stdin.write("go\n")
        command.stdin.flush()
        assert (command.stderr.read(), command.wait(30)) == ("", 0)
