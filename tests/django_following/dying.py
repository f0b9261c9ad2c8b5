"""Run by itself: changes a book, and is killed between the COMMIT and the lift. `dying.py DATABASE CACHE`, as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import django
from django.conf import settings

DATABASE, CACHE = [json.loads(argument) for argument in sys.argv[1:]]
settings.configure(
    DATABASES={"default": DATABASE}, CACHES={"default": CACHE}, SECRET_KEY="not a secret: the tests sign with it",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["cachefence_web.django", "tests.django_following.shop"])
django.setup()

from django.db import transaction  # noqa: E402

from cachefence_web.core.effects import Lift  # noqa: E402
from cachefence_web.django import fence  # noqa: E402
from cachefence_web.django.alias import store_of  # noqa: E402
from tests.django_following.shop.models import Book  # noqa: E402

kind: Any = type(store_of(fence()))
perform = kind.perform


def dying(self: Any, effect: Any) -> Any:
    if isinstance(effect, Lift):
        os.kill(os.getpid(), signal.SIGKILL)
    return perform(self, effect)


kind.perform = dying
with transaction.atomic():
    Book.objects.filter(pk=1).update(title="from the grave")
