"""Run by itself with its Redis away: changes a book, and is killed behind the COMMIT. `DATABASE CACHE`, as JSON."""

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

from cachefence_web.following import Committing  # noqa: E402
from tests.django_following.shop.models import Book  # noqa: E402


def dying(self: Any, outcome: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


Committing.after = dying  # type: ignore[method-assign]
with transaction.atomic():
    Book.objects.filter(pk=1).update(title="from the grave")
