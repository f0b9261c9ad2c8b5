"""Which of Django's tests are run against this backend, told by the names of their classes; none is written here.

A program of its own, since Django's tests are set up with settings of theirs: `python -m tests.django_cache.suites
REPORT`, in the folder of Django's tests. The report is JSON: for each suite the tests that passed, failed and were
skipped, by their names.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import unittest
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

BACKEND = "cachefence_web.django.RedisCache"
SLOW = "tests.django_cache.slow.Slow"
NAMESPACE = f"djangos.{os.getpid()}"

CONTRACT = "contract"
ASYNC = "contract, awaited"
MIDDLEWARE = "middleware"
SESSIONS = "sessions and the cache tag"

CLASSES: dict[str, list[tuple[str, str]]] = {
    MIDDLEWARE: [("cache.tests", name) for name in (
        "CacheMiddlewareTest", "TestWithTemplateResponse", "CacheUtils", "PrefixedCacheUtils", "CacheHEADTest",
        "CacheI18nTest", "PrefixedCacheI18nTest")],
    SESSIONS: [
        ("sessions_tests.tests", "CacheSessionTests"),
        ("sessions_tests.tests", "CacheDBSessionTests"),
        ("template_tests.syntax_tests.test_cache", "CacheTagTests"),
        ("template_tests.syntax_tests.test_cache", "CacheTests"),
    ],
}


class Awaited:
    """A cache whose methods are the asynchronous ones, called as Django's tests call those of the other colour."""

    def __init__(self, alias: str = "default") -> None:
        vars(self)["alias"] = alias

    def __getattr__(self, name: str) -> Any:
        from asgiref.sync import async_to_sync
        from django.core.cache import caches

        awaited = getattr(caches[self.alias], f"a{name}", None)
        return getattr(caches[self.alias], name) if awaited is None else async_to_sync(awaited)

    def __setattr__(self, name: str, value: Any) -> None:
        from django.core.cache import caches

        setattr(caches[self.alias], name, value)

    def __contains__(self, key: Any) -> bool:
        return bool(self.has_key(key))


class AwaitedCaches:
    """As `caches`, of such caches."""

    def __getitem__(self, alias: str) -> Awaited:
        from django.core.cache import caches

        assert caches[alias] is not None  # what is not in the settings is refused here, as its tests expect
        return Awaited(alias)


def ours(
    name: str, number: int, setting: Mapping[str, Any], *, shared: bool, backend: str = BACKEND
) -> dict[str, Any]:
    """An entry of CACHES, of this backend: the keys are shared where they were on one server in Django's tests."""
    # A busy machine is no outage.
    options = {"namespace": NAMESPACE if shared else f"{NAMESPACE}.{number}.{name}", "timeout": 30.0}
    return {**setting, "BACKEND": backend, "LOCATION": os.environ["CACHE_URL"], "OPTIONS": options}


def contract(*, awaited: bool) -> unittest.TestSuite:
    """BaseCacheTests; two of its aliases are of caches that throw the superfluous out, which Redis does by itself."""
    from django.test import TestCase, override_settings

    module: Any = importlib.import_module("cache.tests")
    settings = module.caches_setting_for_tests(exclude={"cull", "zero_cull"})
    entries = {alias: ours(alias, 0, setting, shared=True) for alias, setting in settings.items()}

    def set_up(test: TestCase) -> None:
        if awaited:
            for name, stand_in in (("cache", Awaited()), ("caches", AwaitedCaches())):
                test.addCleanup(setattr, module, name, getattr(module, name))
                setattr(module, name, stand_in)

    kind = type("Contract", (module.BaseCacheTests, TestCase), {"setUp": set_up})
    tests = _loaded(override_settings(CACHES=entries)(kind))
    # Those that await the asynchronous methods themselves have done so in the other run.
    return unittest.TestSuite(test for test in _flat(tests) if not awaited or "_async_" not in test.id())


def suite_of(classes: Iterable[tuple[str, str]], backend: str) -> unittest.TestSuite:
    """Django's own classes, each alias of theirs on this backend."""
    from django.conf import settings
    from django.test import override_settings

    suite = unittest.TestSuite()
    for number, (module, name) in enumerate(classes):
        kind: Any = getattr(importlib.import_module(module), name)
        setting = (getattr(kind, "_overridden_settings", None) or {}).get("CACHES", settings.CACHES)
        entries = {alias: ours(alias, number, entry, shared=False, backend=backend) for alias, entry in setting.items()}
        suite.addTests(_loaded(override_settings(CACHES=entries)(type(name, (kind,), {"__module__": module}))))
    return suite


def _loaded(kind: Any) -> unittest.TestSuite:
    return unittest.defaultTestLoader.loadTestsFromTestCase(kind)


def run(suite: unittest.TestSuite) -> dict[str, Any]:
    """What became of each test."""
    names = [test.id().rpartition(".")[2] for test in _flat(suite)]
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=1).run(suite)
    failed = {test.id().split(" ")[0].rpartition(".")[2]: trace for test, trace in [*result.failures, *result.errors]}
    skipped = {test.id().rpartition(".")[2]: why for test, why in result.skipped}
    return {"ran": len(names), "failed": failed, "skipped": skipped}


def _flat(suite: unittest.TestSuite) -> Iterable[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def main(report: Path) -> None:
    """Run them all."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_cache.site"
    sys.path.insert(0, str(Path.cwd()))
    import django
    from django.conf import settings
    from django.test.utils import get_runner, setup_test_environment

    django.setup()
    setup_test_environment()
    runner = get_runner(settings)(verbosity=0)
    databases = runner.setup_databases()
    found = {CONTRACT: run(contract(awaited=False)), ASYNC: run(contract(awaited=True))}
    from tests.django_cache.slow import slowly

    with slowly():
        found[MIDDLEWARE] = run(suite_of(CLASSES[MIDDLEWARE], SLOW))
    found[SESSIONS] = run(suite_of(CLASSES[SESSIONS], BACKEND))
    runner.teardown_databases(databases)
    report.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
