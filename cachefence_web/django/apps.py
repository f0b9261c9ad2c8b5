"""What INSTALLED_APPS takes; the backend and the decorators work without it too."""

from django.apps import AppConfig


class CacheFenceConfig(AppConfig):
    """The app: its label keeps clear of `django`."""

    name = "cachefence_web.django"
    label = "cachefence"
    verbose_name = "Cachefence"
