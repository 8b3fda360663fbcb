"""An installation's notification types from their file and from a program to those who are notified, and what the
commands say of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from djactors.app import Server
from djactors.client import Notification, connect
from djactors.config import SettingError, Settings, load_rules
from djactors.domain.events import JobCreated, JobRetitled
from djactors.domain.notification_rules import BUILT_IN_RULES
from djactors.domain.notification_types import NotificationType
from djactors.telemetry import Telemetry, make_logger
from tests.operations.commands import complaint, findings, run
from tests.serving import SECRET, make_token, send_request

PATIENCE = 30
NAMED = "DJACTORS_NOTIFICATION_TYPES_FILE"
RETITLED = NotificationType(
    "retitled", events=("job.retitled",), recipients=("requester",), title="{job} is called {job_title} now"
)
FILE = """
[retitled]
title = "From now on, {job} is called {job_title}"
priority = "LOW"

[job_completed]
enabled = false

[escalated]
events = ["job.rejected"]
recipients = ["manager", "role:admin"]
title = "{actor} rejected {job}"
message = '''"{words}"
\\ {{deadline}}'''
"""

WHOLE = (
    FILE.replace("[retitled]", '[retitled]\nevents = ["job.retitled"]\nrecipients = ["requester"]')
    + """
[news]
events = ["notification.requested"]

[mentioned]
title = "{actor}: @you"
"""
)


def settings(folder: Path, text: str | None = None, **more: Any) -> Settings:
    path = folder / "types.toml"
    if text is not None:
        path.write_text(text)
        more["notification_types_file"] = str(path)
    return Settings(jwt_secret=SECRET, database=str(folder / "inbox.db"), port=0, **more)


async def test_a_type_of_a_program_as_the_installation_words_it_reaches_a_client_and_a_list(tmp_path: Path) -> None:
    log = io.StringIO()
    configured = settings(tmp_path, FILE)
    server = Server(configured, telemetry=Telemetry(make_logger("json", "info", log)), types=[RETITLED])
    token = make_token(tenant_id=1, user_id=3)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with connect(server.url, token) as inbox:
                items = aiter(inbox)
                await anext(items)
                await server.publish(JobCreated(tenant_id=1, job_id=5, title="Roof", requester_id=3))
                await server.publish(JobRetitled(tenant_id=1, job_id=5, title="Attic"))
                while not isinstance(item := await anext(items), Notification):
                    pass
            page = await send_request(server.url, "GET", "/api/notifications?type=retitled", token=token)
            server.request_stop()
    assert (item.type, item.priority, item.title) == ("retitled", "LOW", "From now on, Job 5 is called Attic")
    assert [each["type"] for each in page.json["items"]] == ["retitled"]
    [entry] = [each for each in map(msgspec.json.decode, log.getvalue().splitlines()) if "table" in each]
    assert (entry["event"], entry["table"]) == ("own notification types", server.rules.digest)


def test_a_server_whose_types_are_wrong_is_not_made(tmp_path: Path) -> None:
    wrong = NotificationType("retitled", title="{jobs}")
    with pytest.raises(SettingError, match=r"^types: retitled.title: \{jobs\} does not exist: did you mean \{job\}\?"):
        Server(settings(tmp_path), types=[RETITLED, wrong])
    # The file alone would be wrong, and what is registered makes it right.
    with pytest.raises(SettingError, match=rf"^{NAMED}: {tmp_path}/types.toml: retitled: is no type"):
        Server(settings(tmp_path, FILE))
    assert Server(settings(tmp_path, FILE), types=[RETITLED]).rules.digest != BUILT_IN_RULES.digest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, " cannot be read: No such file or directory: check the path and the rights"),
        (b"\xff\xfe", " is not UTF-8: save it as that"),
        (b"[job_assigned\n", " is not TOML: "),
        (b"[job_assigned]\n[job_assigned]\n", " is not TOML: "),
        (b"[x]\ntitle = " + b"9" * 5000, " is not TOML: "),
        (b"a = " + b"[" * 5000, " is not TOML: "),
        (b"[job_assigned]\ntitel = 1\n", ": job_assigned: titel does not exist: did you mean title? There are "),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "types.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError) as caught:
        load_rules(Settings(notification_types_file=str(path)))
    assert str(caught.value).startswith(f"{NAMED}: {path}{said}")
    assert "\n" not in str(caught.value)


def test_the_table_is_printed_in_the_form_of_the_file(own_folder: Path) -> None:
    plain = run("types")
    assert plain.exit_code == 0
    assert f"# Table {BUILT_IN_RULES.digest}. " in plain.stdout
    assert plain.stdout.count("# comes with djactors\n") == len(BUILT_IN_RULES.types)
    (own_folder / "mine.toml").write_text(WHOLE)
    mine = run("types", environment={NAMED: "mine.toml"})
    assert "# your own\n[retitled]" in mine.stdout
    assert "# switched off\n[job_completed]" in mine.stdout
    assert "# your own, in the words of the backend that posts notification.requested\n[news]" in mine.stdout
    assert "# comes with djactors, and is changed here\n[mentioned]" in mine.stdout
    (own_folder / "again.toml").write_text(mine.stdout)
    assert run("types", environment={NAMED: "again.toml"}).stdout == mine.stdout


def test_check_looks_at_the_types_and_every_command_that_needs_them_refuses_wrong_ones(own_folder: Path) -> None:
    assert run("migrate").exit_code == 0
    right = run("check")
    assert f"ok   notification types (table {BUILT_IN_RULES.digest})\n" in right.stdout
    (own_folder / "mine.toml").write_text("[job_asigned]\nenabled = false")
    environment = {NAMED: "mine.toml"}
    said = f"{NAMED}: mine.toml: job_asigned: is no type that djactors has: did you mean job_assigned? "
    assert findings(run("check", environment=environment))["notification types"].startswith(said)
    assert complaint(run("types", environment=environment)).startswith(f"djactors: {said}")
    erase = run("erase", "--tenant", "1", "--user", "7", "--yes", environment=environment)
    assert complaint(erase).startswith(f"djactors: {said}")
    assert complaint(run("serve", environment=environment)).startswith(f"djactors: {said}")
