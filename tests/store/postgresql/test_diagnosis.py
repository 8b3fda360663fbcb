"""What `djactors check` says of a server: each finding names its mend."""

import psycopg
import pytest

from djactors.store.postgresql.diagnosis import CONNECTIONS_OF_A_NODE, diagnose, standby_of, unsafe

SOUND = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": ""}


def test_a_server_is_looked_at_and_what_is_wrong_with_it_is_named(url: str):
    """The server of the tests keeps nothing over a power failure."""
    found = dict(diagnose(url))
    wrong = {name: finding for name, finding in found.items() if finding is not None}
    assert list(wrong) == ["durability"]
    assert "set fsync = on and full_page_writes = on in postgresql.conf" in str(wrong["durability"])
    assert next(iter(found)).startswith("database: PostgreSQL ")
    assert "standby: none, so acknowledged events are lost with the server's disk" in found


def test_a_server_that_is_not_there_is_one_finding(url: str):
    [(name, finding)] = diagnose(url.replace("@%2F", "@%2Fnowhere%2F"))
    assert name == "database"
    assert "cannot be connected to" in str(finding)


def test_rights_that_are_missing_are_named(url: str, other: psycopg.Connection):
    other.execute("DROP ROLE IF EXISTS reader")
    other.execute("CREATE ROLE reader LOGIN")
    (schema,) = other.execute("SELECT current_schema()").fetchone() or ("",)
    as_reader = url.replace("postgres@", "reader@")
    try:
        assert "no schema of its search path" in str(dict(diagnose(as_reader))["database rights"])
        other.execute(f"GRANT USAGE ON SCHEMA {schema} TO reader".encode())
        assert f"GRANT USAGE, CREATE ON SCHEMA {schema} TO reader" in str(dict(diagnose(as_reader))["database rights"])
        other.execute(f"GRANT CREATE ON SCHEMA {schema} TO reader".encode())
        said = str(dict(diagnose(as_reader))["database rights"])
        assert said.startswith("reader may not read and write counters, schema_migrations")
        other.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO reader".encode())
        assert dict(diagnose(as_reader))["database rights"] is None
    finally:
        other.execute("DROP OWNED BY reader")
        other.execute("DROP ROLE reader")


def test_settings_that_lose_the_database_are_named():
    assert unsafe(SOUND) is None
    assert "set full_page_writes = on in" in str(unsafe(SOUND | {"full_page_writes": "off"}))


@pytest.mark.parametrize(
    ("settings", "standbys", "synchronous", "name", "finding"),
    [
        ({}, 0, 0, "standby: none", None),
        ({}, 2, 0, "standby: 2 asynchronous, so a failover may lose", None),
        ({"synchronous_standby_names": "b"}, 1, 1, "standby: b is synchronous, so a failover loses no", None),
        ({"synchronous_standby_names": "b"}, 1, 0, "standby", "start that standby"),
        ({"synchronous_standby_names": "b", "synchronous_commit": "local"}, 1, 1, "standby", "set synchronous_commit"),
    ],
)
def test_what_a_failover_may_lose_is_said(
    settings: dict[str, str], standbys: int, synchronous: int, name: str, finding: str | None
):
    said, wrong = standby_of(SOUND | settings, standbys, synchronous)
    assert said.startswith(name)
    assert finding is None if wrong is None else finding is not None and finding in wrong


def test_a_server_without_connections_to_spare_is_told(url: str, other: psycopg.Connection):
    (most,) = other.execute("SELECT current_setting('max_connections')::int - 3").fetchone() or (0,)
    (used,) = other.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    ).fetchone() or (0,)
    opened = [psycopg.connect(url) for _ in range(most - used - CONNECTIONS_OF_A_NODE)]
    try:
        assert "raise max_connections" in str(dict(diagnose(url))["connections"])
    finally:
        for connection in opened:
            connection.close()
