"""The commands that end by themselves: what they print, what they refuse and with which exit code."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import jwt
import pytest
from click.testing import Result

from djactors import __version__
from djactors.commands.common import last_words
from djactors.config import Settings
from djactors.domain.times import utc_text
from djactors.edge.auth import authenticator
from djactors.inbox import schema
from djactors.store.sqlite.lock import DatabaseLock
from tests.operations.commands import EVERY_COMMAND, SECRET, complaint, findings, run

MIGRATIONS = schema.inspect("there is no such file")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(own_folder: Path) -> None:
    pass


@pytest.mark.parametrize("name", [None, *EVERY_COMMAND])
def test_every_command_explains_itself(name: str | None) -> None:
    for flag in ("--help", "-h"):
        result = run(*([] if name is None else [name]), flag, secret=None)
        assert result.exit_code == 0
        assert "Usage: " in result.stdout
    for option in [] if name is None else EVERY_COMMAND[name].params:
        assert (option.opts[0] if isinstance(option, click.Option) else str(option.metavar)) in result.stdout


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\x07", "\x9b31m", "\u202egnp", "\x7f", "a\u2028b", "\ud800"])
def test_the_last_words_of_a_command_are_one_line_that_no_terminal_obeys(text: str) -> None:
    said = last_words(f"the file {text} is wrong")
    assert said.isprintable()
    assert said.startswith("djactors: the file ")


OPTIONS = [
    pytest.param(command, option, id=f"{command.name} {option.opts[0]}")
    for command in EVERY_COMMAND.values()
    for option in command.params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_every_option_is_explained_and_its_default_is_said(command: click.Command, option: click.Option) -> None:
    assert option.help is not None
    assert str(option.envvar or "") in option.help
    _, shown = option.get_help_record(click.Context(command)) or ("", "")
    # The demo has settings of its own, and the database of an outbox is an application's.
    setting = None if command.name in ("demo", "outbox") else Settings.__dataclass_fields__.get(str(option.name))
    usual = option.to_info_dict()["default"]
    for default in (usual, None if setting is None else setting.default):
        if default is not None and not option.is_flag and default not in ("", (), []):
            told = ",".join(default) if isinstance(default, tuple) else default
            assert f"[default: {told}" in shown, shown


@pytest.mark.parametrize(
    ("command", "option"), [given for given in OPTIONS if isinstance(given.values[1].type, click.FloatRange)]
)
@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-1", "1e400"])
def test_a_number_that_is_none_is_a_wrong_command_line(
    command: click.Command, option: click.Option, value: str
) -> None:
    url = ("--url", "http://127.0.0.1:1") if any(other.name == "url" for other in command.params) else ()
    assert option.opts[0] in complaint(run(str(command.name), *url, option.opts[0], value), 2)


@pytest.mark.parametrize(("command", "option"), [given for given in OPTIONS if given.values[1].name == "url"])
@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://host:0",
        "http://host/?a=1",
        "http://[::1",
        "",
        "http://host/a b",
        "http://host/\n",
        "http://host/é",
    ],
)
def test_what_is_no_address_is_a_wrong_command_line(command: click.Command, option: click.Option, url: str) -> None:
    person = ("--tenant", "1", "--user", "1") if any(other.name == "user_id" for other in command.params) else ()
    said = complaint(run(str(command.name), option.opts[0], url, *person), 2)
    assert "is no address of a server: write it like" in said


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"djactors, version {__version__}\n"


def test_what_does_not_exist_is_a_wrong_command_line() -> None:
    assert complaint(run("servee"), 2)
    assert complaint(run("serve", "--prot", "5"), 2)
    assert complaint(run("serve", "--port", "abc"), 2)


# token


def claims(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    decoded: dict[str, Any] = jwt.decode(result.stdout.strip(), SECRET, ["HS256"])
    return decoded


def test_a_token_has_the_claims_of_the_contract() -> None:
    got = claims(run("token", "--tenant", "3", "--user", "7"))
    assert got["exp"] == got["iat"] + 3600
    assert {**got, "exp": 0, "iat": 0} == {"userId": 7, "tenantId": 3, "role": "user", "exp": 0, "iat": 0}
    got = claims(run("token", "--tenant", "3", "--user", "7", "--role", "manager", "--name", "สมชาย 'O\"x"))
    assert (got["role"], got["name"]) == ("manager", "สมชาย 'O\"x")


def test_a_token_lasts_as_long_as_it_is_told() -> None:
    short, usual = (claims(run("token", "--role", "service", *more))["exp"] for more in (("--ttl", "600"), ()))
    assert 2980 <= usual - short <= 3020


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--tenant", "1"),
        ("--user", "1"),
        ("--role", "admin", "--user", "1"),
        ("--tenant", "0", "--user", "1"),
        ("--tenant", "1", "--user", str(2**53)),
        ("--tenant", "x", "--user", "1"),
        ("--tenant", "1", "--user", "1", "--role", "root"),
        ("--tenant", "1", "--user", "1", "--ttl", "0"),
        ("--tenant", "1", "--user", "1", "--ttl", "-5"),
        ("--tenant", "1", "--user", "1", "--ttl", "99999999999999999999"),
        ("--tenant", "1", "--user", "1", "--name", ""),
        ("--tenant", "1", "--user", "1", "--name", "x" * 256),
    ],
)
def test_a_token_that_would_prove_nothing_is_not_made(arguments: tuple[str, ...]) -> None:
    result = run("token", *arguments)
    assert result.stdout == ""
    complaint(result, 2)


def test_every_token_that_is_made_is_taken() -> None:
    door = authenticator(Settings(jwt_secret=SECRET), lambda: datetime.now(UTC))
    for arguments in (
        ("--tenant", "1", "--user", str(2**53 - 1), "--name", "x" * 255),
        ("--tenant", "1", "--user", "1", "--ttl", str(10 * 365 * 24 * 3600)),
        ("--role", "service"),
        ("--role", "service", "--tenant", "5"),
    ):
        assert door.identify(run("token", *arguments).stdout.strip())


def test_a_token_needs_a_good_secret() -> None:
    assert "JWT_SECRET: is not set" in complaint(run("token", "--role", "service", secret=None))
    assert "shorter than 32 bytes" in complaint(run("token", "--role", "service", secret=SECRET[:31]))
    assert "easy to guess" in complaint(run("token", "--role", "service", secret="x" * 40))


def test_no_token_is_made_that_a_server_with_a_public_key_would_refuse() -> None:
    environment = {"DJACTORS_JWT_PUBLIC_KEY_FILE": "key.pem"}
    line = complaint(run("token", "--role", "service", environment=environment))
    assert "DJACTORS_JWT_PUBLIC_KEY_FILE" in line


# migrate


def test_migrate_makes_a_database_and_then_has_nothing_to_do() -> None:
    first = run("migrate", "--database", "new.db", secret=None)
    applied = "".join(f"applied {name}\n" for name in MIGRATIONS)
    assert first.stdout == f"{applied}new.db is up to date\n"
    assert run("migrate", "--database", "new.db", secret=None).stdout == "new.db is up to date\n"
    assert run("migrate", "--database", "new.db", "--check", secret=None).stdout == "new.db is up to date\n"


def test_migrate_check_of_what_is_behind_says_so_and_makes_nothing() -> None:
    result = run("migrate", "--database", "new.db", "--check", secret=None)
    assert result.stdout == "".join(f"pending {name}\n" for name in MIGRATIONS)
    assert "djactors migrate --database new.db" in complaint(result)
    assert list(Path().iterdir()) == []


def test_the_database_may_be_named_in_every_way() -> None:
    Path("settings.toml").write_text('database = "toml.db"')
    run("migrate", "--config", "settings.toml")
    run("migrate", "--config", "settings.toml", environment={"DJACTORS_DATABASE": "environment.db"})
    run("migrate")
    assert {path.name for path in Path().glob("*.db")} == {"toml.db", "environment.db", "djactors.db"}


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_migrate_touches_nothing_that_is_not_its_own(options: tuple[str, ...]) -> None:
    Path("text.db").write_text("Dear diary, " * 1000)
    with sqlite3.connect("foreign.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for name in ("text.db", "foreign.db"):
        before = Path(name).read_bytes()
        assert name in complaint(run("migrate", "--database", name, *options))
        assert Path(name).read_bytes() == before
    Path("folder").mkdir()
    assert "folder" in complaint(run("migrate", "--database", "folder", *options))


def test_migrate_into_a_folder_that_is_missing_is_told() -> None:
    line = complaint(run("migrate", "--database", "missing/x.db"))
    assert "--database" in line
    assert "missing/x.db" in line


def test_a_database_that_is_newer_than_the_program_is_refused() -> None:
    run("migrate", "--database", "new.db")
    with sqlite3.connect("new.db") as connection:
        connection.execute("INSERT INTO schema_migrations VALUES ('9999_future.sql', 'x', 'y')")
    connection.close()
    for command in (("migrate",), ("migrate", "--check"), ("serve", "--port", "0")):
        assert "upgrade djactors" in complaint(run(*command, "--database", "new.db"))


def test_whatever_writes_is_refused_while_the_database_is_in_use() -> None:
    run("migrate", "--database", "new.db")
    with DatabaseLock("new.db"):
        for command in (("migrate",), ("serve", "--port", "0")):
            assert f"in use by process {os.getpid()}" in complaint(run(*command, "--database", "new.db"))
        assert run("migrate", "--check", "--database", "new.db").exit_code == 0
        assert run("check", "--database", "new.db").exit_code == 0


# check


def test_check_finds_nothing_wrong_with_a_good_installation() -> None:
    run("migrate", "--database", "new.db")
    assert findings(run("check", "--database", "new.db")) == {}


def test_check_finds_a_missing_database_and_does_not_make_it() -> None:
    assert "does not exist" in findings(run("check", "--database", "new.db"))["database"]
    found = findings(run("check", "--database", "missing/new.db"))
    assert set(found) == {"free space", "database"}
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("secret", [None, "", "short", SECRET[:31], "x" * 40])
def test_check_finds_a_missing_or_weak_secret(secret: str | None) -> None:
    run("migrate", "--database", "new.db")
    result = run("check", "--database", "new.db", secret=secret)
    assert "JWT_SECRET" in findings(result)["keys"]
    assert not secret or secret not in result.output


def test_check_finds_a_key_file_that_cannot_be_used() -> None:
    run("migrate", "--database", "new.db")
    result = run("check", "--database", "new.db", environment={"DJACTORS_JWT_PUBLIC_KEY_FILE": "none.pem"})
    assert "none.pem" in findings(result)["keys"]


def test_check_finds_a_wrong_setting() -> None:
    assert complaint(run("check", environment={"SOCKET_PORT": "http"})) == (
        "djactors: SOCKET_PORT: 'http' is not a whole number"
    )


def test_check_finds_a_database_that_is_behind() -> None:
    Path("empty.db").touch()
    assert "djactors migrate" in findings(run("check", "--database", "empty.db"))["schema version"]


def test_check_finds_what_is_no_database_of_ours() -> None:
    Path("text.db").write_text("Dear diary, " * 1000)
    assert set(findings(run("check", "--database", "text.db"))) == {"schema version"}
    assert "is not a file" in findings(run("check", "--database", "."))["database"]


def test_check_finds_a_disk_that_will_soon_be_full() -> None:
    schema.apply("new.db")
    at = utc_text(datetime.now(UTC) - timedelta(days=3))
    with closing(sqlite3.connect("new.db")) as connection, connection:
        connection.execute("INSERT INTO database_sizes (day, noted_at, bytes) VALUES (?, ?, 0)", (at[:10], at))
    assert findings(run("check", "--database", "new.db")) == {}
    limited = run("check", "--database", "new.db", environment={"DJACTORS_DATABASE_LIMIT": str(2**20)})
    found = findings(limited)
    assert list(found) == ["disk growth"]
    assert re.fullmatch(
        r"the disk of the database will be full in about \d+ days: it grew by \d+ KiB a day lately, and \d+ KiB of "
        r"DJACTORS_DATABASE_LIMIT are left: raise it if the disk or the plan allows more, or keep less "
        r"\(DJACTORS_HISTORY_DAYS, DJACTORS_EVENT_DAYS\)",
        found["disk growth"],
    )


def test_check_finds_damage() -> None:
    schema.apply("new.db")
    connection = sqlite3.connect("new.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page_size = connection.execute("PRAGMA page_size").fetchone()[0]
    root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'notifications'").fetchone()[0]
    connection.close()
    with open("new.db", "r+b") as file:
        file.seek((root - 1) * page_size)
        file.write(b"\xde\xad" * 100)
    assert "restore a backup" in findings(run("check", "--database", "new.db"))["database integrity"]


def test_check_finds_rows_that_point_nowhere() -> None:
    schema.apply("new.db")
    connection = sqlite3.connect("new.db")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(
        "INSERT INTO users (id, tenant_id, name, role, unread_count, created_at, updated_at)"
        " VALUES (1, 99, 'x', 'user', 0, '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z')"
    )
    connection.commit()
    connection.close()
    assert "users" in findings(run("check", "--database", "new.db"))["database integrity"]


def test_help_is_quick_because_it_loads_no_server() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\nfrom djactors.cli import main\ntry:\n main(['--help'])\nfinally:\n"
            " assert 'djactors.app' not in sys.modules and 'jwt' not in sys.modules",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
