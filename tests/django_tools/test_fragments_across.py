"""A fragment that several processes ask for at once is rendered by one of them."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import redis

ROOT = Path(__file__).parents[2]
PROCESSES, THREADS = 2, 6

# The one that renders goes on when all have asked, so whoever were to render as well would be counted. A busy machine
# is no outage, during which everybody would.
ASK = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
import django, redis
from django.conf import settings
url, namespace, name, everybody, threads = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
settings.configure(
    SECRET_KEY="a secret for the tests", INSTALLED_APPS=["cachefence_web.django"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    CACHES={"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": url,
                        "OPTIONS": {"namespace": namespace, "timeout": 30}}})
django.setup()
from django.core.signals import request_finished, request_started
from django.template import Context, Template
client = redis.Redis.from_url(url)
show = Template("{% load cachefence %}{% cachefence 60 one %}{{ slow }}{% endcachefence %}").render

def slow():
    client.incr(name + ":rendered")
    give_up = time.monotonic() + 30
    while int(client.get(name + ":asked")) < everybody:
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return "page"

def ask(_):
    request_started.send(None, environ={})
    client.incr(name + ":asked")
    try:
        return show(Context({"slow": slow}))
    finally:
        request_finished.send(None)

sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
with ThreadPoolExecutor(threads) as pool:
    assert list(pool.map(ask, range(threads))) == ["page"] * threads
"""


def test_p1_processes_and_threads_that_have_just_begun_render_a_fragment_once(redis_url: str, namespace: str) -> None:
    name = f"test-{uuid.uuid4().hex}"
    words = [redis_url, namespace, name, str(PROCESSES * THREADS), str(THREADS)]
    with ExitStack() as held, redis.Redis.from_url(redis_url) as client:
        held.callback(client.delete, f"{name}:asked", f"{name}:rendered")
        asking = [held.enter_context(subprocess.Popen(
            [sys.executable, "-c", ASK, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)})) for _ in range(PROCESSES)]
        for each in asking:
            held.callback(each.kill)
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for each in asking:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        assert [each.wait(60) for each in asking] == [0] * PROCESSES
        assert client.get(f"{name}:rendered") == b"1"
