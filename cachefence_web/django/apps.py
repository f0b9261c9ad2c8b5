"""What INSTALLED_APPS takes; the backend and the decorators work without it too."""

from django.apps import AppConfig


class CacheFenceConfig(AppConfig):
    """The app: its label keeps clear of `django`."""

    name = "cachefence_web.django"
    label = "cachefence"
    verbose_name = "Cachefence"

    def ready(self) -> None:
        """Register the system checks, and note when requests begin."""
        from cachefence_web.django.checks import register_checks
        from cachefence_web.django.dating import watch_requests

        register_checks()
        watch_requests()
