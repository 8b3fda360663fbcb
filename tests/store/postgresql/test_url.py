"""What a URL says, and what of it is shown."""

import subprocess
import sys

import pytest

from djactors.store.engines import engine_at, is_url, shown
from djactors.store.errors import PlaceRefused
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.engine import PostgresEngine
from djactors.store.sqlite.engine import SqliteEngine


@pytest.mark.parametrize("url", ["postgresql://ann@db.example/inbox", "postgres://ann:x@10.0.0.1:6432/inbox"])
def test_a_url_is_served_by_postgresql(url: str):
    assert is_url(url)
    assert isinstance(engine_at(url), PostgresEngine)


@pytest.mark.parametrize("place", ["inbox.db", "/var/lib/postgresql://x", "postgresql.db", "file:inbox.db"])
def test_everything_else_is_a_file(place: str):
    assert not is_url(place)
    assert isinstance(engine_at(place), SqliteEngine)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann@db/inbox", "postgresql://ann@db/inbox"),
        ("postgresql://ann:geheim@db:5432/inbox?sslmode=require", "postgresql://ann@db:5432/inbox?sslmode=require"),
        ("postgresql://db/inbox?user=ann&password=geheim", "postgresql://db/inbox?user=ann"),
        ("postgresql://db/inbox?password=geheim", "postgresql://db/inbox"),
        ("postgresql://ann:ge/he@im@db/inbox", "postgresql://ann@db/inbox"),
        ("postgresql://ann:ge?heim@db/inbox", "postgresql://ann@db/inbox"),
        ("postgresql://db1,db2/inbox", "postgresql://db1,db2/inbox"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, expected: str):
    assert shown(url) == expected


@pytest.mark.parametrize(
    "url",
    ["postgresql://ann:geh%eim@db/inbox", "postgresql://ann:geheim@db/inbox?sslmod=require", "postgresql://[::1/x"],
)
def test_a_url_that_is_none_is_refused_with_the_mend_and_without_its_password(url: str):
    with pytest.raises(PlaceRefused, match="write it like postgresql://USER:PASSWORD@HOST:5432/NAME") as refused:
        engine_at(url)
    assert "eim" not in str(refused.value)


def test_connections_to_a_dead_machine_are_given_up_soon_unless_the_url_says_otherwise():
    said = Conninfo.of("postgresql://ann:ge%2Fheim@db/inbox?connect_timeout=60").parameters
    assert (said["user"], said["password"], said["host"], said["dbname"]) == ("ann", "ge/heim", "db", "inbox")
    assert (said["connect_timeout"], said["tcp_user_timeout"]) == ("60", 5000)
    assert said["application_name"] == "djactors"
    assert "target_session_attrs" not in said


def test_of_several_servers_the_one_is_meant_that_takes_writes():
    assert Conninfo.of("postgresql://a,b/inbox").parameters["target_session_attrs"] == "read-write"


@pytest.mark.parametrize(("query", "prepares"), [("", True), ("?prepared_statements=off&sslmode=prefer", False)])
def test_prepared_statements_can_be_switched_off(query: str, prepares: bool):
    conninfo = Conninfo.of(f"postgresql://db/inbox{query}")
    assert conninfo.prepares is prepares
    assert "prepared_statements" not in conninfo.parameters


def test_without_the_driver_one_line_says_how_to_get_it_and_files_need_none():
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from djactors.store.engines import engine_at\n"
        "engine_at('inbox.db')\n"
        "try: engine_at('postgresql://db/inbox')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told == "PlaceRefused PostgreSQL needs a driver: run pip install 'djactors[postgresql]'\n"
