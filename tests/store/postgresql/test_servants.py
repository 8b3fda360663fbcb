"""What is run again, what is told, and how a lost connection is made anew. The other side is a real connection."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from djactors.store.connection import Connection
from djactors.store.errors import StoreBroken, StoreError, StoreUnavailable
from djactors.store.postgresql import servants, session
from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.servants import TRIES, Reader, Writer
from djactors.store.postgresql.session import Comebacks, writing_begins
from djactors.store.threads import Call, Report
from tests.store.writes import IMPATIENT, on_disk, put, putting, stored

Work = Callable[[Connection], Any]

END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'djactors'"
END_SELF = "SELECT pg_terminate_backend(pg_backend_pid())"
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '40001'; END $$"


def run(servant: Writer | Reader, work: Work) -> tuple[Call[Any], Report]:
    call = Call(work)
    report = servant.run([call])
    servant.after()
    return call, report


def done(servant: Writer | Reader, work: Work) -> Any:
    call, report = run(servant, work)
    assert call.error is None
    assert report.items == 1
    return call.value


def refused(servant: Writer | Reader, work: Work) -> BaseException:
    call, report = run(servant, work)
    assert report.failed == 1
    assert call.error is not None
    return call.error


def add(connection: Connection) -> None:
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'a'")


def value(connection: Connection) -> int:
    return int(connection.execute("SELECT value FROM counters WHERE name = 'a'").fetchone()[0])


def test_a_row_that_another_node_holds_is_waited_for_and_the_work_run_again(writing: Callable[..., Writer], url: str):
    writer = writing(lock_timeout=IMPATIENT)
    done(writer, putting("a"))
    undone: list[int] = []
    with psycopg.connect(url) as other:
        other.execute("UPDATE counters SET value = 10 WHERE name = 'a'")

        def note() -> None:
            undone.append(len(undone))
            if len(undone) == 2:
                other.commit()

        writer.on_rollback = note
        done(writer, add)
    assert undone == [0, 1]
    assert writer.retries == 2
    assert done(writer, value) == 11


def test_a_row_that_stays_held_is_given_up_after_some_tries(writing: Callable[..., Writer], url: str):
    writer = writing(lock_timeout=IMPATIENT)
    done(writer, putting("a"))
    runs: list[int] = []

    def counted(connection: Connection) -> None:
        runs.append(1)
        add(connection)

    with psycopg.connect(url) as other:
        other.execute("UPDATE counters SET value = 10 WHERE name = 'a'")
        error = refused(writer, counted)
        other.rollback()
    assert isinstance(error, StoreUnavailable)
    assert "another node holds the rows" in str(error)
    assert len(runs) == TRIES
    assert run(writer, add)[1] == Report(1, 0)


def test_a_transaction_that_cannot_be_put_in_an_order_is_run_again(writer: Writer):
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        put(connection, "a")
        if len(runs) == 1:
            connection.execute(RAISE)

    done(writer, work)
    assert (len(runs), done(writer, stored)) == (2, {"a"})


def test_a_deadlock_is_ended_and_the_victim_runs_again(writer: Writer, url: str, other: psycopg.Connection):
    for name in ("a", "b"):
        done(writer, putting(name))
    begun, waits = threading.Event(), threading.Event()
    runs: list[int] = []

    def hold_b_and_want_a() -> None:
        with psycopg.connect(url) as second:
            # The writer is the one that looks for the deadlock.
            second.execute("SET LOCAL deadlock_timeout = '1h'")
            second.execute("UPDATE counters SET value = 20 WHERE name = 'b'")
            begun.set()
            waits.wait()
            second.execute("UPDATE counters SET value = 20 WHERE name = 'a'")

    thread = threading.Thread(target=hold_b_and_want_a)
    thread.start()

    def work(connection: Connection) -> None:
        runs.append(1)
        if len(runs) == 1:
            connection.execute("SET LOCAL deadlock_timeout = '1ms'")
            begun.wait()
        add(connection)
        connection.settle()
        if len(runs) == 1:
            waits.set()
            while other.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                pass
        connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'b'")

    done(writer, work)
    thread.join()
    assert len(runs) == 2
    assert done(writer, value) == 21


def test_a_row_that_another_node_made_meanwhile_is_found_in_the_next_run(writer: Writer, other: psycopg.Connection):
    runs: list[int] = []

    def put_if_missing(connection: Connection) -> str:
        runs.append(1)
        if stored(connection):
            return "found"
        if len(runs) == 1:
            other.execute("INSERT INTO counters (name, value) VALUES ('a', 1)")
        return put(connection, "a")

    assert done(writer, put_if_missing) == "found"


def test_a_row_that_is_really_there_already_is_the_works_own_error(writer: Writer):
    done(writer, putting("a"))
    assert isinstance(refused(writer, putting("a")), psycopg.errors.UniqueViolation)
    assert writer.retries == servants.DUPLICATE_TRIES - 1


def test_work_that_goes_on_after_a_failed_statement_commits_nothing(writer: Writer):
    def careless(connection: Connection) -> None:
        put(connection, "a")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")

    error = refused(writer, careless)
    assert type(error) is StoreError
    assert "went on after one of its statements had failed" in str(error)
    assert done(writer, stored) == set()


def test_a_connection_that_was_lost_meanwhile_is_made_anew(writer: Writer, other: psycopg.Connection):
    seen: list[str] = []
    writer.on_others_wrote = lambda: seen.append("others wrote")
    done(writer, putting("a"))
    assert seen == []
    other.execute(END_OTHERS)

    def fail(connection: Connection) -> None:
        seen.append(",".join(stored(connection)))
        raise ValueError("mine alone")

    assert isinstance(refused(writer, fail), ValueError)
    done(writer, lambda connection: seen.append(put(connection, "b")))
    done(writer, lambda connection: seen.append(put(connection, "c")))
    # In each transaction on the new connection, before the work, until one is committed.
    assert seen == ["others wrote", "a", "others wrote", "b", "c"]


def test_work_whose_connection_is_lost_before_the_commit_is_run_again(writer: Writer, other: psycopg.Connection):
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        put(connection, f"run {len(runs)}")
        connection.settle()
        if len(runs) == 1:
            other.execute(END_OTHERS)
        stored(connection)

    done(writer, work)
    assert done(writer, stored) == {"run 2"}


def test_work_that_loses_every_connection_is_given_up(writer: Writer):
    error = refused(writer, lambda connection: connection.execute(END_SELF))
    assert isinstance(error, StoreUnavailable)
    assert "to end the connection" in str(error)
    done(writer, putting("a"))


def test_a_commit_whose_answer_is_lost_is_not_run_again(writer: Writer):
    """Nobody knows whether it was stored, so that running it again might store it twice."""
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        connection.execute(
            "CREATE FUNCTION pg_temp.leave() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON counters "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.leave()"
        )
        put(connection, "a")

    error = refused(writer, work)
    assert isinstance(error, StoreUnavailable)
    assert "may have been stored" in str(error)
    assert runs == [1]
    assert done(writer, stored) == set()


def test_a_node_that_stands_still_in_a_transaction_keeps_others_waiting_for_bounded_time(
    writing: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(session, "IDLE_TIMEOUT", 0.05)
    frozen = writing()
    monkeypatch.undo()
    alive = writing()
    done(alive, putting("a"))
    runs: list[int] = []

    def stand_still(connection: Connection) -> None:
        runs.append(1)
        add(connection)
        connection.settle()
        if len(runs) == 1:
            # It has the row. It does not go on until the other one has got it.
            done(alive, add)

    done(frozen, stand_still)
    assert done(alive, value) == 3
    assert len(runs) == 2


def refuse(*_: object, **__: object) -> PostgresConnection:
    raise psycopg.OperationalError("connection refused")


def test_while_the_server_is_away_attempts_to_connect_grow_rare(
    url: str, monkeypatch: pytest.MonkeyPatch, other: psycopg.Connection
):
    now = 0.0
    attempts: list[float] = []

    def attempt(*_: object, **__: object) -> PostgresConnection:
        attempts.append(now)
        return refuse()

    writer = Writer(Conninfo.of(url), lambda: 0.0, monotonic=lambda: now)
    writer.open()
    with monkeypatch.context() as away:
        away.setattr(session, "connect", attempt)
        other.execute(END_OTHERS)
        for tenths in range(200):
            now = tenths / 10
            error = refused(writer, stored)
            assert isinstance(error, StoreUnavailable)
            assert "connection refused" in str(error)
    assert attempts == pytest.approx([0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3, 16.3], abs=0.11)
    now = 30.0
    assert done(writer, putting("b")) == "b"
    assert done(writer, stored) == {"b"}
    writer.close()


def test_one_servant_that_reaches_the_server_again_spares_the_others_their_wait(
    url: str, monkeypatch: pytest.MonkeyPatch, other: psycopg.Connection
):
    comebacks = Comebacks()
    writer = Writer(Conninfo.of(url), lambda: 0.0, monotonic=lambda: 0.0, comebacks=comebacks)
    reader = Reader(Conninfo.of(url), monotonic=lambda: 0.0, comebacks=comebacks)
    writer.open()
    reader.open()
    with monkeypatch.context() as away:
        away.setattr(session, "connect", lambda *_, **__: refuse())
        other.execute(END_OTHERS)
        for _ in range(2):
            assert isinstance(refused(reader, stored), StoreUnavailable)
    # No time has passed, so the reader by itself would not try.
    assert isinstance(refused(reader, stored), StoreUnavailable)
    assert done(writer, stored) == set()
    assert done(reader, stored) == set()
    writer.close()
    reader.close()


def test_a_server_that_does_not_answer_is_given_up(writing: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "ANSWER_TIMEOUT", IMPATIENT)
    writer = writing()
    monkeypatch.undo()
    runs: list[int] = []

    def wait(connection: Connection) -> None:
        runs.append(1)
        put(connection, "a")
        if len(runs) == 1:
            connection.execute("SELECT pg_sleep(0.2)")

    done(writer, wait)
    assert len(runs) == 2
    assert done(writer, stored) == {"a"}


def test_a_database_that_turned_read_only_is_left_for_the_one_that_takes_writes(writer: Writer):
    runs: list[int] = []

    def work(connection: Connection) -> None:
        runs.append(1)
        if len(runs) == 1:
            connection.execute("SET TRANSACTION READ ONLY")
        put(connection, "a")

    seen: list[str] = []
    writer.on_others_wrote = lambda: seen.append("others wrote")
    done(writer, work)
    assert (len(runs), seen) == (2, ["others wrote"])


def test_a_read_only_server_is_refused_at_the_start(url: str):
    writer = Writer(Conninfo.of(f"{url}%20-cdefault_transaction_read_only%3Don"), lambda: 0.0)
    with pytest.raises(StoreUnavailable, match="read-only: name the primary server"):
        writer.open()


def test_a_database_that_was_never_migrated_is_refused(postgres_url: str):
    for servant in (Writer(Conninfo.of(postgres_url), lambda: 0.0), Reader(Conninfo.of(postgres_url))):
        with pytest.raises(StoreBroken, match="never migrated: run the migrations"):
            servant.open()


def test_a_commit_that_is_acknowledged_is_on_the_disk_whatever_the_servers_default_is(url: str):
    query = "SELECT current_setting('synchronous_commit')"
    for default, used in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        writer = Writer(Conninfo.of(f"{url}%20-csynchronous_commit%3D{default}"), lambda: 0.0)
        writer.open()
        assert done(writer, lambda connection: connection.execute(query).fetchone()) == (used,)
        writer.close()


def test_a_transaction_sets_what_it_needs_for_itself_only(writer: Writer):
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")

    def settings(connection: Connection) -> list[str]:
        return [connection.execute(f"SHOW {name}").fetchone()[0] for name in names]

    assert done(writer, settings) == ["2s", "30s", "3s"]
    connection = writer.connected()
    connection.begin("BEGIN")
    assert settings(connection) == ["0", "0", "0"]
    connection.roll_back()
    assert "'1ms'" in writing_begins(0)[1], "0 would be no limit at all"


def test_readers_see_one_moment_for_all_calls_of_a_batch(reader: Reader, other: psycopg.Connection):
    def write_between(connection: Connection) -> set[str]:
        seen = stored(connection)
        other.execute("INSERT INTO counters (name, value) VALUES ('a', 1)")
        return seen

    calls = [Call(write_between), Call(stored)]
    assert reader.run(calls) == Report(2, 0)
    assert [call.value for call in calls] == [set(), set()]
    reader.after()
    assert done(reader, stored) == {"a"}


def test_a_read_that_fails_leaves_the_others_of_its_batch_alone(reader: Reader):
    works: list[Work] = [
        stored,
        putting("a"),
        stored,
        lambda connection: connection.execute("SELECT * FROM no"),
        stored,
    ]
    calls = [Call(work) for work in works]
    report = reader.run(calls)
    assert (report.items, report.failed, report.error) == (3, 2, None)
    assert [call.value for call in calls] == [set(), None, set(), None, set()]
    assert isinstance(calls[1].error, psycopg.errors.ReadOnlySqlTransaction)
    assert isinstance(calls[3].error, psycopg.errors.UndefinedTable)


def test_a_reader_whose_connection_was_lost_reads_on_another(
    reader: Reader, other: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
):
    other.execute(END_OTHERS)
    assert done(reader, stored) == set()
    other.execute(END_OTHERS)
    monkeypatch.setattr(session, "connect", refuse)
    error = refused(reader, stored)
    assert isinstance(error, StoreUnavailable)
    assert "connection refused" in str(error)


def test_statements_that_a_pooler_mixes_up_are_prepared_no_more(writer: Writer, reader: Reader):
    """Behind a pooler a transaction may get a connection on which nothing was prepared."""
    prepared = "SELECT count(*) FROM pg_prepared_statements"

    def count(connection: Connection) -> int:
        return int(connection.execute(prepared).fetchone()[0])

    for servant in (writer, reader):
        for _ in range(10):
            done(servant, stored)
        assert done(servant, count) > 0
        # The connection does not notice this, as it would not notice another connection.
        done(servant, lambda connection: connection.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$"))
        assert done(servant, stored) == set()
        for _ in range(10):
            done(servant, stored)
        assert done(servant, count) == 0


def test_who_owns_the_connection_is_told_to_the_server(writer: Writer, url: str):
    assert done(writer, lambda connection: connection.execute("SHOW application_name").fetchone()) == ("djactors",)
    assert on_disk(url) == set()
