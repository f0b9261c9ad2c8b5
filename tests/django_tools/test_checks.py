"""`manage.py check` tells what is wrong with the settings, each with a hint, and never raises."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from redis import RedisCluster

from cachefence_web.django import CacheMiddleware, Rule
from cachefence_web.django.raw import Raw
from cachefence_web.django.serverchecks import judged_eviction, judged_version, server_info
from cachefence_web.serializers import Pickle
from tests import servers
from tests.servers import RedisServer
from tests.stores.build import PATIENT

OURS = "cachefence_web.django.RedisCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
MIDDLEWARE = "cachefence_web.django.CacheMiddleware"
NOWHERE = "redis://127.0.0.1:1/0"


class SubMiddleware(CacheMiddleware):
    """Somebody's own."""


def said(deploy: bool = False) -> list[str]:
    """The ids of our messages; each of them has a hint."""
    ours = run_checks(tags=["cachefence"], include_deployment_checks=deploy)
    assert all(each.hint for each in ours)
    return sorted(str(each.id).removeprefix("cachefence.") for each in ours)


ZLIB = "django_redis.compressors.zlib.ZlibCompressor"


def entry(location: str = "memory://", backend: str = OURS, **options: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}


def test_the_settings_of_the_tests_have_nothing_wrong_with_them() -> None:
    assert said() == []


@pytest.mark.parametrize("secret", ["", "short"], ids=["none", "short"])
def test_e001_pickle_without_a_secret_is_an_error(settings: Any, secret: str) -> None:
    settings.CACHES = {"default": entry(), "packed": entry(serializer="msgpack")}
    settings.SECRET_KEY = secret
    assert said() == ["E001"]


@pytest.mark.parametrize("wrong", [
    entry("nowhere"), entry(stale="x"), entry(""), {**entry(), "TIMEOUT": "soon"}, entry(namespace="a b"),
], ids=["location", "option", "no-location", "timeout", "namespace"])
def test_e002_settings_that_cannot_work_are_an_error(settings: Any, wrong: dict[str, Any]) -> None:
    settings.CACHES = {"default": wrong}
    assert said(deploy=True) == ["E002"]


@pytest.mark.parametrize(("one", "other", "expected"), [
    (entry(namespace="a"), entry(namespace="a", stale_for=5), ["W003"]),
    (entry(namespace="a"), entry(namespace="a", serializer="msgpack"), ["E003"]),
    (entry(namespace="a"), entry(namespace="a", COMPRESSOR=ZLIB), ["W003"]),
    (entry(namespace="a", COMPRESSOR=ZLIB), entry(namespace="a", COMPRESSOR=ZLIB, serializer="msgpack"), ["E003"]),
    (entry(namespace="a", serializer=Pickle(secret="another secret of some length")), entry(namespace="a"), ["E003"]),
    (entry(namespace="a"), entry(namespace="b"), []),
    (entry(), entry(stale_for=5), []),
    (entry(), entry(), ["E002", "E002"]),
    (entry("redis://localhost:1/0", namespace="a"), entry("redis://127.0.0.1:1/0", namespace="a"), ["W003"]),
    (entry("redis://localhost:1/0", namespace="a"), entry("redis://localhost:1/1", namespace="a"), []),
], ids=["shared", "written-differently", "one-compressed", "both-compressed", "another-secret", "apart", "by-alias",
        "indistinguishable", "two-names", "two-databases"])
def test_e003_w003_a_namespace_that_two_aliases_share_is_told(
    settings: Any, one: dict[str, Any], other: dict[str, Any], expected: list[str]
) -> None:
    settings.CACHES = {"default": one, "other": other}
    assert said() == expected


@pytest.mark.parametrize(("version", "expected"), [
    ("5.0.14", ["cachefence.E004"]), ("6.0.20", ["cachefence.E004"]), ("6.2.0", []), ("7.4.1", []), ("10.0.0", []),
    ("", []), ("unknown", []),
], ids=["5.0", "6.0", "6.2", "7.4", "10.0", "none", "unknown"])
def test_e004_a_redis_older_than_6_2_is_an_error(version: str, expected: list[str]) -> None:
    assert [each.id for each in judged_version("it", {"redis_version": version})] == expected


