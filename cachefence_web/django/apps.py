"""What INSTALLED_APPS takes. Without it the backend and the decorators work too, but nothing follows the databases."""

from django.apps import AppConfig


class CacheFenceConfig(AppConfig):
    """The app: its label keeps clear of `django`."""

    name = "cachefence_web.django"
    label = "cachefence"
    verbose_name = "Cachefence"

    def ready(self) -> None:
        """Register the system checks, note when requests begin, and follow what the databases are asked."""
        from cachefence_web.django.checks import register_checks
        from cachefence_web.django.dating import watch_requests
        from cachefence_web.django.door import follow_databases

        follow_databases()
        register_checks()
        watch_requests()
