"""A Django project in this process. Django is set up once, so its settings are those of the first test for ever, and
only what a test overrides is the test's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict

from tests.outbox.recording import Server
from tests.serving import SECRET

if not settings.configured:
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "djactors.django",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
        DJACTORS_URL="http://127.0.0.1:1",
        DJACTORS_JWT_SECRET=SECRET,
    )
    django.setup()


@pytest.fixture(params=["sqlite", "postgresql"])
def using(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The alias of a database that has the table."""
    if request.param == "sqlite":
        place: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "app.db")}
    else:
        parts = conninfo_to_dict(request.getfixturevalue("postgres_url"))
        place = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts["dbname"],
            "USER": parts["user"],
            "HOST": parts["host"],
            "OPTIONS": {"options": parts["options"]},
        }
    alias = "default"
    before = connections.databases[alias]
    connections[alias].close()
    del connections[alias]
    connections.databases[alias] = connections.configure_settings({alias: place})[alias]
    try:
        call_command("migrate", "djactors", verbosity=0, skip_checks=True)
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        connections.databases[alias] = before


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """What the command sends to."""
    made = Server()
    monkeypatch.setattr("djactors.django.management.commands.djactors_outbox.client_of_settings", lambda stop: made)
    return made


@pytest.fixture
def set_to() -> Any:
    """Overrides settings for a part of a test."""
    return override_settings