@pytest.mark.parametrize(("policy", "limit", "expected"), [
    ("allkeys-lru", 1, ["cachefence.W001"]), ("allkeys-lfu", 1, ["cachefence.W001"]),
    ("allkeys-random", 1, ["cachefence.W001"]), ("volatile-random", 1, ["cachefence.W001"]),
    ("noeviction", 1, ["cachefence.W001"]), ("volatile-lru", 1, []), ("volatile-lfu", 1, []), ("volatile-ttl", 1, []),
    ("allkeys-random", 0, []), ("noeviction", 0, []),
])
def test_w001_a_policy_that_loses_tags_first_is_told(policy: str, limit: int, expected: list[str]) -> None:
    assert [each.id for each in judged_eviction("it", {"maxmemory_policy": policy, "maxmemory": limit})] == expected


def test_w001_is_asked_of_the_server_itself_and_only_before_a_deployment(
    settings: Any, new_redis: Callable[..., RedisServer]
) -> None:
    server = new_redis(args=["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
    settings.CACHES = {
        "default": entry(server.tcp_url, timeout=PATIENT),
        "other": entry(server.tcp_url, namespace="other", timeout=PATIENT)}
    assert said() == []
    assert said(deploy=True) == ["W001"]


def test_the_primary_of_a_list_is_asked(settings: Any, new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis(args=["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
    settings.CACHES = {"default": {**entry(timeout=PATIENT), "LOCATION": [server.tcp_url, server.tcp_url]}}
    assert said(deploy=True) == ["W001"]


def test_of_a_cluster_one_primary_is_asked() -> None:
    with servers.RedisCluster(primaries=1) as made:
        (server,) = made.primaries
        for setting in (("maxmemory", "64mb"), ("maxmemory-policy", "allkeys-lru")):
            made.ask(server, "CONFIG", "SET", *setting)
        with RedisCluster.from_url(server.tcp_url) as cluster:
            info = server_info(cast("Raw", SimpleNamespace(client=lambda: cluster)))
            cluster.disconnect_connection_pools()  # at the end of the block redis-py leaves them to the garbage
    assert isinstance(info, dict), info
    assert [each.id for each in judged_eviction("it", info)] == ["cachefence.W001"]
    assert judged_version("it", info) == []


@pytest.mark.parametrize(("caches", "expected"), [
    ({"default": entry(NOWHERE), "local": entry("", LOCMEM)}, ["W002", "W004"]),
    ({"default": entry()}, ["W002"]),
    ({"default": entry("", LOCMEM)}, []),
], ids=["beside-us", "memory", "not-beside-us"])
def test_w002_a_cache_of_each_process_is_told_before_a_deployment(
    settings: Any, caches: dict[str, Any], expected: list[str]
) -> None:
    settings.CACHES = caches
    assert said() == []
    assert said(deploy=True) == expected


@pytest.mark.parametrize("where", [NOWHERE, "unix:///nowhere.sock?db=0", "redis://no-such-host.invalid:6379/0"],
                         ids=["refused", "no-socket", "no-host"])
def test_w004_a_redis_that_is_away_is_told_before_a_deployment_and_raises_nothing(settings: Any, where: str) -> None:
    settings.CACHES = {"default": entry(where)}
    assert said() == []
    assert said(deploy=True) == ["W004"]


def test_w004_sentinels_that_are_away_are_told_in_a_line(settings: Any) -> None:
    settings.CACHES = {"default": entry("redis+sentinel://127.0.0.1:1/primary/0")}
    (told,) = run_checks(tags=["cachefence"], include_deployment_checks=True)
    assert (told.id, "<" in told.msg) == ("cachefence.W004", False)


def test_w004_a_redis_that_hangs_is_waited_for_no_longer_than_its_timeout_allows(
    settings: Any, new_redis: Callable[..., RedisServer]
) -> None:
    server = new_redis()
    settings.CACHES = {"default": entry(server.tcp_url, timeout=0.05)}
    server.pause()
    assert said(deploy=True) == ["W004"]


@pytest.mark.parametrize(("names", "expected"), [
    ([MIDDLEWARE], []),
    ([f"{__name__}.SubMiddleware"], []),
    ([MIDDLEWARE, "cachefence_web.django.middleware.CacheMiddleware"], ["E005"]),
    (["django_hosts.middleware.HostsRequestMiddleware", MIDDLEWARE], []),
    ([MIDDLEWARE, "django_hosts.middleware.HostsRequestMiddleware"], ["W005"]),
    (["django.middleware.cache.UpdateCacheMiddleware", MIDDLEWARE], ["W006"]),
    (["django.middleware.cache.UpdateCacheMiddleware"], []),
    (["not.there"], []),
], ids=["ours", "derived", "twice", "hosts-before", "hosts-after", "djangos-too", "djangos-alone", "unknown"])
def test_e005_w005_w006_the_order_of_the_middleware_is_judged(
    settings: Any, names: list[str], expected: list[str]
) -> None:
    settings.MIDDLEWARE = names
    settings.INSTALLED_APPS = ["cachefence_web.django"]
    assert said() == expected


@pytest.mark.parametrize(("rules", "names", "expected"), [
    ([Rule("/a/", ttl=5)], [MIDDLEWARE], []), ([Rule("/a/", ttl=5)], [], ["W007"]), (["/a/"], [MIDDLEWARE], ["E006"]),
], ids=["used", "unused", "no-rule"])
def test_e006_w007_the_rules_are_read(
    settings: Any, rules: list[Any], names: list[str], expected: list[str]
) -> None:
    settings.INSTALLED_APPS = ["cachefence_web.django"]
    settings.MIDDLEWARE, settings.CACHEFENCE_RULES = names, rules
    assert said() == expected


WRONG = {
    "location": entry("nowhere"), "no-location": entry(""), "option": entry(stale_fro=5),
    "options": {**entry(), "OPTIONS": "x"}, "function": {**entry(), "KEY_FUNCTION": "not.there"},
    "reverse": {**entry(), "REVERSE_KEY_FUNCTION": "not.there"},
}


@pytest.mark.parametrize("tags", [None, ["cachefence"]], ids=["without-tag", "by-tag"])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_manage_py_check_tells_settings_that_cannot_work_by_their_id(
    settings: Any, wrong: dict[str, Any], tags: list[str] | None
) -> None:
    settings.CACHES = {"default": wrong}
    with pytest.raises(SystemCheckError, match=r'cachefence\.E002\) CACHES\["default"\].*\n.*HINT: Correct CACHES'):
        call_command("check", tags=tags, stdout=io.StringIO())


def test_manage_py_check_tells_a_missing_secret_by_its_id(settings: Any) -> None:
    settings.CACHES, settings.SECRET_KEY = {"default": entry()}, ""
    with pytest.raises(SystemCheckError, match=r"cachefence\.E001"):
        call_command("check", stdout=io.StringIO())


def test_a_message_can_be_silenced(settings: Any) -> None:
    settings.CACHES = {"default": entry(namespace="a"), "other": entry(namespace="a")}
    settings.SILENCED_SYSTEM_CHECKS = ["cachefence.W003"]
    told = io.StringIO()
    call_command("check", tags=["cachefence"], stdout=told, stderr=told)
    assert told.getvalue() == "System check identified no issues (1 silenced).\n"


def test_they_are_among_the_checks_that_run_without_a_tag(settings: Any) -> None:
    settings.CACHES = {"default": entry(namespace="a"), "other": entry(namespace="a")}
    assert "cachefence.W003" in [each.id for each in run_checks()]
