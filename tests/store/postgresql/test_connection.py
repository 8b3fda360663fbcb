"""Statements in PostgreSQL's words, what is put off, and where its errors are raised."""

from collections.abc import Callable

import psycopg
import pytest

from djactors.store.errors import StoreError, StoreUnavailable
from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.failures import storage_failure
from djactors.store.postgresql.statements import Kind, insert_of, statement_of
from tests.store.writes import put, stored

INSERT = "INSERT INTO counters (name, value) VALUES (?, ?)"


@pytest.mark.parametrize(
    ("statement", "expected", "names"),
    [
        ("SELECT ?, ?", "SELECT $1, $2", ()),
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ("a", "b")),
        ("SELECT '?', \"a?\", ? -- why?\n, /* ? */ ?", "SELECT '?', \"a?\", $1 -- why?\n, /* ? */ $2", ()),
        ("SELECT 'it''s :a', x::text, :a LIKE '10%'", "SELECT 'it''s :a', x::text, $1 LIKE '10%'", ("a",)),
    ],
)
def test_parameters_are_turned_and_texts_are_left_alone(statement: str, expected: str, names: tuple[str, ...]):
    turned = statement_of(statement)
    assert (turned.text, turned.names) == (expected, names)


def test_parameters_with_names_and_without_do_not_mix():
    with pytest.raises(ValueError, match="with names and without"):
        statement_of("SELECT ?, :a")


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1", Kind.ASKS),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Kind.ASKS),
        ("  -- why\n  insert into a values (1)", Kind.WRITES),
        ("DELETE FROM a WHERE b = ? RETURNING c", Kind.ASKS),
        ("SAVEPOINT command", Kind.SAVES),
        ("ROLLBACK TO command", Kind.UNDOES),
        ("RELEASE command", Kind.WRITES),
        ("ROLLBACK", Kind.ENDS),
        ("-- nothing", Kind.ASKS),
    ],
)
def test_a_statement_is_put_off_if_it_returns_no_rows(statement: str, kind: Kind):
    assert statement_of(statement).kind is kind


def test_values_come_back_as_they_were_bound(connection: PostgresConnection):
    for name, value in (("a", 2**63 - 1), ("b", -1), ("%s 100% ? :a ü\\", 0)):
        connection.execute(INSERT, (name, value))
    rows = connection.execute('SELECT name, value FROM counters ORDER BY name COLLATE "C"').fetchall()
    assert rows == [("%s 100% ? :a ü\\", 0), ("a", 2**63 - 1), ("b", -1)]
    assert connection.execute("SELECT :x, :y, :x", {"x": "one", "y": 2}).fetchone() == ("one", 2, "one")
    total = connection.execute("SELECT sum(value) FROM counters WHERE value < ?", (100,)).fetchone()[0]
    assert (total, type(total)) == (-1, int)


def test_what_returns_nothing_waits_for_what_returns_rows(connection: PostgresConnection, other: psycopg.Connection):
    begun = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'djactors' AND state LIKE 'idle in%'"
    connection.executemany(INSERT, [("a", 1), ("b", 1)])
    put(connection, "c")
    [before] = other.execute(begun)
    assert stored(connection) == {"a", "b", "c"}
    [after] = other.execute(begun)
    assert (before, after) == ((0,), (1,))


def test_what_was_put_off_fails_where_it_is_carried_out(connection: PostgresConnection):
    put(connection, "a")
    connection.execute("SAVEPOINT command")
    put(connection, "a")
    put(connection, "b")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.settle()
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        stored(connection)
    connection.execute("ROLLBACK TO command")
    assert stored(connection) == {"a"}


def test_who_goes_back_to_a_savepoint_never_sends_what_was_put_off_since(connection: PostgresConnection):
    put(connection, "a")
    connection.execute("SAVEPOINT command")
    put(connection, "a")
    connection.execute("ROLLBACK TO command")
    connection.execute("RELEASE command")
    assert stored(connection) == {"a"}


def test_a_savepoint_that_was_made_already_is_gone_back_to(connection: PostgresConnection):
    connection.execute("SAVEPOINT command")
    assert stored(connection) == set()
    put(connection, "a")
    assert stored(connection) == {"a"}
    put(connection, "b")
    connection.execute("ROLLBACK TO command")
    assert stored(connection) == set()


@pytest.mark.parametrize("bad", ["\ud800", "nul \0", object(), b"bytes"])
def test_a_value_that_cannot_be_sent_fails_the_transaction_and_not_only_what_stands_behind(
    connection: PostgresConnection, bad: object
):
    put(connection, "a")
    connection.execute(INSERT, (bad, 1))
    put(connection, "b")
    with pytest.raises((UnicodeEncodeError, psycopg.DataError, psycopg.ProgrammingError)):
        connection.settle()
    with pytest.raises(StoreError, match="went on after one of its statements had failed"):
        connection.commit()


