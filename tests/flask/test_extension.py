"""One extension object for any number of applications, each with a cache of its own, as its config says."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from typing import Any

import pytest
from flask import Flask

import cachefence_web
from cachefence_web import ConfigurationError, Policy, SerializationError
from cachefence_web.flask import CacheFence
from tests.flask.behind import LONG


def made(name: str = "shop", **config: Any) -> Flask:
    app = Flask(name)
    app.config.update(config)
    return app


def test_every_method_acts_on_the_cache_of_the_application_in_hand() -> None:
    fence = CacheFence()
    one, two = made("one"), made("two")
    fence.init_app(one)
    fence.init_app(two)
    assert one.extensions["cachefence"] is fence
    with one.app_context():
        fence.set("key", "one", ttl=60)
    with two.app_context():
        assert fence.get("key") is None
        fence.set("key", "two", ttl=60)
        with one.app_context():
            assert fence.get("key") == "one"
            assert asyncio.run(fence.aio.get("key")) == "one"
        assert fence.get("key") == "two"
    assert fence.of(one).get("key") == "one"


def test_outside_of_a_context_the_only_application_is_meant() -> None:
    fence = CacheFence()
    with pytest.raises(ConfigurationError, match=r"init_app\(app\) first"):
        fence.get("key")
    one, two = made("one"), made("two")
    fence.init_app(one)
    fence.set("key", 1, ttl=60)
    assert fence.get("key") == 1
    with two.app_context(), pytest.raises(ConfigurationError, match="'two' has no cache"):
        fence.get("key")
    fence.init_app(two)
    with pytest.raises(ConfigurationError, match="app_context"):
        fence.get("key")


def test_a_view_of_an_application_without_the_cache_says_what_to_call() -> None:
    app, fence = made(TESTING=True), CacheFence()
    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: "page"))
    with pytest.raises(ConfigurationError, match="init_app"):
        app.test_client().get("/")


def test_config_wins_over_arguments_and_arguments_over_defaults() -> None:
    fence = CacheFence(namespace="given", policy={"ttl": 7})
    one, two = made(), made(CACHEFENCE_NAMESPACE="configured", CACHEFENCE_POLICY={"ttl": 8, "stale_for": 9})
    fence.init_app(one)
    fence.init_app(two)
    assert (fence.of(one).namespace, fence.of(one).policy) == ("given", Policy(ttl=7))
    assert (fence.of(two).namespace, fence.of(two).policy) == ("configured", Policy(ttl=8, stale_for=9))
    assert CacheFence(made(), url="memory://named", timeout=0.1).namespace == "cachefence"


@pytest.mark.parametrize(("config", "says"), [
    ({"CACHEFENCE_URI": "memory://"}, "did you mean 'CACHEFENCE_URL'"),
    ({"CACHEFENCE_ZZZ": 1}, "the settings are CACHEFENCE_URL"),
    ({"CACHEFENCE_URL": "memcached://x"}, "redis://host"),
    ({"CACHEFENCE_NAMESPACE": "two words"}, "namespace"),
    ({"CACHEFENCE_TIMEOUT": 0}, "timeout"),
    ({"CACHEFENCE_ON_OUTAGE": "panic"}, "on_outage"),
    ({"CACHEFENCE_POLICY": {"tll": 60}}, "did you mean 'ttl'"),
    ({"CACHEFENCE_POLICY": 60}, "policy is a Policy"),
    ({"CACHEFENCE_POLICIES": {"a": {"ttl": -1}}}, "positive"),
    ({"CACHEFENCE_POLICIES": ["a"]}, "policies is a dict"),
    ({"CACHEFENCE_SERIALIZER": "pickle"}, "secret"),
    ({"CACHEFENCE_SERIALIZER": "yaml"}, "msgpack"),
])
def test_a_setting_that_cannot_work_is_refused_by_init_app(config: dict[str, Any], says: str) -> None:
    app, fence = made(**config), CacheFence()
    with pytest.raises(ConfigurationError, match=says):
        fence.init_app(app)
    assert "cachefence" not in app.extensions


def test_init_app_twice_and_on_anything_else_is_refused() -> None:
    app, fence = made(), CacheFence()
    fence.init_app(app)
    for again in (fence, CacheFence()):
        with pytest.raises(ConfigurationError, match="already"):
            again.init_app(app)
    with pytest.raises(ConfigurationError, match="Flask application"):
        fence.init_app("shop")  # type: ignore[arg-type]


def test_p12_pickles_are_signed_with_the_secret_key_and_former_ones_are_read(store: str, namespace: str) -> None:
    def value(**config: Any) -> Any:
        app = made(CACHEFENCE_SERIALIZER="pickle", **config)
        fence = CacheFence(app, url=store, namespace=namespace, timeout=LONG)
        try:
            if fence.get("key") is None:
                fence.set("key", {1: (2, 3)}, ttl=60)
            return fence.get("key", "forged")
        finally:
            fence.close()

    store = store if store != "memory://" else f"memory://{namespace}"  # by name it outlives its first cache
    assert value(SECRET_KEY="a first secret key") == {1: (2, 3)}
    assert value(SECRET_KEY="a second secret key", SECRET_KEY_FALLBACKS=["a first secret key"]) == {1: (2, 3)}


def test_memoize_keeps_a_function_in_each_application_and_forgets() -> None:
    fence, calls = CacheFence(policies={"long": Policy(ttl=500)}), []

    @fence.memoize(ttl=60, key="double:{number}", tags=["double:{number}"])
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    @fence.memoize(key="triple:{number}", policy="long")
    async def triple(number: int) -> int:
        calls.append(number)
        return 3 * number

    one, two = made("one"), made("two")
    fence.init_app(one)
    fence.init_app(two)
    for app in (one, two):
        with app.app_context():
            assert [double(4), double(number=4), asyncio.run(triple(4)), asyncio.run(triple(4))] == [8, 8, 12, 12]
    assert calls == [4, 4, 4, 4]
    with one.app_context():
        fence.invalidate_tags("double:4")
        double(4)
        assert double.forget(4)
        double(4)
        assert asyncio.run(triple.forget(4))
        assert triple.key_of(4) == "triple:4"
    assert calls == [4] * 6


@pytest.mark.parametrize(("options", "says"), [
    ({"tll": 1}, "ttl"), ({"ttl": 0}, "positive"), ({"key": "x:{unknown}"}, "unknown"), ({"tags": "x"}, r"\['x'\]"),
    ({"policy": 7}, "policy is"),
])
def test_what_cannot_be_memoized_is_refused_when_it_is_decorated(options: dict[str, Any], says: str) -> None:
    def load(number: int) -> int:
        return number

    with pytest.raises(ConfigurationError, match=says):
        CacheFence().memoize(**options)(load)


def test_an_application_that_is_gone_is_forgotten() -> None:
    fence = CacheFence()

    @fence.memoize(ttl=60)
    def load() -> int:
        return 1

    def use() -> weakref.ref[Flask]:
        app = made()
        fence.init_app(app)
        app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: "page"))
        with app.app_context():
            load()
        app.test_client().get("/")
        fence.of(app).close()
        return weakref.ref(app)

    gone = use()
    gc.collect()
    assert gone() is None
    assert repr(fence) == "<CacheFence of no application>"


def test_it_is_a_cache_wherever_one_is_asked_for(app: Flask, fence: CacheFence) -> None:
    assert isinstance(fence, cachefence_web.CacheFence)
    with pytest.raises(SerializationError), app.app_context():
        fence.set("key", object())
    with pytest.raises(AttributeError, match="no attribute 'gett'"):
        fence.gett  # noqa: B018


def test_without_flask_the_import_names_the_extra() -> None:
    blocked = "import sys; sys.modules['flask'] = None; import cachefence_web.flask"
    ended = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)
    assert 'pip install "cachefence-web[flask]"' in ended.stderr


