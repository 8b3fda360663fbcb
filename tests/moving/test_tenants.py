"""A tenant is handed over as JSON, and brought into another database, of either engine, as it was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils

from djactors.domain.commands import ExpireSlice, Sliced
from djactors.domain.events import NotificationRequested
from djactors.inbox import contents, log, people, schema, tenancy, walks
from djactors.inbox.parcels import Columns, Manifest
from djactors.operations import moving
from djactors.operations.asking import NotDoneError
from djactors.operations.bringing_in import bring_in
from djactors.operations.folders import FolderError
from djactors.operations.handing_over import export
from djactors.operations.progress import Progress
from djactors.store.errors import DatabaseLocked, StoreError
from djactors.store.sqlite.lock import DatabaseLock
from tests.engines import open_connection
from tests.history.chain import judge_marks
from tests.inbox.desk import Desk
from tests.moving.conftest import rows_of
from tests.operations.commands import complaint, run

Place = str | Path


def silent(_: object) -> None:
    """Nobody looks."""


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.db"
    schema.apply(path)
    return path


def fresh(place: Place) -> Place:
    schema.apply(place)
    return place


def change(folder: str, name: str, alter: Callable[[list[dict[str, Any]]], object], *, sign: bool = True) -> None:
    """Alter the rows of a file, and the manifest with it, as somebody would who knows how it is made."""
    path = Path(folder, name)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    alter(rows)
    text = "".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(text)
    if sign:
        sign_again(folder, name)


def sign_again(folder: str, name: str) -> None:
    """Have the manifest say of a file what it is now."""
    text = Path(folder, name).read_bytes()
    manifest = Path(folder, "manifest.json")
    value = json.loads(manifest.read_text())
    rows = text.count(b"\n")
    value["files"][name] = {"rows": rows, "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    manifest.write_text(json.dumps(value))


def test_every_table_is_handed_over_or_left_out_for_a_reason(house: Path) -> None:
    parts = {part.name for part in tenancy.PARTS}
    assert parts & tenancy.LEFT_OUT.keys() == set()
    assert parts | tenancy.LEFT_OUT.keys() == rows_of(house).keys()


def test_every_table_has_rows_to_hand_over(house: Path, folder: str, tmp_path: Path) -> None:
    found = set()
    for tenant_id, *_ in rows_of(house)["tenants"]:
        assert isinstance(tenant_id, int)
        files = export(house, str(tmp_path / str(tenant_id)), tenant_id, silent).files
        found |= {name for name, entry in files.items() if entry.rows}
    assert found == {f"{part.name}.jsonl" for part in tenancy.PARTS}
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert Path(folder, "users.jsonl").stat().st_mode & 0o777 == 0o600


def test_every_engine_writes_the_same_and_takes_it(house: Path, urls: Callable[[], str], tmp_path: Path) -> None:
    steps: list[str] = []
    first = export(house, str(tmp_path / "first"), 1, lambda step: steps.append(str(step)))
    assert steps[-1].startswith("writing suppressions: ")
    places: list[Place] = [tmp_path / "one.db", urls(), tmp_path / "two.db"]
    manifest: Manifest = first
    for number, place in enumerate(places):
        fresh(place)
        before = "first" if number == 0 else f"from {number - 1}"
        assert bring_in(place, str(tmp_path / before), silent).last == first.last
        manifest = export(place, str(tmp_path / f"from {number}"), 1, silent)
        assert manifest.files == first.files
    assert rows_of(places[0])["people_names"] == rows_of(places[2])["people_names"]


def test_offsets_hold_ids_go_on_and_people_are_found(house: Path, folder: str, target: Place) -> None:
    bring_in(target, folder, silent)
    with open_connection(house) as connection:
        known = connection.execute("SELECT seq, mark FROM changes WHERE tenant_id = 1 ORDER BY seq").fetchall()
        given = moving.installation.numbers_given(connection)
    with open_connection(target) as connection:
        desk = Desk(connection)
        reach = log.reach(connection, 1)
        for seq, mark in known:
            assert log.holds(connection, 1, log.Offset(mark, seq), reach)
        assert list(judge_marks(connection)) == []
        desk.now += timedelta(days=400)
        told = desk.publish(
            NotificationRequested(tenant_id=1, user_id=1, notification_type="note", priority="CRITICAL", title="Next")
        )
        highest = desk.one("SELECT max(id) FROM domain_events")
        assert told["eventId"] == highest
        assert (
            told["notifications"][0]["id"]
            == desk.one("SELECT max(id) FROM notifications")
            <= given["notifications"] + 1
        )
        page = people.page(connection, tenant_id=1, query="", before=None, limit=50, now=desk.now.timestamp())
        assert len(page.items) == desk.one("SELECT count(*) FROM users WHERE tenant_id = 1")
        # All that came along expires.
        while True:
            outcome = desk.do(ExpireSlice(500))
            assert isinstance(outcome, Sliced)
            if not outcome.more:
                break
        left = "SELECT count(*) FROM notifications WHERE removed_seq IS NULL AND expires_at <= ?"
        assert desk.one(left, "2027-01-27T00:00:00.000000Z") == 0


def test_beside_other_tenants(house: Path, folder: str, target: Place) -> None:
    with open_connection(target) as connection:
        for _ in range(20):
            Desk(connection).publish(
                NotificationRequested(
                    tenant_id=2, user_id=1, notification_type="note", priority="CRITICAL", title="Mine"
                )
            )
    before = rows_of(target)
    with pytest.raises(NotDoneError, match=r"domain_events: the id \d+ is another tenant's .* into a new database"):
        bring_in(target, folder, silent)
    assert rows_of(target) == before
    with pytest.raises(NotDoneError, match="has tenant 1 already"):
        bring_in(house, folder, silent)


def test_ids_between_those_of_others_expire_as_well(house: Path, folder: str, tmp_path: Path) -> None:
    """The ids of others are higher, and have expired: the walk that has passed them never came by the lower ones."""
    place = fresh(tmp_path / "other.db")
    with open_connection(place) as connection:
        desk = Desk(connection)
        connection.execute("INSERT INTO counters (name, value) VALUES ('notifications', 900000)")
        connection.execute("INSERT INTO counters (name, value) VALUES ('domain_events', 900000)")
        desk.publish(
            NotificationRequested(tenant_id=2, user_id=1, notification_type="note", priority="CRITICAL", title="Old")
        )
        desk.now += timedelta(days=40)
        desk.do(ExpireSlice(10))
        assert walks.all_walks(connection)[0].next_id == 900_002
    bring_in(place, folder, silent)
    with open_connection(place) as connection:
        desk = Desk(connection)
        desk.now += timedelta(days=800)
        desk.do(ExpireSlice(100_000))
        assert desk.one("SELECT count(*) FROM notifications WHERE removed_seq IS NULL") == 0


WRONG: list[tuple[str, str, Callable[[list[dict[str, Any]]], object], str]] = [
    ("missing row", "users.jsonl", lambda rows: rows.pop(0), "points at a row of users that is missing"),
    ("twice", "users.jsonl", lambda rows: rows.append(rows[0]), "UNIQUE constraint failed"),
    (
        "other text",
        "notifications.jsonl",
        lambda rows: rows[-1].update(title="Forged"),
        "another mark than its content",
    ),
    ("lost change", "changes.jsonl", lambda rows: rows.pop(3), r"change \d+ is missing"),
    ("lost end", "changes.jsonl", lambda rows: rows.pop(), "does not begin and end as manifest.json says"),
    ("lost notification", "notifications.jsonl", lambda rows: rows.pop(), "missing"),
    ("other tenant", "jobs.jsonl", lambda rows: rows[0].update(tenant_id=2), "is of tenant 2, not 1"),
    ("no tenant", "tenants.jsonl", lambda rows: rows.clear(), "tenants.jsonl has no tenant 1"),
    ("number as text", "users.jsonl", lambda rows: rows[0].update(id="7"), "id is no whole number of 64 bits"),
    ("too long", "users.jsonl", lambda rows: rows[0].update(name="x" * 256), "name has 256 characters, of 255 at most"),
    ("NUL", "users.jsonl", lambda rows: rows[0].update(name="a\0"), "name has the character NUL"),
    ("no name", "users.jsonl", lambda rows: rows[0].update(name=None), "name is missing"),
    ("truth", "users.jsonl", lambda rows: rows[0].update(role_given=1), "role_given is neither true nor false"),
    ("column", "users.jsonl", lambda rows: rows[0].update(extra=1), "has other columns than"),
    # What fits a column, and has the server fail for all tenants once it is there.
    ("no time", "jobs.jsonl", lambda rows: rows[0].update(deadline="soon"), "deadline is no time such as 2026"),
    ("role", "users.jsonl", lambda rows: rows[0].update(role="god"), "role is none of user, manager"),
    ("answer", "domain_events.jsonl", lambda rows: rows[0].update(answer="{"), "answer is no JSON object"),
    (
        "deep",
        "domain_events.jsonl",
        lambda rows: rows[0].update(answer='{"a":' + "[" * 200 + "]" * 200 + "}"),
        "deeper",
    ),
    ("last id", "domain_events.jsonl", lambda rows: rows[-1].update(id=2**63 - 1), "id is not between 1 and 45"),
    ("kind", "changes.jsonl", lambda rows: rows[0].update(kind="odd"), "which this version does not know"),
]


@pytest.mark.parametrize(("name", "alter", "why"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_was_altered_is_refused(
    folder: str, empty: Path, name: str, alter: Callable[[list[dict[str, Any]]], object], why: str
) -> None:
    change(folder, name, alter)
    before = rows_of(empty)
    with pytest.raises(FolderError, match=why):
        bring_in(empty, folder, silent)
    assert rows_of(empty) == before


def test_every_value_that_something_has_to_understand_is_judged(folder: str) -> None:
    columns = Columns(schema.blueprint())
    for part in tenancy.PARTS:
        for column in columns.of(part):
            rule = contents.rule_of(part.name, column.name)
            if column.kind == "boolean" or column.name in contents.FREE | {"mark", "oldest_mark"}:
                continue
            assert rule is not None, (part.name, column.name)
            for value in (-2, 2**53) if column.kind == "integer" else ("", "bogus", "[" * 10_000, "2000-13-01"):
                assert rule(value), (part.name, column.name, value)


@pytest.mark.parametrize(
    ("old", "new"), [(b"\n", b"\r\n"), (b'{"tenant_id":1', b'{"tenant_id":2,"tenant_id":1'), (b":1,", b": 1,")]
)
def test_lines_that_another_program_has_written_are_named(folder: str, empty: Path, old: bytes, new: bytes) -> None:
    text = Path(folder, "users.jsonl").read_bytes().replace(old, new)
    Path(folder, "users.jsonl").write_bytes(text)
    sign_again(folder, "users.jsonl")
    with pytest.raises(FolderError, match=r"users\.jsonl: the row that begins with .* is not as an export writes it"):
        bring_in(empty, folder, silent)


@pytest.mark.parametrize(
    "text", [b'{"x":' + b"[" * 100_000, b'{"format":"\xff"}', b"", b"null", b"\0", b"[" * 2_000_000]
)
def test_a_manifest_that_is_no_json_is_refused(folder: str, empty: Path, text: bytes) -> None:
    Path(folder, "manifest.json").write_bytes(text)
    with pytest.raises(FolderError, match=r"manifest\.json is none of a tenant: .*: export again"):
        bring_in(empty, folder, silent)


def test_damage_is_refused(folder: str, empty: Path) -> None:
    users = Path(folder, "users.jsonl")
    text = users.read_bytes()
    users.write_bytes(text.replace(b'"User ', b'"USER ', 1))
    with pytest.raises(FolderError, match="another checksum than its manifest says"):
        bring_in(empty, folder, silent)
    users.write_bytes(text[:-20])
    with pytest.raises(FolderError, match="cut off or too long"):
        bring_in(empty, folder, silent)
    users.write_bytes(text[: text[:-1].rindex(b"\n") + 1])
    with pytest.raises(FolderError, match=r"has \d+ rows and \d+ bytes, not"):
        bring_in(empty, folder, silent)
    users.unlink()
    with pytest.raises(FolderError, match=r"users\.jsonl: No such file"):
        bring_in(empty, folder, silent)
    assert rows_of(empty)["tenants"] == []


def test_other_folders_are_refused(folder: str, empty: Path, tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="has written"):
        bring_in(empty, str(tmp_path / "nowhere"), silent)
    manifest = Path(folder, "manifest.json")
    whole = json.loads(manifest.read_text())
    for altered, why in (
        ({"format": "djactors person"}, "not a 'djactors tenant' of version 1"),
        ({"version": 2}, "of version 2"),
        ({"schema": {}}, "is of another schema: it lacks 0001_initial"),
        ({"files": {}}, "does not name the files"),
        ({"last": {**whole["last"], "mark": 1}}, "does not begin and end"),
        ({"tenantId": "x"}, "none of a tenant"),
    ):
        manifest.write_text(json.dumps({**whole, **altered}))
        with pytest.raises(FolderError, match=why):
            bring_in(empty, folder, silent)
    manifest.write_text("{")
    with pytest.raises(FolderError, match="none of a tenant"):
        bring_in(empty, folder, silent)


def test_only_where_no_server_runs(folder: str, empty: Path, tmp_path: Path) -> None:
    with DatabaseLock(empty), pytest.raises(DatabaseLocked):
        bring_in(empty, folder, silent)
    with pytest.raises(StoreError, match="has no installation"):
        bring_in(tmp_path / "none.db", folder, silent)


@pytest.mark.parametrize("kind", ["missing", "empty", "postgresql"])
def test_what_has_no_installation_yet_is_refused_with_the_command_that_makes_one(
    folder: str, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path / "new.db")
    if kind == "empty":
        Path(place).touch()
    elif kind == "postgresql":
        place = request.getfixturevalue("url")
    before = sorted(os.listdir(tmp_path))
    said = complaint(run("import", folder, "--database", place))
    assert "has no installation: name the " in said
    command = said.partition("make a new one first with `djactors ")[2].removesuffix("`")
    assert command == f"migrate --database {place}"
    assert sorted(os.listdir(tmp_path)) == before
    assert run(*command.split()).exit_code == 0
    assert "imported and verified" in run("import", folder, "--database", place).stdout


def test_interrupted_at_any_step_nothing_is_left_and_it_can_be_done_again(folder: str, empty: Path) -> None:
    before = rows_of(empty)
    doings: set[str] = set()
    while True:

        def interrupt(step: moving.Step) -> None:
            if step.doing not in doings:
                doings.add(step.doing)
                raise KeyboardInterrupt

        try:
            bring_in(empty, folder, interrupt)
        except KeyboardInterrupt:
            assert rows_of(empty) == before
        else:
            break
    assert doings == {"reading", "verifying the marks of", "importing", "verifying"}
    assert rows_of(empty)["tenants"] != []


def test_an_export_that_was_interrupted_leaves_nothing_and_one_that_was_killed_is_replaced(
    house: Path, tmp_path: Path
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(house, str(tmp_path / "out"), 1, interrupt)
    assert not list(tmp_path.glob("out*"))
    partial = tmp_path / "out.partial"
    partial.mkdir()
    (partial / "users.jsonl").write_text("half")
    export(house, str(tmp_path / "out"), 1, silent)
    assert [path.name for path in tmp_path.glob("out*")] == ["out"]
    with pytest.raises(FolderError, match="exists already"):
        export(house, str(tmp_path / "out"), 1, silent)
    other = tmp_path / "second.partial"
    other.mkdir()
    (other / "precious.doc").write_text("mine")
    with pytest.raises(FolderError, match="is in the way"):
        export(house, str(tmp_path / "second"), 1, silent)
    assert (other / "precious.doc").read_text() == "mine"
    with pytest.raises(FolderError, match="has no tenant 99"):
        export(house, str(tmp_path / "other"), 99, silent)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("what", ["tenant", "person", "import"])
def test_a_command_that_is_told_to_end_leaves_nothing_of_a_tenant(
    house: Path, folder: str, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: int, what: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(Progress, "step", lambda *_: os.kill(os.getpid(), how))
    before = signal.getsignal(how)
    arguments = {
        "tenant": ("export", "--json", str(scratch / "out"), "--tenant", "1", "--database", str(house)),
        "person": ("export", "--json", str(scratch / "out"), "--tenant", "1", "--user", "1", "--database", str(house)),
        "import": ("import", folder, "--database", str(empty)),
    }[what]
    said = complaint(run(*arguments))
    assert said.startswith("djactors: interrupted: nothing was ")
    assert not list(scratch.iterdir())
    assert rows_of(empty)["tenants"] == []
    assert signal.getsignal(how) is before


@pytest.mark.parametrize("kind", ["link", "file", "folder in it", "document beside a part"])
def test_what_is_in_the_way_of_an_export_stays_as_it_is(house: Path, tmp_path: Path, kind: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "precious.json").write_text("mine")
    partial = tmp_path / "out.partial"
    match kind:
        case "link":
            partial.symlink_to(own)
        case "file":
            partial.write_text("mine")
        case "folder in it":
            Path(partial, "sub.json").mkdir(parents=True)
        case _:
            own.rename(partial)
            (partial / "thesis.doc").write_text("mine")
    before = {path.relative_to(tmp_path): path.is_file() and path.read_text() for path in tmp_path.rglob("o*/*")}
    with pytest.raises(FolderError, match=r"^--json: .* is in the way: .* move it away$"):
        export(house, str(tmp_path / "out"), 1, silent)
    assert {
        path.relative_to(tmp_path): path.is_file() and path.read_text() for path in tmp_path.rglob("o*/*")
    } == before


@pytest.mark.parametrize("name", ["", ".", "/", "..", "link", "dangling"])
def test_what_names_no_new_folder_is_refused_before_anything_is_written(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    if name in ("link", "dangling"):
        (tmp_path / "target").mkdir()
        Path(name).symlink_to(tmp_path / "target" if name == "link" else "nowhere")
    with pytest.raises(FolderError, match=r"^--json: .* (name|names no) (a )?new folder"):
        export(house, name, 1, lambda _: pytest.fail("something is written"))
    assert not list(tmp_path.rglob("*.partial*"))


def test_two_exports_to_one_folder_do_not_meet(house: Path, tmp_path: Path, empty: Path) -> None:
    out = str(tmp_path / "out")
    refused = []

    def second(_: object) -> None:
        with pytest.raises(FolderError) as raised:
            export(house, out, 1, silent)
        refused.append(str(raised.value))

    export(house, out, 1, second)
    assert refused
    assert all("is being written by another export" in each for each in refused)
    bring_in(empty, out, silent)


def test_it_is_read_beside_a_server(house: Path, tmp_path: Path) -> None:
    with DatabaseLock(house), closing(sqlite3.connect(house)) as server:
        server.execute("BEGIN IMMEDIATE")
        export(house, str(tmp_path / "out"), 1, silent)


def test_sqlite_utils_reads_it(folder: str) -> None:
    database = sqlite_utils.Database(memory=True)
    for line in Path(folder, "users.jsonl").read_text().splitlines():
        database.table("users").insert(json.loads(line))
    assert database.table("users").count == len(Path(folder, "users.jsonl").read_text().splitlines())