def test_a_text_that_is_none_in_unicode_is_refused_among_many_rows(connection: PostgresConnection):
    with pytest.raises(UnicodeEncodeError):
        connection.insert(INSERT, [("a", 1), ("\ud800", 1)])


@pytest.mark.parametrize("count", [1, 2])
def test_a_nul_in_a_text_is_an_error_of_the_statement(connection: PostgresConnection, count: int):
    connection.insert(INSERT, [(f"nul \0 {number}", 1) for number in range(count)])
    with pytest.raises(psycopg.DataError) as raised:
        connection.settle()
    assert connection.failure_of(raised.value) is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ((2**63, "x", True), "a value of a is no bigint"),
        (("1", "x", True), "a value of a is no bigint"),
        ((1, 2, True), "a value of b is no character varying"),
        ((1, "x", 2), "a value of c is no boolean"),
    ],
)
def test_a_value_that_is_none_of_its_column_is_refused_among_many_rows(
    connection: PostgresConnection, bad: tuple[object, ...], said: str
):
    connection.execute("CREATE TABLE notes (a BIGINT, b VARCHAR(5), c BOOLEAN)")
    with pytest.raises(psycopg.DataError, match=said):
        connection.insert("INSERT INTO notes (a, b, c) VALUES (?, ?, ?)", [(1, "x", True), bad])
    assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_every_row_is_there_once_and_in_order(connection: PostgresConnection, count: int):
    rows = [(f"{1000 - number} \"'\\ü\n", number) for number in range(count)]
    connection.insert(INSERT, rows)
    assert connection.execute("SELECT name, value FROM counters ORDER BY ctid").fetchall() == rows


def test_many_rows_are_inserted_while_the_work_goes_on(connection: PostgresConnection, other: psycopg.Connection):
    assert stored(connection) == set()
    connection.insert(INSERT, [(f"n{number}", number) for number in range(100)])
    connection.start()
    inserting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'djactors' AND query LIKE 'INSERT%unnest%'"
    while not other.execute(inserting).fetchone():
        pass
    put(connection, "last")
    assert connection.execute("SELECT count(*) FROM counters").fetchone() == (101,)


def many(name: str) -> list[tuple[str, int]]:
    """Rows of which the last one is refused if the name is long."""
    return [*((f"n{number}", number) for number in range(100)), (name, 1)]


REFUSED = "too long" * 10


def test_rows_that_are_foreseen_come_with_those_of_the_next_statement(connection: PostgresConnection):
    for _ in range(5):  # they are prepared on the way
        put(connection, "a")
        before = connection.foresee("SELECT name FROM counters WHERE value = ?", (1,))
        connection.execute("DELETE FROM counters")
        none = connection.foresee("SELECT name FROM counters WHERE value = ?", (1,))
        assert connection.execute("SELECT count(*) FROM counters").fetchone() == (0,)
        assert (before.fetchone(), before.fetchall(), list(none)) == (("a",), [], [])


def test_rows_that_are_foreseen_are_fetched_when_nothing_else_is_asked_for(connection: PostgresConnection):
    put(connection, "a")
    assert connection.foresee("SELECT name FROM counters").fetchall() == [("a",)]
    started = connection.foresee("SELECT value FROM counters")
    connection.start()
    assert list(started) == [(1,)]


def test_rows_that_were_undone_never_come(connection: PostgresConnection):
    before = connection.foresee("SELECT 1")
    connection.execute("SAVEPOINT command")
    undone = connection.foresee("SELECT 2")
    connection.execute("ROLLBACK TO command")
    assert before.fetchall() == [(1,)]
    with pytest.raises(StoreError):
        undone.fetchone()


def test_what_is_begun_by_its_rows_is_one_transaction(connection: PostgresConnection, other: psycopg.Connection):
    connection.insert(INSERT, many("a"))
    connection.start()
    connection.insert(INSERT, [("b", 1), ("b", 1)])
    connection.start()
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.commit()
    assert other.execute("SELECT count(*) FROM counters").fetchone() == (0,)


def test_what_fails_behind_the_works_back_is_told_at_the_commit_and_nothing_is_stored(
    connection: PostgresConnection, other: psycopg.Connection
):
    assert stored(connection) == set()
    connection.insert(INSERT, many(REFUSED))
    connection.start()
    connection.insert(INSERT, many("b"))
    connection.start()
    put(connection, "c")
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        connection.commit()
    connection.roll_back()
    assert other.execute("SELECT count(*) FROM counters").fetchone() == (0,)
    connection.begin("BEGIN")
    put(connection, "d")
    connection.commit()
    assert other.execute("SELECT name FROM counters").fetchall() == [("d",)]


@pytest.mark.parametrize("name", ["a", REFUSED])
def test_who_goes_back_to_a_savepoint_hears_nothing_of_what_was_sent_since(connection: PostgresConnection, name: str):
    put(connection, "before")
    connection.execute("SAVEPOINT command")
    assert stored(connection) == {"before"}
    connection.insert(INSERT, many(name))
    connection.start()
    connection.execute("ROLLBACK TO command")
    put(connection, "after")
    assert stored(connection) == {"before", "after"}


