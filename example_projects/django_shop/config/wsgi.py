"""The application that gunicorn serves."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Static files, the admin's too, straight from their packages: nothing to install, to collect or to configure. A real
# site leaves them to the web server in front.
application = StaticFilesHandler(get_wsgi_application())
