"""The application that gunicorn serves."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# A real site leaves its static files to the web server in front; the example must do without one.
application = StaticFilesHandler(get_wsgi_application())