@pytest.mark.parametrize("name", ["a", REFUSED])
def test_what_was_sent_already_is_undone(connection: PostgresConnection, other: psycopg.Connection, name: str):
    assert stored(connection) == set()
    connection.insert(INSERT, many(name))
    connection.start()
    assert connection.in_transaction
    connection.roll_back()
    assert not connection.in_transaction
    assert other.execute("SELECT count(*) FROM counters").fetchone() == (0,)


def test_a_node_that_is_frozen_between_two_parts_keeps_its_rows_for_a_while_only(
    connection: PostgresConnection, other: psycopg.Connection
):
    connection.insert(INSERT, many("a"))
    connection.start()
    connection.executemany("SELECT set_config(?, '1ms', true)", [("idle_in_transaction_session_timeout",)])
    connection.insert(INSERT, [(f"m{number}", number) for number in range(100)])
    connection.start()
    while other.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'djactors'").fetchone() != (0,):
        pass
    with pytest.raises(psycopg.Error) as raised:
        connection.commit()
    assert isinstance(connection.failure_of(raised.value), StoreUnavailable)
    assert other.execute("SELECT count(*) FROM counters").fetchone() == (0,)


def test_nothing_is_null_in_many_rows_as_in_one(connection: PostgresConnection):
    connection.execute("CREATE TABLE notes (a BIGINT, b VARCHAR(5), c BOOLEAN)")
    rows = [(None, "x", True), (1, None, False), (2**63 - 1, "", None), (-(2**63), "ü€😀", True)]
    insert = "INSERT INTO notes (a, b, c) VALUES (?, ?, ?)"
    connection.insert(insert, rows)
    for row in rows:
        connection.insert(insert, [row])
    connection.insert(insert, [(None, None, None)] * 2)
    stored_rows = connection.execute("SELECT a, b, c FROM notes").fetchall()
    assert stored_rows == [*rows, *rows, (None, None, None), (None, None, None)]


@pytest.mark.parametrize("count", [1, 3, 100])
def test_what_follows_the_row_holds_for_all_rows(connection: PostgresConnection, count: int):
    upsert = f"{INSERT} ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    for value in (1, 2):
        connection.insert(upsert, [(f"n{number}", value) for number in range(count)])
    assert connection.execute("SELECT value, count(*) FROM counters GROUP BY value").fetchall() == [(2, count)]


def test_an_insert_of_many_rows_is_one_statement():
    insert = insert_of("INSERT INTO t (a, b)\n VALUES (?, ?) ON CONFLICT (a) DO NOTHING")
    assert insert.of_many(["bigint[]", "text[]"]) == (
        "INSERT INTO t (a, b) SELECT unnest($1::bigint[]), unnest($2::text[]) ON CONFLICT (a) DO NOTHING"
    )
    with pytest.raises(ValueError, match="no INSERT of one row"):
        insert_of("UPDATE t SET a = ?")


@pytest.mark.parametrize("count", [1, 2])
def test_a_row_that_is_refused_is_said_so_and_the_savepoint_undoes_the_others(
    connection: PostgresConnection, count: int
):
    connection.execute("SAVEPOINT command")
    connection.insert(INSERT, [*((f"n{number}", 1) for number in range(count - 1)), ("too long" * 10, 1)])
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        connection.settle()
    assert connection.in_transaction
    connection.execute("ROLLBACK TO command")
    assert stored(connection) == set()


def raising(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$"


@pytest.fixture
def error_of(connection: PostgresConnection) -> Callable[[str], Exception]:
    def provoke(state: str) -> Exception:
        connection.execute("SAVEPOINT provoked")
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(raising(state))
        connection.execute("ROLLBACK TO provoked")
        return raised.value

    return provoke


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("40001", "other nodes changed the same rows"),
        ("40P01", "waited for each other's rows"),
        ("55P03", "another node holds the rows"),
        ("08006", "the connection to the database was lost"),
        ("57P01", "the database is stopping"),
        ("57014", "took too long"),
        ("25006", "read-only"),
        ("53100", "the disk of the database is full: free some space"),
        ("53300", "raise its max_connections"),
        ("53400", "out of resources"),
        ("42501", "grant the user"),
        ("XX001", "the database is damaged"),
    ],
)
def test_errors_are_sorted_by_what_to_do_about_them(error_of: Callable[[str], Exception], state: str, said: str):
    failure = storage_failure(error_of(state))
    assert failure is not None
    assert said in str(failure)
    assert state in str(failure)
    assert "\n" not in str(failure)
    assert isinstance(failure, StoreUnavailable) == (state != "XX001")


@pytest.mark.parametrize("state", ["23505", "22P02", "42601", "22001", "XX000"])
def test_the_statements_own_errors_say_nothing_of_the_storage(error_of: Callable[[str], Exception], state: str):
    assert storage_failure(error_of(state)) is None
