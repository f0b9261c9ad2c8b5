"""The application that uvicorn serves."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# As in wsgi.py; WhiteNoise's middleware is synchronous, and would send each asynchronous view through a thread.
application = ASGIStaticFilesHandler(get_asgi_application())
