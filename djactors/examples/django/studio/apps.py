"""The application."""

from django.apps import AppConfig


class StudioConfig(AppConfig):
    """Connects the signals once the models are there."""

    name = "studio"

    def ready(self) -> None:
        """Import the receivers, which connects them."""
        from studio import signals  # noqa: F401
