"""`djactors erase` and the export of a person: through a server and without one, and down to the bytes of the files."""

from __future__ import annotations

import functools
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import Result

from djactors.domain.commands import MarkRead, MarkUnread, MuteJob, Publish
from djactors.domain.events import (
    CommentAdded,
    JobCreated,
    JobRejected,
    JobSubmitted,
    NotificationRequested,
    UserUpserted,
)
from djactors.domain.permissions import Person
from djactors.inbox import person
from djactors.store.engines import Place
from djactors.store.sqlite.integrity import damage
from djactors.store.sqlite.lock import DatabaseLock
from tests.engines import open_connection
from tests.inbox.desk import Desk
from tests.operations.commands import complaint, run
from tests.serving import make_token, serving

pytestmark = pytest.mark.usefixtures("own_folder")

T, ANN, BO = 1, 7, 8
WHO = ("--tenant", "1", "--user", "7")
NAME = "Annabel Verschwunden"
WORDS = "these words were mine"
TRACES = (NAME, NAME.casefold(), NAME.split()[1].casefold(), WORDS, "reason of mine", "key-of-ann", "told to her alone")
"""What must not be found any more: names, folded ones, texts, keys."""


def fill(place: Place) -> None:
    """A house in which Ann was for a while, with so much else that pages were split and emptied."""
    with open_connection(place) as connection:
        desk = Desk(connection)
        # So that nothing has expired when a server looks.
        desk.now = datetime.now(UTC)
        for user_id, name in ((ANN, "Annabel Verschwunden-Früher"), (BO, "Bo"), (ANN, NAME)):
            desk.publish(UserUpserted(tenant_id=T, user_id=user_id, name=name, role="manager"))
        made = JobCreated(
            tenant_id=T,
            job_id=6,
            dj_id="DJ-6",
            title=f"Desk of {NAME}",
            requester_id=ANN,
            assignee_id=BO,
            approver_id=ANN,
        )
        desk.do(Publish(made, "key-of-ann", Person(ANN, "manager"), with_job=True))
        desk.publish(JobSubmitted(tenant_id=T, job_id=6, actor_id=BO))
        desk.publish(JobRejected(tenant_id=T, job_id=6, actor_id=ANN, reason="reason of mine"))
        first = 0
        for number in range(150):
            text = f"{WORDS} {number} " + "x" * (number * 7 % 400)
            desk.publish(CommentAdded(tenant_id=T, job_id=6, actor_id=ANN, text=text, mentions=(BO,)), f"c{number}")
            note = NotificationRequested(
                tenant_id=T,
                user_id=ANN if number % 2 else BO,
                notification_type="note",
                priority="CRITICAL",
                title=f"told to her alone {number}" if number % 2 else f"{NAME} did {number}",
                data={"by": NAME},
            )
            told = desk.publish(note)["notifications"]
            first = first or (told[0]["id"] if number % 2 else 0)
        desk.publish(CommentAdded(tenant_id=T, job_id=6, actor_id=BO, text=f"@{NAME}, please", mentions=(ANN,)))
        desk.do(MuteJob(T, ANN, 6))
        desk.record(MarkRead(T, ANN, first), MarkUnread(T, ANN, first))


def found_in(folder: Path, database: str = "inbox.db") -> list[tuple[str, str]]:
    """Which traces are in the bytes of which files of a database: itself, its log, whatever lies beside it."""
    return [
        (path.name, trace)
        for path in sorted(folder.glob(f"{database}*"))
        for trace in TRACES
        if trace.lower().encode() in path.read_bytes().lower()
    ]


@pytest.fixture
def filled(place: Place) -> Place:
    fill(place)
    return place


def refusal(result: Result) -> str:
    """Why a command that tells its progress was refused."""
    assert result.exit_code == 1, result.output
    return result.stderr.splitlines()[-1]


