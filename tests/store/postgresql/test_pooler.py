"""Behind a pooler that gives each transaction another connection: PgBouncer in transaction mode."""

from collections.abc import Iterator

import psycopg
import pytest

from djactors.store.connection import Connection
from djactors.store.database import Database
from djactors.store.engines import engine_at
from djactors.store.migrations import utc_now
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.servants import Writer
from djactors.store.threads import Call
from tests.environment.pooler import running_pooler
from tests.store.writes import COUNTERS, putting, stored

PID = "SELECT pg_backend_pid()"


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[str]:
    """A database behind a pooler with two connections to it."""
    with running_pooler(postgres_url, size=2) as pooled:
        assert engine_at(pooled).apply(COUNTERS, utc_now)
        yield pooled


def done(writer: Writer, work: object) -> object:
    call = Call(work)  # type: ignore[arg-type]
    writer.run([call])
    assert call.error is None
    return call.value


def pid(connection: Connection) -> int:
    return int(connection.execute(PID).fetchone()[0])


def test_a_statement_that_was_prepared_on_another_connection_is_run_again_unprepared(pooled: str):
    writer = Writer(Conninfo.of(pooled), lambda: 0.0)
    writer.open()
    for _ in range(10):
        before = done(writer, pid)
    assert done(writer, lambda c: c.execute("SELECT count(*) > 0 FROM pg_prepared_statements").fetchone()) == (True,)
    assert writer.retries == 0
    with psycopg.connect(pooled, prepare_threshold=None) as other:
        # The pooler gives away the connection first that was used last.
        assert other.execute(PID).fetchone() == (before,)
        assert done(writer, pid) != before
        assert writer.retries == 1
        for number in range(10):
            done(writer, putting(f"n{number}"))
    assert writer.retries == 1
    assert len(done(writer, stored)) == 10  # type: ignore[arg-type]
    writer.close()


def test_what_a_transaction_sets_does_not_reach_the_others(pooled: str):
    writer = Writer(Conninfo.of(pooled), lambda: 0.0)
    writer.open()
    assert done(writer, lambda c: c.execute("SHOW lock_timeout").fetchone()) == ("2s",)
    with psycopg.connect(pooled, prepare_threshold=None) as other:
        assert other.execute("SHOW lock_timeout").fetchone() == ("0",)
    writer.close()


def test_what_is_sent_in_parts_stays_one_transaction_of_one_connection(pooled: str):
    writer = Writer(Conninfo.of(pooled), lambda: 0.0)
    writer.open()

    def work(connection: Connection) -> set[int]:
        pids = {pid(connection)}
        for part in range(3):
            rows = [(f"{part} {number}", 1) for number in range(100)]
            connection.insert("INSERT INTO counters (name, value) VALUES (?, ?)", rows)
            connection.start()
        return pids | {pid(connection)}

    for _ in range(5):
        assert len(done(writer, work)) == 1  # type: ignore[arg-type]
        assert len(done(writer, stored)) == 300  # type: ignore[arg-type]
        done(writer, lambda connection: connection.execute("DELETE FROM counters"))
    writer.close()


async def test_several_databases_of_threads_share_the_connections_of_a_pooler(pooled: str):
    async with await Database.open(pooled) as one, await Database.open(pooled) as other:
        for number in range(20):
            await one.write(putting(f"one {number}"))
            await other.write(putting(f"other {number}"))
            assert len(await one.read(stored)) == len(await other.read(stored)) == 2 * (number + 1)
        assert one.statistics().failed == other.statistics().failed == 0
