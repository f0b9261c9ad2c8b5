"""The two faces are one: the same names and parameters; and importing either loads neither a framework nor redis."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from cachefence_web import AsyncCacheFence, CacheFence

OTHER_NAMES = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__", "aio": "sync"}


def public(face: type) -> dict[str, object]:
    """What a face offers."""
    return {name: member for name, member in inspect.getmembers(face)
            if not name.startswith("_") or name in {"__enter__", "__exit__", "__aenter__", "__aexit__"}}


def test_both_faces_have_the_same_names() -> None:
    assert {OTHER_NAMES.get(name, name) for name in public(CacheFence)} == set(public(AsyncCacheFence))


@pytest.mark.parametrize("name", [name for name, member in public(CacheFence).items() if inspect.isfunction(member)])
def test_both_faces_take_the_same_parameters(name: str) -> None:
    threads = inspect.signature(getattr(CacheFence, name))
    tasks = inspect.signature(getattr(AsyncCacheFence, OTHER_NAMES.get(name, name)))
    assert [(one.name, one.kind, one.default) for one in threads.parameters.values()] == [
        (one.name, one.kind, one.default) for one in tasks.parameters.values()]


@pytest.mark.parametrize("name", [name for name, member in public(CacheFence).items() if inspect.isfunction(member)])
def test_each_face_says_of_itself_what_it_is(name: str) -> None:
    assert (getattr(CacheFence, name).__doc__ or name.startswith("__")), f"{name} has no docstring"


def test_options_beyond_the_key_are_keywords_only() -> None:
    for name in ("get_or_set", "get_or_set_many", "set", "set_many", "add", "touch", "begin", "peek"):
        for one in inspect.signature(getattr(CacheFence, name)).parameters.values():
            assert one.kind is not one.POSITIONAL_OR_KEYWORD or one.default is one.empty, (name, one)


@pytest.mark.parametrize("module", [
    "cachefence_web", "cachefence_web.cache", "cachefence_web.asking", "cachefence_web.memoizing",
    "cachefence_web.runtime.sync", "cachefence_web.runtime.aio", "cachefence_web.responding",
    "cachefence_web.serializers", "cachefence_web.stores.memory", "cachefence_web.http", "cachefence_web.core.plans",
])
def test_importing_it_loads_no_framework_and_no_redis(module: str) -> None:
    heavy = ["redis", "hiredis", "django", "flask", "werkzeug", "starlette", "fastapi", "pydantic", "sqlalchemy",
             "typer", "rich", "anyio", "uvicorn", "fakeredis"]
    program = (f"import sys, {module}\n"
               "from cachefence_web import CacheFence\n"
               "CacheFence().get_or_set('a', lambda: 1)\n"
               f"print([name for name in {heavy} if name in sys.modules])")
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