def receipt_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def test_on_either_engine_the_receipt_says_what_was_done(filled: Place, own_folder: Path) -> None:
    where = ("--database", str(filled))
    done = run("erase", *WHO, *where, "--yes", "--backups-kept", "30", "--receipt", "receipt.json", secret=None)
    receipt = receipt_of(done)
    assert json.loads(Path("receipt.json").read_text()) == receipt
    assert receipt.keys() == {
        *("tenantId", "userId", "erasedAt", "place", "erased", "overwritten", "remains", "notes"),
    }
    assert (receipt["tenantId"], receipt["userId"]) == (T, ANN)
    assert receipt["erased"]["job_comments"] == 151
    assert receipt["erased"]["users"] == 1
    assert receipt["overwritten"] is not isinstance(filled, str)
    assert "by 20" in receipt["notes"][0]
    assert "kept for 30 days" in receipt["notes"][0]
    assert ("VACUUM FULL" in receipt["notes"][-1]) is isinstance(filled, str)
    assert all(trace not in done.output for trace in TRACES)
    with open_connection(filled) as connection:
        texts = [text for (text,) in connection.execute("SELECT text FROM job_comments").fetchall()]
    assert set(texts) == {"[erased]", "@Erased user 7, please"}
    assert "--receipt: receipt.json exists already" in complaint(
        run("erase", *WHO, *where, "--yes", "--receipt", "receipt.json")
    )
    assert "has no user 99" in complaint(run("erase", "--tenant", "1", "--user", "99", *where, "--yes"))


def test_nothing_is_left_in_the_bytes_of_the_file(sqlite_file: Path) -> None:
    fill(sqlite_file)
    folder = sqlite_file.parent
    assert {trace for _, trace in found_in(folder)} == set(TRACES)
    receipt = receipt_of(run("erase", *WHO, "--database", str(sqlite_file), "--yes"))
    assert receipt["overwritten"] is True
    assert found_in(folder) == []
    with closing(sqlite3.connect(sqlite_file)) as connection:
        assert damage(connection, "integrity_check", 10_000) is None
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


async def test_nor_while_a_server_has_it_open(own_folder: Path) -> None:
    async with serving(own_folder) as server:
        assert await server.stop() == 0
    database = server.database
    fill(database)
    async with serving(own_folder) as server:
        other = make_token(tenant_id=T, user_id=BO)
        assert (await server.request("GET", "/api/notifications", token=other)).status == 200
        held = complaint(await command("erase", *WHO, "--database", str(database), "--yes"))
        assert held.endswith("or erase through the server with --url")
        assert {trace for _, trace in found_in(database.parent, database.name)} >= set(TRACES) - {"told to her alone"}
        kept = receipt_of(await command("erase", *WHO, "--url", server.url, "--yes", "--no-overwrite"))
        assert kept["overwritten"] is False
        assert "without --no-overwrite" in kept["notes"][-1]
        receipt = receipt_of(await command("erase", *WHO, "--url", server.url, "--yes"))
        assert receipt["overwritten"] is True
        assert receipt["place"] == server.url
        assert found_in(database.parent, database.name) == []
        # It goes on as before, and nobody else was disturbed for long.
        page = await server.request("GET", "/api/notifications?limit=100", token=other)
        assert "Erased user 7 did 148" in {item["title"] for item in page.json["items"]}
        told = {**NOTE, "tenantId": T, "userId": BO}
        assert (await server.publish(told)).status == 201
        nobody = ("--tenant", str(T), "--user", "999999")
        said = complaint(await command("erase", *nobody, "--url", server.url, "--yes"))
        assert said.startswith(f"djactors: --user: there is no user 999999 of tenant {T}")
        wrong = {"DJACTORS_TOKEN": make_token(tenant_id=T, user_id=BO)}
        said = complaint(await command("erase", *WHO, "--url", server.url, "--yes", environment=wrong))
        assert said.endswith("only an admin or a service may erase somebody")
        assert await server.stop() == 0
    assert found_in(database.parent, database.name) == []
    assert NAME not in server.errors.read_text()


NOTE = {"type": "notification.requested", "notificationType": "note", "priority": "LOW", "title": "After"}


async def command(*arguments: str, **options: Any) -> Result:
    return await trio.to_thread.run_sync(functools.partial(run, *arguments, **options))


def test_it_is_asked_first(own_folder: Path) -> None:
    assert run("erase", *WHO).exit_code == 1
    assert "does not exist" in complaint(run("erase", *WHO, "--yes", "--database", "no.db"))
    assert "--also-called" in complaint(run("erase", *WHO, "--yes", "--also-called", ""), 2)


