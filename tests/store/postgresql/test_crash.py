"""A server that crashes and comes back."""

import os
import signal
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from bench.postgres import running_postgres
from djactors.store.connection import Connection
from djactors.store.engines import engine_at
from djactors.store.errors import StoreUnavailable
from djactors.store.migrations import utc_now
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.servants import Reader, Writer
from djactors.store.threads import Call
from tests.store.writes import COUNTERS, putting, stored


@pytest.fixture
def own_url() -> Iterator[str]:
    """A database of a server of its own."""
    with running_postgres() as dsn:
        server = conninfo_to_dict(dsn)
        url = f"postgresql://{server['user']}@{quote(str(server['host']), safe='')}/{server['dbname']}"
        engine_at(url).apply(COUNTERS, utc_now)
        yield url


def test_what_was_acknowledged_is_there_after_a_crash_and_everything_goes_on(own_url: str):
    attempts = iter(range(0, 10**9, 10))
    writer = Writer(Conninfo.of(own_url), lambda: 0.0, monotonic=lambda: float(next(attempts)))
    reader = Reader(Conninfo.of(own_url), monotonic=lambda: float(next(attempts)))
    writer.open()
    reader.open()
    told: list[str] = []
    writer.on_others_wrote = lambda: told.append("others wrote")
    assert writer.run([Call(putting("before"))]).items == 1

    def crash(connection: Connection) -> None:
        """The server ends all connections and recovers when one of its processes is killed."""
        if not told:
            told.append("crash")
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
            os.kill(pid, signal.SIGKILL)
        stored(connection)
        connection.execute("INSERT INTO counters (name, value) VALUES ('after', 1)")

    call = Call(crash)
    while writer.run([call]).items == 0:
        assert isinstance(call.error, StoreUnavailable)
        call = Call(crash)
    assert set(told) == {"crash", "others wrote"}
    reading = Call(stored)
    while reader.run([reading]).items == 0:
        assert isinstance(reading.error, StoreUnavailable)
        reading = Call(stored)
    assert reading.value == {"before", "after"}
    writer.close()
    reader.close()
