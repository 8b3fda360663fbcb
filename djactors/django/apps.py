"""The app, as `INSTALLED_APPS` names it."""

from django.apps import AppConfig
from django.core import checks


class DjactorsConfig(AppConfig):
    """Its label is `djactors`, because `django` would be what the last part of its name says."""

    name = "djactors.django"
    label = "djactors"
    verbose_name = "djactors"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have the settings checked with everything else that Django checks."""
        from djactors.django.checks import check_database, check_settings

        checks.register(check_settings)
        checks.register(check_database, checks.Tags.database)
