"""`publish` is part of the transaction around it, the command delivers, and wrong settings are found."""

from __future__ import annotations

import io
import os
import re
import signal
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin import AdminSite
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.test import override_settings

from djactors.client import ApiError
from djactors.django import publish
from djactors.django.admin import OutboxEventAdmin
from djactors.django.models import OutboxEvent
from djactors.domain.events import DomainEvent, NotificationRequested
from djactors.outbox import Outbox, OutboxError
from tests.outbox.recording import LOST, Server
from tests.serving import SECRET, make_token, serving

README = Path(__file__).parent.parent.parent / "README.md"


def event(title: str, **more: Any) -> DomainEvent:
    return NotificationRequested(tenant_id=1, user_id=2, notification_type="news", priority="LOW", title=title, **more)


def command(*arguments: str) -> str:
    output = io.StringIO()
    call_command("djactors_outbox", *arguments, stdout=output, skip_checks=True)
    return output.getvalue()


class RollBack(Exception):
    pass


def test_an_event_is_part_of_the_transaction_around_it(using: str, server: Server) -> None:
    with suppress(RollBack), transaction.atomic():
        publish(event("rolled back"))
        raise RollBack
    with transaction.atomic():
        publish(event("a"))
        with suppress(RollBack), transaction.atomic():
            publish(event("to a savepoint"))
            raise RollBack
        assert publish(event("b", id="mine"), using=using) == "mine"
    publish(event("without a transaction"))
    assert command("--once") == "sent: 3, held: 0\n"
    assert server.titles == ["a", "b", "without a transaction"]
    assert not OutboxEvent.objects.exists()


def test_a_wrong_event_is_refused_before_it_is_written(using: str) -> None:
    with transaction.atomic():
        with pytest.raises(ApiError, match="title"):
            publish(event(""))
        publish(event("the transaction is still good"))
    assert OutboxEvent.objects.count() == 1


def test_the_table_is_the_one_that_every_outbox_knows(using: str, server: Server) -> None:
    outbox = Outbox()
    outbox.create(connections[using])
    with transaction.atomic():
        outbox.add(connections[using], event("by a connection"))
        with connections[using].cursor() as cursor:
            outbox.add(cursor, event("by a cursor"))
    with pytest.raises(OutboxError, match="autocommit mode and in no transaction"):
        outbox.add(connections[using], event("alone"))
    assert outbox.waiting(connections[using]).count == 2
    with closing(connections.create_connection(using)) as own:
        if connections[using].vendor == "postgresql":
            own.ensure_connection()
            with pytest.raises(OutboxError, match="is in autocommit mode: give one that is not"):
                outbox.deliver(own, server)
            own.set_autocommit(False)
        outbox.deliver(own, server)
    assert server.titles == ["by a connection", "by a cursor"]


def test_the_command_shows_and_releases_what_is_held(using: str, server: Server) -> None:
    publish(event("bad", id="poison"))
    publish(event("good"))
    server.outcomes["poison"] = ApiError("not_found", "no such job")
    assert command("--once") == "sent: 1, held: 1\n"
    shown = command("--held").splitlines()
    assert shown[:2] == ["waiting: 0", "held: 1"]
    assert "not_found: no such job" in shown[2]
    server.outcomes.clear()
    assert command("--release", "--once") == "1 events will be sent again\nsent: 1, held: 0\n"


def test_the_command_delivers_until_sigterm(using: str, server: Server) -> None:
    publish(event("a"))
    server.after = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert "1 events wait" in command("--every", "0.01")
    assert server.titles == ["a"]


def test_the_command_says_what_is_wrong(using: str, server: Server) -> None:
    publish(event("a"))

    def fail() -> None:
        raise LOST

    server.before = fail
    with pytest.raises(CommandError, match="the rest waits: the answer was lost"):
        command("--once")
    with pytest.raises(CommandError, match="--using: 'other' is no database"):
        command("--using", "other")
    with pytest.raises(CommandError, match="--every: must be above 0"):
        command("--every", "0")
    call_command("migrate", "djactors", "zero", verbosity=0, skip_checks=True)
    with pytest.raises(CommandError, match="is `migrate` done"):
        command("--once")


def test_the_migrations_are_those_of_the_model() -> None:
    loader = MigrationLoader(None)
    changes = MigrationAutodetector(loader.project_state(), ProjectState.from_apps(apps)).changes(
        graph=loader.graph, trim_to_apps={"djactors"}
    )
    assert changes == {}


def complaints(**changed: Any) -> list[str]:
    with override_settings(**changed):
        return [f"{found.id} {found.msg} {found.hint}" for found in run_checks() if "djactors" in str(found.id)]


def a_token() -> str:
    return "a.b.c"


