"""An upgrade says beforehand what it will do, tells how far it is, and can be stopped and taken up again."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
import trio

from djactors.app import Server
from djactors.config import load
from djactors.service_manager import ServiceManager
from djactors.store.engines import engine_at
from djactors.store.errors import MigrationError
from djactors.store.migrations import Migration, Schema
from djactors.store.sqlite import migrate
from djactors.store.upgrading import Contents, Costs, Course, Step, UpgradeStopped, about, steps_of
from djactors.telemetry import Telemetry, make_logger
from djactors.upgrading import REPORT_SECONDS, LongStart, Upgrade, plan
from tests.serving import SECRET
from tests.upgrades import older

NUMBER = 2
COSTS = Costs(check=1.0, index=10.0, write=100.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "inbox.db"
    older.make(made, NUMBER)
    return made


def seconds(sql: str, **rows: int) -> float:
    contents = Contents(rows, 0)
    [step] = steps_of([Migration(2, "0002_x.sql", sql, "")], "sqlite", contents, COSTS)
    [nothing] = steps_of([Migration(2, "0002_x.sql", "", "")], "sqlite", Contents({}, 0), COSTS)
    return step.seconds - nothing.seconds


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ALTER TABLE notes ADD COLUMN place TEXT;", 1.0),
        ("CREATE TABLE others (id INTEGER); CREATE INDEX idx_others ON others (id);", 1.0),
        ("CREATE INDEX idx_notes ON notes (id) WHERE id > 1;", 11.0),
        ("-- notes\nCREATE UNIQUE INDEX idx_notes\n  ON Notes (id);", 11.0),
        ("UPDATE notes SET id = id;\nDELETE FROM notes WHERE id = 1;", 201.0),
        ("INSERT INTO others (id)\n SELECT id FROM notes;", 101.0),
        ("CREATE INDEX idx_notes ON notes (id); -- postgresql only", 1.0),
    ],
)
def test_what_a_migration_takes_follows_from_its_statements_and_the_rows(sql: str, expected: float) -> None:
    assert seconds(sql, notes=1_000_000) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (0, "a few seconds"),
        (9.9, "a few seconds"),
        (26, "about 30 s"),
        (89, "about 90 s"),
        (100, "about 2 min"),
        (3000, "about 50 min"),
        (7300, "about 2 h"),
    ],
)
def test_a_time_is_told_as_roughly_as_it_is_known(duration: float, words: str) -> None:
    assert about(duration) == words


def test_what_is_left_is_estimated_by_the_pace_so_far() -> None:
    moment = 0.0
    course = Course([Step("the copy", 10), Step("0002_a.sql", 20), Step("0003_b.sql", 30)], lambda: moment)
    assert course.seconds_left == 60
    course.begins("the copy")
    moment = 100
    assert course.seconds_left == 50, "a step that takes longer than expected may be about to end"
    course.begins("0002_a.sql")
    assert course.seconds_left == 500, "the machine is ten times slower"
    moment = 150
    assert course.seconds_left == 450
    assert str(course) == "upgrading: 0002_a.sql (2 of 3), 150 s so far, about 8 min left"


def test_an_upgrade_that_is_stopped_goes_on_where_it_was(path: Path) -> None:
    before, planned = older.read(path), plan(path, "none")
    assert planned is not None
    upgrade = Upgrade(path, planned)

    def stop_at_the_third(course: Course) -> None:
        if "(3 of" in str(course):
            course.stop()

    third = planned.migrations[2]
    with pytest.raises(UpgradeStopped, match=rf"inbox\.db: stopped before {third}: the next start goes on with it"):
        upgrade.run(stop_at_the_third)
    again = plan(path, "none")
    assert again is not None
    assert again.migrations == planned.migrations[2:]
    assert Upgrade(path, again).run() == list(again.migrations)
    older.require_all(before, path)


def test_a_migration_that_is_stopped_in_the_middle_is_undone(path: Path) -> None:
    """SQLite asks while it works."""
    rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000000) SELECT count(*) FROM n"
    last = len(older.MIGRATIONS) + 1
    endless = Migration(last, f"{last:04}_long.sql", f"CREATE TABLE long (n INTEGER); INSERT INTO long {rows};", "0")
    course = Course([Step(endless.name, 1.0)])

    class Impatient:
        asked = 0

        def begins(self, step: str) -> None:
            course.begins(step)

        def goes_on(self) -> bool:
            self.asked += 1
            return self.asked < len(older.MIGRATIONS) + 5

    with pytest.raises(UpgradeStopped, match=rf"stopped in {endless.name}, of which nothing is done: the next start"):
        migrate.apply(path, Schema([*older.MIGRATIONS, endless]), watcher=Impatient())
    assert migrate.inspect(path, Schema([*older.MIGRATIONS, endless])) == [endless.name]
    assert "long" not in older.read(path)


def server(path: Path, said: list[str], log: io.StringIO) -> Server:
    settings = load({"database": str(path), "port": 0, "jwt_secret": SECRET}, {}, None)
    return Server(settings, telemetry=Telemetry(make_logger("json", "info", log)), starting=said.append)


async def test_a_server_upgrades_beside_its_loop_and_says_so_first(path: Path) -> None:
    before, said, log = older.read(path), list[str](), io.StringIO()
    async with trio.open_nursery() as nursery:
        serving = server(path, said, log)
        await nursery.start(serving.run)
        serving.request_stop()
    entries = [msgspec.json.decode(line) for line in log.getvalue().splitlines()]
    told = [entry["event"] for entry in entries]
    assert told[:4] == ["upgrading the database"] * 2 + ["the database of before is kept", "migrated"]
    assert "it has" in entries[0]["plan"]
    assert older.read(Path(entries[2]["copy"])) == before
    assert said
    assert said[0].startswith("upgrading: the copy (1 of ")


async def test_a_server_that_is_told_to_stop_stops_upgrading(path: Path) -> None:
    before, said, log = older.read(path), list[str](), io.StringIO()
    serving = server(path, said, log)
    serving.request_stop()
    with pytest.raises(UpgradeStopped, match="the next start begins anew"):
        await serving.run()
    assert older.read(path) == before
    async with trio.open_nursery() as nursery:
        serving = server(path, said, log)
        await nursery.start(serving.run)
        serving.request_stop()
    assert migrate.inspect(path, Schema(older.MIGRATIONS)) == []


async def test_the_log_hears_of_a_long_start_at_a_pace(autojump_clock: trio.testing.MockClock) -> None:
    said, logged = list[str](), list[str]()
    start = LongStart(lambda event, doing: logged.append(doing), said.append)
    for number in range(600):
        start.report(number)
        await trio.sleep(0.1)
    assert len(said) == pytest.approx(60, abs=1)
    assert len(logged) == pytest.approx(60 / REPORT_SECONDS, abs=1)


def test_the_service_manager_waits_on_while_a_start_takes_long() -> None:
    told: list[tuple[str, ...]] = []

    class Manager(ServiceManager):
        def tell(self, *states: str) -> None:
            told.append(states)

    Manager().starting("upgrading: the copy")
    assert told == [("EXTEND_TIMEOUT_USEC=60000000", "STATUS=upgrading: the copy")]


def test_a_postgresql_database_is_left_to_its_own_tools(postgres_url: str) -> None:
    first = Schema(older.frozen(NUMBER))
    engine = engine_at(postgres_url)
    engine.apply(first, lambda: older.AT)
    planned = plan(postgres_url, "")
    assert planned is not None
    assert planned.copy is None
    assert "no copy is made before: that of a PostgreSQL database is for pg_dump or your provider" in planned.lines()
    stopped = Upgrade(postgres_url, planned)
    stopped.course.stop()
    with pytest.raises(UpgradeStopped, match=f"stopped before {planned.migrations[0]}"):
        stopped.run()
    assert Upgrade(postgres_url, planned).run() == list(planned.migrations)
    assert plan(postgres_url, "") is None
    with pytest.raises(MigrationError, match="use pg_dump"):
        engine.copy(Path("copy"), lambda: True)
