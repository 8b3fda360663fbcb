"""On PostgreSQL the commands name its own programs, as they have to be typed, and check what these have written."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from click.testing import Result
from psycopg.conninfo import conninfo_to_dict

from djactors.domain.reserved import PROBE_TENANT
from djactors.inbox import copies
from djactors.operations.moving import move
from djactors.store.postgresql.engine import PostgresEngine
from tests.backups.conftest import copied_at, no_report, probe, tell
from tests.moving.conftest import query, rows_of
from tests.operations.commands import complaint, run
from tests.upgrades import older

_NUMBERS = itertools.count(1)
NOTE = """INSERT INTO changes SELECT tenant_id, seq + 1, user_id, kind, notification_id, data, mark, created_at
    FROM changes WHERE tenant_id = 1 ORDER BY seq DESC LIMIT 1"""


@pytest.fixture
def databases(postgres_dsn: str) -> Iterator[Callable[[], str]]:
    """Makes the URLs of empty databases."""
    server = conninfo_to_dict(postgres_dsn)
    made = []
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:

        def make() -> str:
            name = f"backups_{next(_NUMBERS)}"
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
            made.append(name)
            return f"postgresql://{server['user']}@{quote(str(server['host']), safe='')}/{name}"

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def url(databases: Callable[[], str], filled: Path) -> str:
    """The URL of a database with an installation."""
    made = databases()
    move(filled, made, no_report)
    return made


@pytest.fixture
def dump(url: str, tmp_path: Path) -> Path:
    """A dump of it."""
    path = tmp_path / "installation.dump"
    type_in(run("backup", str(path), "--database", url))
    return path


PROGRAMS = {"pg_dump": ["pg_dump"], "pg_restore": ["pg_restore"]}


def type_in(result: Result) -> None:
    """Run the command that a line names, as somebody would who reads it."""
    named = re.search(r"run `([^`]+)`", complaint(result))
    assert named is not None, result.stderr
    program, *arguments = shlex.split(named[1])
    done = subprocess.run([*PROGRAMS[program], *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def do(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def refused(*arguments: str | Path) -> str:
    result = run(*map(str, arguments))
    # Lines on how far it was may come before.
    assert result.exit_code == 1, result.output
    return result.stderr.splitlines()[-1]


def test_what_the_commands_say_makes_a_dump_and_restores_it(url: str, dump: Path, databases: Callable[[], str]) -> None:
    before = rows_of(url)
    assert "which is whole: 2 tenants" in run("backup", str(dump), "--database", url).stdout
    other = databases()
    type_in(run("restore", str(dump), "--database", other))
    done = run("restore", str(dump), "--database", other)
    assert done.exit_code == 0, done.stderr
    assert "holds what" in done.stdout
    assert "whoever was erased since the dump was made is back: run `djactors erase` again" in done.stdout
    assert rows_of(other) == before


async def test_the_server_hears_of_what_moment_a_checked_dump_is(
    url: str, dump: Path, tmp_path: Path, databases: Callable[[], str]
) -> None:
    assert await copied_at(url) is None
    os.utime(dump, (0, 0))
    assert run("backup", str(dump), "--database", url).stderr == ""
    listed = subprocess.run(["pg_restore", "--list", dump], capture_output=True, text=True, check=True).stdout
    [stamp] = re.findall(r"Archive created at (\S+ \S+)", listed)
    assert await copied_at(url) == datetime.fromisoformat(stamp).timestamp()
    # A copy of another database is none of this one.
    other, file = databases(), tmp_path / "moved.db"
    move(url, other, no_report)
    move(url, file, no_report)
    assert await copied_at(other) is None
    assert "copied_at" not in str(rows_of(file)["counters"])


async def test_of_several_dumps_the_newest_counts(url: str) -> None:
    engine = PostgresEngine(url)
    for at, now, newest in ((50, 100, 50), (40, 100, 50), (900, 100, 100), (60, 70, 60)):
        with engine.writing() as connection:
            copies.note(connection, at, lambda now=now: now)
        assert await copied_at(url) == newest


def test_a_dump_is_good_where_nobody_may_note_it(url: str, dump: Path) -> None:
    do(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    result = run("backup", str(dump), "--database", url)
    assert result.exit_code == 0
    assert "the server does not hear of this copy: " in result.stderr
    assert "which is whole" in result.stdout


@pytest.mark.parametrize("is_there", [True, False])
def test_a_schema_of_its_own_is_dumped_alone(
    databases: Callable[[], str], filled: Path, tmp_path: Path, is_there: bool
) -> None:
    server, other = databases(), databases()
    do(server, "CREATE SCHEMA mine")
    there, here = (f"{each}?options=-csearch_path%3Dmine&prepared_statements=off" for each in (server, other))
    move(filled, there, no_report)
    do(server, "CREATE TABLE songs (id INT)")
    if is_there:
        do(other, "CREATE SCHEMA mine")
    dump = tmp_path / "installation.dump"
    type_in(run("backup", str(dump), "--database", there))
    type_in(run("restore", str(dump), "--database", here))
    assert run("restore", str(dump), "--database", here).exit_code == 0
    assert query(other, "SELECT count(*) FROM pg_tables WHERE tablename = 'songs'") == [(0,)]


def test_no_password_is_shown(url: str, tmp_path: Path) -> None:
    secret = url.replace("postgres@", "postgres:hush@")
    for command in ("backup", "restore"):
        line = refused(command, tmp_path / "new.dump", "--database", secret)
        assert "hush" not in line


def test_a_dump_that_was_cut_off_is_found(url: str, dump: Path) -> None:
    content = dump.read_bytes()
    dump.write_bytes(content[: len(content) * 2 // 3])
    assert "is no whole dump" in refused("backup", dump, "--database", url)
    dump.write_text("Dear diary, " * 1000)
    assert "is no whole dump" in refused("backup", dump, "--database", url)


def test_a_dump_of_another_database_or_of_a_part_is_found(
    url: str, databases: Callable[[], str], dump: Path, tmp_path: Path
) -> None:
    do(url, "UPDATE changes SET mark = mark + 1")
    assert "has never had" in refused("backup", dump, "--database", url)
    part = tmp_path / "part.dump"
    subprocess.run(["pg_dump", "--format=custom", "--table=tenants", f"--file={part}", url], check=True)
    assert "lacks changes" in refused("backup", part, "--database", url)


def test_what_a_probe_leaves_is_no_loss_and_is_shown_nowhere(
    url: str, dump: Path, tmp_path: Path, databases: Callable[[], str]
) -> None:
    before = run("backup", str(dump), "--database", url).stdout
    probe(url)
    probed, other = tmp_path / "probed.dump", databases()
    type_in(run("backup", str(probed), "--database", url))
    assert run("backup", str(probed), "--database", url).stdout == before.replace(str(dump), str(probed))
    type_in(run("restore", str(probed), "--database", other))
    for place in (url, other):
        probe(place)
        for each in (dump, probed):
            result = run("restore", str(each), "--database", place)
            assert result.exit_code == 0, result.output
            assert "holds what" in result.stdout
            assert str(PROBE_TENANT) not in result.output
    # Not where the two have parted either.
    probe(url)
    type_in(run("backup", str(tmp_path / "later.dump"), "--database", url))
    assert run("backup", str(tmp_path / "later.dump"), "--database", other).exit_code == 0
    tell(url, "more")
    assert "tenant 1 (Acme): 1 change" in run("restore", str(dump), "--database", url).stdout


def test_a_database_that_has_more_is_left_alone(url: str, dump: Path) -> None:
    do(url, NOTE)
    result = run("restore", str(dump), "--database", url)
    assert "has what" in complaint(result)
    assert "tenant 1 (Acme): 1 change" in result.stdout


@pytest.mark.parametrize("number", [migration.number for migration in older.MIGRATIONS])
def test_a_database_of_an_older_version_is_dumped_restored_and_compared(
    databases: Callable[[], str], tmp_path: Path, number: int
) -> None:
    """As before an upgrade, when the new version is installed and the database is the old one."""
    old, other, dump = databases(), databases(), tmp_path / "old.dump"
    older.make_on_postgresql(old, number)
    type_in(run("backup", str(dump), "--database", old))
    checked = run("backup", str(dump), "--database", old)
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert f"which is whole: 2 tenants, {older.NOTES} changes" in checked.stdout
    type_in(run("restore", str(dump), "--database", other))
    restored = run("restore", str(dump), "--database", other)
    assert restored.exit_code == 0, restored.stderr
    assert f"holds what {dump} holds: 2 tenants, {older.NOTES} changes, all checked" in restored.stdout
    do(old, NOTE)
    require_ahead(old, dump)
    # The same where the one of the two is upgraded, or the other one.
    assert run("migrate", "--database", other).exit_code == 0
    newer = tmp_path / "newer.dump"
    type_in(run("backup", str(newer), "--database", other))
    require_ahead(old, newer)
    assert run("migrate", "--database", old).exit_code == 0
    require_ahead(old, dump)


def require_ahead(url: str, dump: Path) -> None:
    """The database is said to have one change more than the dump."""
    result = run("restore", str(dump), "--database", url)
    assert "has what" in complaint(result)
    assert "tenant 1 (Tenant 1): 1 change" in result.stdout


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("DELETE FROM domain_events WHERE id = (SELECT max(id) FROM domain_events)", "rows in domain_events"),
        ("UPDATE changes SET data = '{}' WHERE data IS NOT NULL", "is damaged: change"),
        ("DROP TABLE nodes", "lacks nodes"),
    ],
)
def test_what_was_restored_in_another_way_is_found(url: str, dump: Path, harm: str, said: str) -> None:
    do(url, harm)
    assert said in refused("restore", dump, "--database", url)


def test_what_is_missing_is_named(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is not there" in refused("restore", tmp_path / "no.dump", "--database", url)
    (tmp_path / "a.dump").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "postgresql-client" in refused("backup", tmp_path / "a.dump", "--database", url)
