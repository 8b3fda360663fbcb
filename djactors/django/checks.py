"""What Django's system checks say of the settings."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's own name
from django.db import connections, router

from djactors.django.client import NAMES, WrongSettingError, server_url, service_token, ssl_context


def check_settings(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Find settings that are missing, wrong, or misspelt."""
    found: list[CheckMessage] = [
        Warning(f"{name} is no setting of djactors.", hint=_hint(name), id="djactors.W001")
        for name in dir(settings)
        if name.startswith("DJACTORS_") and name not in NAMES
    ]
    for check in (server_url, service_token, ssl_context):
        try:
            check()
        except WrongSettingError as error:
            found.append(Error(str(error), id="djactors.E001"))
    return found


def check_database(app_configs: object, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of a database on which nobody has tried this."""
    from djactors.django.models import OutboxEvent

    alias = router.db_for_write(OutboxEvent)
    vendor = connections[alias].vendor
    if alias not in (databases or ()) or vendor in ("sqlite", "postgresql"):
        return []
    return [
        Warning(
            f"The outbox is in the database {alias!r}, which is {vendor}.",
            hint="It is tested on SQLite and PostgreSQL. On others nothing keeps two runners apart: run one.",
            id="djactors.W002",
        )
    ]


def _hint(name: str) -> str:
    return f"The nearest one is {difflib.get_close_matches(name, NAMES, 1, cutoff=0.0)[0]}: correct it or remove it."