def test_good_settings_pass_the_checks(using: str) -> None:
    assert complaints() == []
    for token in ("eyJhbGciOi.eyJ0ZW5hbnQ.c2ln", a_token, f"{__name__}.a_token"):
        assert complaints(DJACTORS_JWT_SECRET=None, DJACTORS_TOKEN=token) == []
    assert complaints(DJACTORS_TENANT_ID=5) == []


@pytest.mark.parametrize("variables", [{"DJACTORS_TOKEN": "eyJhbGciOi.e30.c2ln"}, {"JWT_SECRET": SECRET}])
def test_what_the_settings_do_not_say_is_taken_from_the_environment(
    using: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.delenv("JWT_SECRET", raising=False)
    for name, value in {"DJACTORS_URL": "http://127.0.0.1:3000", **variables}.items():
        monkeypatch.setenv(name, value)
    assert complaints(DJACTORS_URL=None, DJACTORS_JWT_SECRET=None) == []
    # The settings go first, also where only one of the two is theirs.
    assert complaints() == []
    assert "E001 DJACTORS_JWT_SECRET" in complaints(DJACTORS_JWT_SECRET="short")[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"DJACTORS_URL": None}, "E001 DJACTORS_URL: is not set: write it like http"),
        ({"DJACTORS_URL": "notify.test"}, "E001 DJACTORS_URL: 'notify.test' is no address of a server"),
        ({"DJACTORS_URL": "http://a:99999"}, "E001 DJACTORS_URL: 'http://a:99999' is no address of a server"),
        ({"DJACTORS_JWT_SECRET": ""}, "E001 DJACTORS_TOKEN: is not set: write a service's token"),
        ({"DJACTORS_JWT_SECRET": "short"}, "E001 DJACTORS_JWT_SECRET: must have at least 32 bytes"),
        ({"DJACTORS_TOKEN": "a.b"}, "E001 DJACTORS_TOKEN: is set, and so is DJACTORS_JWT_SECRET"),
        ({"DJACTORS_TOKEN": "a.b", "DJACTORS_JWT_SECRET": ""}, "E001 DJACTORS_TOKEN: No module named 'a'"),
        ({"DJACTORS_TENANT_ID": "1"}, "E001 DJACTORS_TENANT_ID: '1' is no id of a tenant"),
        ({"DJACTORS_CA_FILE": "/none.pem"}, "E001 DJACTORS_CA_FILE: /none.pem cannot be read"),
        ({"DJACTORS_URI": "http://a"}, "W001 DJACTORS_URI is no setting of djactors. The nearest one is DJACTORS_URL"),
    ],
)
def test_a_wrong_setting_is_named_with_its_mend(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], said: str
) -> None:
    for name in ("DJACTORS_URL", "DJACTORS_TOKEN", "JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    [complaint] = complaints(**changed)
    assert said in complaint
    assert "short" not in complaint
    if "E001" in said:
        with override_settings(**changed), pytest.raises(CommandError, match="DJACTORS_"):
            command("--once")


def test_a_wrong_proxy_is_named_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://u:secret@a:1")
    with (
        override_settings(DJACTORS_URL="http://notify.test"),
        pytest.raises(CommandError, match=r"^ALL_PROXY: ") as told,
    ):
        command("--once")
    assert "secret" not in str(told.value)


def test_the_admin_releases_what_is_held_and_changes_nothing_else(
    using: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(event("bad", id="poison"))
    server.outcomes["poison"] = ApiError("invalid", "no")
    command("--once")
    told: list[str] = []
    page = OutboxEventAdmin(OutboxEvent, AdminSite())
    monkeypatch.setattr(page, "message_user", lambda request, message: told.append(message))
    assert not page.has_add_permission(None)
    assert not page.has_change_permission(None)
    page.release(None, OutboxEvent.objects.all())
    assert told == ["1 events will be sent again."]
    assert str(OutboxEvent.objects.get()) == "poison"


@pytest.mark.parametrize("using", ["sqlite"], indirect=True)
async def test_the_guide_of_the_readme_runs_as_written(tmp_path: Path, using: str) -> None:
    configuration, program = re.findall(r"^```py\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)[:2]
    async with serving(tmp_path) as running:
        variables: dict[str, Any] = {"INSTALLED_APPS": []}
        os.environ["JWT_SECRET"] = SECRET
        try:
            exec("import os\n" + configuration, variables)
        finally:
            del os.environ["JWT_SECRET"]
        assert variables["INSTALLED_APPS"] == ["djactors.django"]
        changed = {name: value for name, value in variables.items() if name.startswith("DJACTORS_")}
        with override_settings(**{**changed, "DJACTORS_URL": running.url}):
            given: dict[str, Any] = {}
            exec(program, given)
            assert command("--once") == "sent: 1, held: 0\n"
        token = make_token(tenant_id=1, user_id=2)
        answer = await running.request("GET", "/api/notifications/unread-count", token=token)
    assert answer.json["count"] == 1
