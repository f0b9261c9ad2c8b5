"""P4: a writer that is killed exactly between its COMMIT and the lift is outlived by its fence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client

from tests.django_following.conftest import LONG
from tests.django_following.shop.models import Book
from tests.django_following.test_matrix import shown

PATIENCE = 60.0
"""Seconds after which what should have come has not."""

LIFE = 4.0
"""Seconds of a fence's life, within which the writer has to have committed."""


def test_p4_after_the_deadline_the_page_is_right(
    vendor: str, places: Any, on_redis: str, settings: Any, namespace: str, client: Client
) -> None:
    cache = {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": on_redis,
             "OPTIONS": {"namespace": namespace, "fence_life": LIFE, "timeout": LONG}}
    settings.CACHES = {"default": cache}
    shown(client, "pk")
    assert shown(client, "pk") == ("'One/1'", True)

    done = subprocess.run(
        [sys.executable, "-m", "tests.django_following.dying", json.dumps(places[vendor]), json.dumps(cache)],
        cwd=Path(__file__).parents[2], capture_output=True, timeout=60, check=False)

    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert Book.objects.get(pk=1).title == "from the grave"
    connection.close()
    until = time.monotonic() + PATIENCE
    while (page := shown(client, "pk")[0]) != "'from the grave/1'":
        assert page == "'One/1'"
        assert time.monotonic() < until
        time.sleep(0.02)
