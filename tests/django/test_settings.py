"""What CACHES says is checked when Django reads it, and an error names the setting."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core.cache import cache, caches

from cachefence_web import ConfigurationError
from cachefence_web.django import RedisCache, fence
from cachefence_web.serializers import Json
from tests.stores.build import PATIENT

OURS = "cachefence_web.django.RedisCache"


@pytest.mark.parametrize(("wrong", "message"), [
    ({"OPTIONS": {"stale_four": 5}}, r'CACHES\["default"\]\["OPTIONS"\]\["stale_four"\].*\'stale_for\''),
    ({"OPTIONS": {"nonsense": 5}}, r'\["nonsense"\] is unknown; the options are namespace'),
    ({"OPTIONS": {"ssl_ca_certs": "/ca.pem"}}, r'\["ssl_ca_certs"\].*CONNECTION_POOL_KWARGS'),
    ({"OPTIONS": {"MAX_ENTRIES": 5}}, r'\["MAX_ENTRIES"\].*maxmemory'),
    ({"OPTIONS": {"stale_for": "5"}}, r'\["OPTIONS"\]\["stale_for"\]: stale_for is a number of seconds'),
    ({"OPTIONS": {"ttl": 5}, "TIMEOUT": 5}, r'\["ttl"\] and .*\["TIMEOUT"\] say the same'),
    ({"OPTIONS": {"serializer": "yaml"}}, r'\["OPTIONS"\]\["serializer"\]: serializer=\'yaml\''),
    ({"OPTIONS": {"timeout": 0}}, r'\["OPTIONS"\]\["timeout"\]: timeout is a positive number'),
    ({"OPTIONS": {"on_outage": "cry"}}, r'\["on_outage"\]: on_outage is \'journal\', \'outbox\', '),
    ({"OPTIONS": {"namespace": "a b"}}, r'\["OPTIONS"\]\["namespace"\]: a namespace is'),
    ({"OPTIONS": {"namespace": 5}}, r'\["OPTIONS"\]\["namespace"\]: a namespace is'),
    ({"OPTIONS": {"max_connections": 0}}, r'\["OPTIONS"\]\["max_connections"\]: max_connections is how many'),
    ({"OPTIONS": {"fence_life": -1}}, r'\["OPTIONS"\]\["fence_life"\]: fence_life is a positive'),
    ({"OPTIONS": {5: 1}}, r'CACHES\["default"\].*AttributeError'),
    ({"TIMEOUT": "soon"}, r'CACHES\["default"\]\["TIMEOUT"\]: a timeout is a number'),
    ({"LOCATION": "redis://a,"}, r'CACHES\["default"\]\["LOCATION"\] is missing'),
    ({"LOCATION": ""}, r'CACHES\["default"\]\["LOCATION"\] is missing'),
    ({"LOCATION": []}, r'\["LOCATION"\] is missing'),
    ({"LOCATION": "http://localhost"}, r"is no store"),
    ({"LOCATION": "memory://a,memory://b"}, r'\["LOCATION"\]: replicas go with a primary'),
    ({"LOCATION": ["memory://a", "memory://b"]}, r'\["LOCATION"\]: replicas go with a primary'),
])
def test_a_wrong_setting_is_named(settings: Any, wrong: dict[str, Any], message: str) -> None:
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": "memory://", **wrong}}
    with pytest.raises(ConfigurationError, match=message):
        caches["default"].get("key")


def test_a_prefix_that_is_no_text_is_taken_as_django_takes_it(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": "memory://", "KEY_PREFIX": 5}}
    cache.set("key", 1)
    assert cache.get("key") == 1
    assert fence().namespace == "django:default:5"


@pytest.mark.parametrize("location", ["redis://:s3,cret@h:bad/0", "redis://:s3;cret@h:bad", "reddis://:s3,cret@h"])
def test_a_password_with_a_comma_is_not_cut_and_not_told(settings: Any, location: str) -> None:
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": location}}
    with pytest.raises(ConfigurationError, match=r'\["LOCATION"\]: .*\*\*\*@h') as refused:
        caches["default"].get("key")
    assert "s3" not in str(refused.value)
    assert "cret" not in str(refused.value)


def test_several_places_are_told_apart(settings: Any, location: str, namespace: str) -> None:
    places = f"{location},{location}; {location}"
    settings.CACHES = {"default": {
        "BACKEND": OURS, "LOCATION": places, "OPTIONS": {"namespace": namespace, "timeout": PATIENT}}}
    cache.set("key", 1)
    assert cache.get("key") == 1


def test_p12_a_short_secret_is_refused_for_pickle_only(settings: Any) -> None:
    settings.SECRET_KEY = "short"
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": "memory://"}}
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        caches["default"].get("key")
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": "memory://", "OPTIONS": {"serializer": "msgpack"}}}
    cache.set("key", 1)
    assert cache.get("key") == 1


def test_a_list_of_one_and_every_option_are_taken(settings: Any, location: str, namespace: str) -> None:
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": [location], "TIMEOUT": "60", "OPTIONS": {
        "namespace": namespace, "serializer": Json(), "timeout": 20, "on_outage": "log", "fence_life": 5,
        "stale_for": 10, "jitter": 0.1}}}
    cache.set("key", {"a": 1})
    assert cache.get("key") == {"a": 1}
    assert fence().namespace == namespace
    assert (fence().policy.ttl, fence().policy.stale_for, fence().policy.jitter) == (60, 10, 0.1)


def test_p12_a_former_secret_is_read_while_it_is_a_fallback(settings: Any, entry: Any) -> None:
    settings.CACHES = {"default": entry}
    former = settings.SECRET_KEY
    cache.set("key", {"a": 1})
    settings.SECRET_KEY = "another secret, of the same length or so"
    assert cache.get("key") is None
    settings.SECRET_KEY_FALLBACKS = [former]
    assert cache.get("key") == {"a": 1}


def test_aliases_on_one_server_do_not_see_each_other(settings: Any, location: str, namespace: str) -> None:
    one = {"BACKEND": OURS, "LOCATION": location, "KEY_PREFIX": namespace, "OPTIONS": {"timeout": PATIENT}}
    settings.CACHES = {"default": one, "sessions": {**one, "TIMEOUT": 60}, "other": {**one, "KEY_PREFIX": "other"}}
    for alias in caches:
        caches[alias].set("key", alias)
    assert [caches[alias].get("key") for alias in caches] == ["default", "sessions", "other"]
    assert fence("sessions").namespace == f"django:sessions:{namespace}"
    cache.clear()
    assert [caches[alias].get("key") for alias in caches] == [None, "sessions", "other"]
    caches["other"].clear()
    caches["sessions"].clear()


def test_aliases_with_one_namespace_share_its_keys(settings: Any, entry: Any) -> None:
    settings.CACHES = {"default": entry, "second": {**entry, "VERSION": 2}}
    cache.set("key", 1)
    assert caches["second"].get("key") is None
    assert caches["second"].get("key", version=1) == 1


def test_aliases_that_nothing_tells_apart_are_refused(settings: Any) -> None:
    one = {"BACKEND": OURS, "LOCATION": "memory://"}
    settings.CACHES = {"default": one, "twin": dict(one)}
    with pytest.raises(ConfigurationError, match=r'CACHES\["default"\] and CACHES\["twin"\] say the same'):
        caches["twin"].get("key")


def test_a_prefix_that_no_namespace_could_hold_is_told_by_its_digest(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": OURS, "LOCATION": "memory://", "KEY_PREFIX": "ö:" * 60}}
    cache.set("key", 1)
    assert cache.get("key") == 1
    assert len(fence().namespace) < 60


def test_a_backend_made_by_hand_is_named_by_its_prefix() -> None:
    assert RedisCache("memory://", {"KEY_PREFIX": "shop"}).fence.namespace == "django:shop"
    assert RedisCache("memory://", {"VERSION": 2}).fence.namespace == "django"


def test_p10_settings_that_come_and_go_leave_no_thread(settings: Any, entry: Any, namespace: str) -> None:
    def use(number: int) -> None:
        options = {**entry["OPTIONS"], "namespace": f"{namespace}.{number}"}
        settings.CACHES = {"default": {**entry, "OPTIONS": options}}
        assert cache.get_or_set("key", lambda: number, stale_for=5) == number

    use(0)
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    before = threading.active_count()
    for number in range(20):
        use(number)
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    assert threading.active_count() <= before


def test_a_changed_setting_is_followed_by_backends_that_are_there(settings: Any, entry: Any) -> None:
    settings.CACHES = {"default": entry}
    backend = caches["default"]
    before = backend.fence
    settings.SECRET_KEY = "another secret, of the same length or so"
    assert backend.fence is not before
    assert backend.fence is fence()
