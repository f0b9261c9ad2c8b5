"""The site as gunicorn serves it: `tests.histories.served:application`, told of its place by the environment."""

from __future__ import annotations

import os

from tests.histories.meddling import meddle
from tests.histories.place import set_up, told

set_up(told())
meddle(told(), f"served {os.getpid()}")

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402 (models need settings)

application = WSGIHandler()