@pytest.mark.parametrize("path", ["", ".", "no/such.json", "kept.json", "dangling", "data.db/x"])
def test_a_receipt_that_cannot_be_kept_is_told_before_anybody_is_erased(
    filled: Place, own_folder: Path, path: str
) -> None:
    Path("kept.json").write_text("{}")
    Path("dangling").symlink_to("nowhere")
    before = sorted(own_folder.iterdir())
    where = ("--database", str(filled))
    said = complaint(run("erase", *WHO, *where, "--yes", "--receipt", path, secret=None))
    assert said.startswith(f"djactors: --receipt: {path} ")
    assert "name a new file" in said
    assert sorted(own_folder.iterdir()) == before
    assert Path("kept.json").read_text() == "{}"
    # Nor is anything left of a receipt of what was not done; and what a killed run left is used.
    Path("empty.json").touch()
    assert "no user 99" in complaint(
        run("erase", "--tenant", f"{T}", "--user", "99", *where, "--yes", "--receipt", "r")
    )
    done = run("erase", *WHO, *where, "--yes", "--receipt", "empty.json", secret=None)
    assert json.loads(Path("empty.json").read_text())["erased"]["users"] == receipt_of(done)["erased"]["users"] == 1
    assert not Path("r").exists()


def test_a_person_is_given_what_is_held_about_them(filled: Place, own_folder: Path) -> None:
    where = ("--database", str(filled))
    done = run("export", "--json", "hers", *WHO, *where, secret=None)
    assert done.exit_code == 0, done.output
    assert "begin with READ-ME.txt" in done.stdout

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path("hers", f"{name}.jsonl").read_text().splitlines()]

    [profile] = rows("profile")
    assert (profile["id"], profile["name"], profile["role"]) == (ANN, NAME, "manager")
    told = rows("notifications")
    assert len([each for each in told if each["title"].startswith("told to her alone")]) == 75
    assert told[0]["is_read"] is False
    assert {"by": NAME} in [each["data"] for each in told]
    assert len(rows("comments")) == 150
    assert rows("comments")[3]["text"].startswith(f"{WORDS} 3 ")
    assert [job["title"] for job in rows("jobs")] == [f"Desk of {NAME}"]
    assert [row["job"] for row in rows("mentions")] == [6]
    assert [row["job"] for row in rows("muted")] == [6]
    assert rows("deeds")[0]["key"] == "key-of-ann"
    assert rows("deeds")[0]["answer"]["title"] == f"Desk of {NAME}"
    assert {row["kind"] for row in rows("log")} == {"job_muted", "read", "unread"}
    assert [row["state"] for row in rows("earlier_states")] == ["read"]
    assert NAME.casefold() in {row["text"] for row in rows("names")}
    read_me = Path("hers", "READ-ME.txt").read_text()
    manifest = json.loads(Path("hers", "manifest.json").read_text())
    for section in person.SECTIONS:
        assert f"{section.name}.jsonl ({manifest['files'][f'{section.name}.jsonl']['rows']})" in read_me
    assert "exists already" in complaint(run("export", "--json", "hers", *WHO, *where))
    assert "has no user 99" in complaint(run("export", "--json", "other", "--tenant", "1", "--user", "99", *where))


def test_a_tenant_goes_by_the_commands(filled: Place, own_folder: Path) -> None:
    where = ("--database", str(filled))
    for wrong, why in (
        (("--json", "out"), "--json needs --tenant"),
        (("--to", "x.db", "--tenant", "1"), "go with --json"),
        ((), "name one target"),
        (("--to", "x.db", "--json", "out"), "name one target"),
    ):
        assert why in complaint(run("export", *wrong, *where), 2)
    done = run("export", "--json", "out", "--tenant", "1", *where, secret=None)
    assert done.exit_code == 0, done.output
    assert "of 14 tables of tenant 1 to out" in done.stdout
    assert "has tenant 1 already" in refusal(run("import", "out", *where))
    assert "has no installation" in refusal(run("import", "out", "--database", "new.db"))
    run("migrate", "--database", "new.db")
    with DatabaseLock("new.db"):
        assert "import through the server with --url" in refusal(run("import", "out", "--database", "new.db"))
    done = run("import", "out", "--database", "new.db", secret=None)
    assert done.exit_code == 0, done.output
    assert "offsets of clients hold here" in done.stdout
    assert "manifest.json" in refusal(run("import", "nowhere", "--database", "new.db"))
    assert run("inbox", "--tenant", "1", "--user", "8", "--database", "new.db").stdout == (
        run("inbox", "--tenant", "1", "--user", "8", *where).stdout
    )
