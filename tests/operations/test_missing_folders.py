"""The name of a folder that is not there makes no file of that name: the next run would find the file in its way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import click
import pytest

from djactors.inbox import schema
from djactors.operations import moving
from djactors.operations.backing_up import NotBackedUpError, back_up
from tests.operations.commands import EVERY_COMMAND, complaint, run

MISSING = ("mnt/", "mnt//", "mnt/.", "mnt/..", "mnt/deeper/")

READ = {"config", "ca", "tls_cert", "tls_key", "copy"}
"""What is only read."""

MADE = {("export", "folder")}
"""What is a folder that the command makes. Its name may end in a slash."""

PATHS = [
    pytest.param(str(command.name), option, id=f"{command.name} {option.name}")
    for command in EVERY_COMMAND.values()
    for option in command.params
    if isinstance(option.type, click.Path) or option.name == "database"
    if option.name not in READ and (command.name, option.name) not in MADE
]

NEEDED = {
    "backup": ("copy.db",),
    "erase": ("--tenant", "1", "--user", "1", "--yes"),
    "export": ("--to", "copy.db"),
    "import": ("nowhere",),
    "inbox": ("--tenant", "1", "--user", "1"),
    "outbox": ("--url", "http://127.0.0.1:1", "--token", "x", "--once", "--create"),
    "restore": ("whole.db",),
    "serve": ("--port", "0"),
    "sign-out": ("--tenant", "1", "--user", "1"),
}
"""What each command needs beside the path."""

WHOLE = {"DJACTORS_DATABASE": "whole.db"}
DATABASE = dict.fromkeys(("backup", "erase", "export", "import"), WHOLE)
"""The database of commands to which it matters that it is whole. The others find one that is behind."""


@pytest.fixture(autouse=True)
def house(own_folder: Path) -> Path:
    """A database that is behind, so that an upgrade wants to copy it, and one that is whole."""
    schema.apply("djactors.db")
    schema.apply("whole.db")
    with closing(sqlite3.connect("djactors.db")) as connection, connection:
        connection.execute("DELETE FROM schema_migrations WHERE name > '0013'")
    return own_folder


def listed(folder: Path) -> list[str]:
    # A command that has looked at a database leaves its lock, and SQLite leaves its companions.
    return sorted(path.name for path in folder.rglob("*") if not path.name.endswith((".lock", "-wal", "-shm")))


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize(("command", "option"), PATHS)
def test_no_command_makes_a_file_of_it(command: str, option: click.Parameter, missing: str, house: Path) -> None:
    before = listed(house)
    needed = (missing,) if isinstance(option, click.Argument) else (*NEEDED.get(command, ()), option.opts[0], missing)
    result = run(command, *needed, environment=None if option.name == "database" else DATABASE.get(command))
    assert result.exit_code in (1, 2), result.output
    assert "mnt" in result.stdout + result.stderr.splitlines()[-1]
    assert listed(house) == before


@pytest.mark.parametrize("missing", MISSING)
def test_a_copy_says_what_to_do_about_it(house: Path, missing: str) -> None:
    for arguments in (("backup", missing), ("export", "--to", missing)):
        said = complaint(run(*arguments, "--database", "whole.db"))
        assert f"{missing} is a folder that is not there: " in said
        assert listed(house) == ["djactors.db", "whole.db"]
    with pytest.raises(NotBackedUpError, match="is a folder that is not there: make it first"):
        back_up("whole.db", missing, lambda _: None)
    with pytest.raises(moving.NotMovedError, match=r"^--to: .* is a folder that is not there"):
        moving.move("whole.db", missing, lambda _: None)


def test_a_folder_is_no_file_to_export_to(house: Path) -> None:
    Path("there").mkdir()
    before = listed(house)
    for name in ("there", "there/"):
        assert f"{name} is a folder: name a new file" in complaint(
            run("export", "--to", name, "--database", "whole.db")
        )
    assert listed(house) == before


def test_a_file_in_place_of_the_folder_stays_as_it_is(house: Path) -> None:
    Path("mnt").write_text("mine")
    for arguments in (("backup", "mnt/"), ("export", "--to", "mnt/")):
        assert "mnt/ is a folder that is not there" in complaint(run(*arguments, "--database", "whole.db"))
    assert Path("mnt").read_text() == "mine"


def test_copies_go_into_the_folder_once_it_is_there(house: Path) -> None:
    Path("mnt").mkdir()
    assert run("backup", "mnt/", "--database", "whole.db").exit_code == 0
    assert [path.parent.name for path in house.rglob("whole-*.db")] == ["mnt"]


def test_a_folder_that_the_command_makes_may_be_named_so(house: Path) -> None:
    with closing(sqlite3.connect("whole.db")) as connection, connection:
        connection.execute(
            "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (1, 'x', '2026-01-01', '2026-01-01')"
        )
    assert run("export", "--json", "mnt/", "--tenant", "1", "--database", "whole.db").exit_code == 0
    assert Path("mnt/manifest.json").is_file()


@pytest.mark.parametrize("missing", MISSING)
def test_a_dump_has_a_name(postgres_url: str, missing: str) -> None:
    schema.apply(postgres_url)
    said = complaint(run("backup", missing, "--database", postgres_url))
    assert f"{missing} is a folder that is not there: pg_dump writes one file, so name that" in said
