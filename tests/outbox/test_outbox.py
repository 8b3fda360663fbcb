"""What is sent is what was committed: each event once, in order, and nothing that was rolled back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from djactors.client import ApiError, UnreachableError
from djactors.domain.events import DomainEvent, NotificationRequested
from djactors.edge.errors import STATUS
from djactors.outbox import Delivered, Outbox, OutboxError
from djactors.outbox._outbox import IMPORT_SECONDS, MAX_FAULTS
from tests.outbox.recording import IMPORTING, LOST, Server, decoded

Connect = Callable[..., Any]
NOT_FOUND = ApiError("not_found", "no such job")
BUSY = ApiError("unavailable", "later")
INTERNAL = ApiError("internal", "the server failed on this")


class WallClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def event(title: str, *, tenant: int = 1, **more: Any) -> DomainEvent:
    return NotificationRequested(
        tenant_id=tenant, user_id=2, notification_type="news", priority="LOW", title=title, **more
    )


def add(connect: Connect, outbox: Outbox, *titles: str, **more: Any) -> None:
    """Add events in one transaction each."""
    with closing(connect()) as connection:
        for title in titles:
            outbox.add(connection, event(title, **more))
            connection.commit()


def deliver(connect: Connect, outbox: Outbox, server: Server, **options: Any) -> Delivered:
    with closing(connect()) as connection:
        return outbox.deliver(connection, server, **options)


def test_only_what_was_committed_is_sent(connect: Connect, outbox: Outbox, server: Server) -> None:
    with closing(connect()) as connection:
        connection.execute("INSERT INTO jobs (id) VALUES (1)")
        outbox.add(connection, event("rolled back"))
        connection.rollback()
        connection.execute("INSERT INTO jobs (id) VALUES (2)")
        key = outbox.add(connection, event("Grüße, 世界"))
        outbox.add(connection.cursor(), event("by a cursor", id="mine"))
        assert deliver(connect, outbox, server) == Delivered(), "nothing is committed yet"
        connection.commit()
    assert deliver(connect, outbox, server) == Delivered(sent=2)
    assert server.titles == ["Grüße, 世界", "by a cursor"]
    assert list(server.recorded) == [key, "mine"]
    assert deliver(connect, outbox, server) == Delivered()
    assert len(server.requests) == 1


def test_an_event_that_the_program_named_is_the_same_event_again(
    connect: Connect, outbox: Outbox, server: Server
) -> None:
    add(connect, outbox, "once", id="order-4711")
    deliver(connect, outbox, server)
    add(connect, outbox, "once", id="order-4711")
    assert deliver(connect, outbox, server).sent == 1
    first, again = (request[0] for request in server.requests)
    assert first == again
    assert "occurredAt" not in decoded(first) or decoded(first)["occurredAt"] is None


def test_an_event_without_a_name_tells_when_it_was_added(connect: Connect, outbox: Outbox, server: Server) -> None:
    add(connect, outbox, "now")
    with closing(connect()) as connection:
        since = outbox.waiting(connection).since
    deliver(connect, outbox, server)
    assert since is not None
    assert decoded(server.requests[0][0])["occurredAt"] == since


def test_an_answer_that_was_lost_causes_no_second_event(connect: Connect, outbox: Outbox, server: Server) -> None:
    add(connect, outbox, "a", "b")

    def lose() -> None:
        server.after = lambda: None
        raise LOST

    server.after = lose
    assert deliver(connect, outbox, server) == Delivered(error=LOST)
    assert deliver(connect, outbox, server) == Delivered(sent=2)
    first, second = server.requests
    assert first == second, "the same bytes"
    assert server.titles == ["a", "b"]


def test_what_the_server_will_never_take_is_held_and_the_rest_goes_on(
    connect: Connect, outbox: Outbox, server: Server
) -> None:
    add(connect, outbox, "a")
    add(connect, outbox, "bad", id="poison")
    add(connect, outbox, "c")
    server.outcomes["poison"] = NOT_FOUND
    assert deliver(connect, outbox, server) == Delivered(sent=2, held=1)
    assert server.titles == ["a", "c"]
    assert deliver(connect, outbox, server) == Delivered()
    with closing(connect()) as connection:
        [held] = outbox.held(connection)
        assert (held.event_id, held.tenant_id, held.error) == ("poison", 1, "not_found: no such job")
        assert decoded(held.body.encode())["title"] == "bad"
        waiting = outbox.waiting(connection)
        assert (waiting.count, waiting.since, waiting.held) == (0, None, 1)
        server.outcomes.clear()
        assert outbox.release(connection, held.number + 1) == 0
        assert outbox.release(connection) == 1
        connection.commit()
    assert deliver(connect, outbox, server) == Delivered(sent=1)
    assert server.titles == ["a", "c", "bad"]


@pytest.mark.parametrize(
    "refusal",
    [
        ApiError("invalid", "no JSON", status=400),
        ApiError("body_too_large", "at most 64 KiB", status=413),
        ApiError("http_413", "not an answer of djactors", status=413),
    ],
)
def test_the_one_event_that_has_a_whole_request_refused_is_found_and_held(
    connect: Connect, outbox: Outbox, server: Server, refusal: ApiError
) -> None:
    add(connect, outbox, "a", "b", "c")
    add(connect, outbox, "bad", id="poison")
    add(connect, outbox, "e")
    server.refused_whole = {"poison": refusal}
    done = Delivered(more=True)
    sent = held = 0
    while done.more:
        done = deliver(connect, outbox, server)
        sent, held = sent + done.sent, held + done.held
    assert (sent, held, done.error) == (4, 1, None)
    assert server.titles == ["a", "b", "c", "e"]


@pytest.mark.parametrize(
    "refusal",
    [
        UnreachableError("no answer"),
        ApiError("unauthorized", "expired", status=401),
        ApiError("forbidden", "no service", status=403),
        ApiError("http_404", "a page of somebody else", status=404),
        ApiError("http_400", "plain HTTP was sent to an HTTPS port", status=400),
        ApiError("too_many_requests", "later", status=429, retry_after=3),
        ApiError("internal", "the server failed", status=500),
    ],
)
def test_nothing_is_held_for_what_is_no_fault_of_an_event(
    connect: Connect, outbox: Outbox, server: Server, refusal: ApiError
) -> None:
    add(connect, outbox, "a", "b")

    def refuse() -> None:
        raise refusal

    server.before = refuse
    assert deliver(connect, outbox, server) == Delivered(error=refusal)
    server.before = lambda: None
    assert deliver(connect, outbox, server) == Delivered(sent=2)
    assert server.titles == ["a", "b"]


def test_an_event_for_which_the_server_is_too_busy_stays(connect: Connect, outbox: Outbox, server: Server) -> None:
    add(connect, outbox, "a")
    add(connect, outbox, "b", id="b")
    server.outcomes["b"] = BUSY
    assert deliver(connect, outbox, server) == Delivered(sent=1, error=BUSY)
    server.outcomes.clear()
    assert deliver(connect, outbox, server) == Delivered(sent=1)


@pytest.mark.parametrize("code", [code for code, status in STATUS.items() if status in (401, 429, 503)])
def test_whatever_passes_holds_no_event(connect: Connect, outbox: Outbox, server: Server, code: str) -> None:
    clock = WallClock()
    outbox = Outbox(outbox.table, now=clock)
    add(connect, outbox, "a", id="a")
    add(connect, outbox, "b")
    server.outcomes["a"] = ApiError(str(code), "not now")
    for _ in range(MAX_FAULTS + 1):
        assert deliver(connect, outbox, server).held == 0
    server.outcomes.clear()
    clock.move(IMPORT_SECONDS)
    assert deliver(connect, outbox, server).sent == 1
    assert set(server.titles) == {"a", "b"}


def test_the_events_of_a_tenant_that_is_being_imported_keep_no_others_waiting(
    connect: Connect, outbox: Outbox, server: Server
) -> None:
    clock = WallClock()
    outbox = Outbox(outbox.table, now=clock)
    for title in "abc":
        add(connect, outbox, title, tenant=7, id=title)
    add(connect, outbox, *"de")
    server.importing = {7}
    assert deliver(connect, outbox, server, limit=2) == Delivered(more=True, error=IMPORTING, importing=1)
    assert deliver(connect, outbox, server, limit=3) == Delivered(sent=2, importing=1)
    assert server.titles == ["d", "e"]

    server.importing.clear()
    clock.move(IMPORT_SECONDS - 1)
    assert deliver(connect, outbox, server) == Delivered(importing=1)
    clock.move(1)
    assert deliver(connect, outbox, server) == Delivered(sent=3)
    assert server.titles == list("deabc")


def test_what_is_refused_for_another_reason_is_told_before_an_import(
    connect: Connect, outbox: Outbox, server: Server
) -> None:
    add(connect, outbox, "a", tenant=7, id="a")
    add(connect, outbox, "b", id="b")
    server.outcomes = {"a": IMPORTING, "b": BUSY}
    assert deliver(connect, outbox, server) == Delivered(error=BUSY, importing=1)


def test_a_clock_that_was_set_back_makes_no_import_longer(connect: Connect, outbox: Outbox, server: Server) -> None:
    clock = WallClock()
    outbox = Outbox(outbox.table, now=clock)
    add(connect, outbox, "a", tenant=7, id="a")
    server.outcomes = {"a": IMPORTING}
    assert deliver(connect, outbox, server).importing == 1
    server.outcomes.clear()
    clock.move(-3600)
    assert deliver(connect, outbox, server) == Delivered(sent=1)


@pytest.mark.parametrize("body", ["", "{", '{"id":"x"},{"id":"y"}', "1],[2", "null", "[]", "[" * 5000, '"\\ud800"'])
def test_a_row_that_somebody_else_has_written_keeps_nobody_waiting(
    connect: Connect, outbox: Outbox, server: Server, body: str
) -> None:
    add(connect, outbox, "a")
    add(connect, outbox, "bad", id="bad")
    add(connect, outbox, "c")
    with closing(connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"UPDATE {outbox.table} SET body = '{body}' WHERE event_id = 'bad'")
        connection.commit()
    done = Delivered(more=True)
    sent = held = 0
    while done.more:
        done = deliver(connect, outbox, server)
        sent, held = sent + done.sent, held + done.held
    assert (sent, held, done.error, server.titles) == (2, 1, None, ["a", "c"])


def test_an_event_on_which_the_server_fails_again_and_again_is_held(
    connect: Connect, outbox: Outbox, server: Server
) -> None:
    add(connect, outbox, "bad", id="poison")
    server.outcomes["poison"] = INTERNAL
    for _ in range(4):
        assert deliver(connect, outbox, server) == Delivered(error=INTERNAL)
    assert deliver(connect, outbox, server) == Delivered(held=1)
    with closing(connect()) as connection:
        assert outbox.held(connection)[0].error.startswith("internal: ")


def test_a_round_is_bounded_and_says_that_there_is_more(connect: Connect, outbox: Outbox, server: Server) -> None:
    add(connect, outbox, *"abcde")
    rounds = [deliver(connect, outbox, server, limit=2) for _ in range(3)]
    assert rounds == [Delivered(sent=2, more=True), Delivered(sent=2, more=True), Delivered(sent=1)]
    assert server.titles == list("abcde")


def test_two_at_once_send_each_event_once(connect: Connect, outbox: Outbox, server: Server, engine: str) -> None:
    add(connect, outbox, *"abc")
    others: list[Delivered] = []

    def meanwhile() -> None:
        server.before = lambda: None
        others.append(deliver(connect, outbox, server))
        add(connect, outbox, "d")

    server.before = meanwhile
    assert deliver(connect, outbox, server).sent == 3
    if engine == "postgresql":
        assert others == [Delivered(is_elsewhere=True)]
        assert len(server.requests) == 1
    assert deliver(connect, outbox, server).sent == 1
    assert server.titles == list("abcd")


def test_the_application_can_write_while_a_request_is_under_way(
    connect: Connect, outbox: Outbox, server: Server
) -> None:
    add(connect, outbox, "a")
    server.before = lambda: add(connect, outbox, "b")
    with closing(connect()) as connection:
        assert outbox.deliver(connection, server) == Delivered(sent=1)


def test_who_commits_late_is_not_passed_over(postgres_url: str, server: Server) -> None:
    outbox = Outbox()
    with psycopg.connect(postgres_url) as early, psycopg.connect(postgres_url) as late:
        outbox.create(early)
        outbox.add(late, event("began first"))
        outbox.add(early, event("committed first"))
        early.commit()
        assert deliver(lambda: psycopg.connect(postgres_url), outbox, server).sent == 1
        late.commit()
        assert deliver(lambda: psycopg.connect(postgres_url), outbox, server).sent == 1
    assert server.titles == ["committed first", "began first"]


def test_a_transaction_is_needed(connect: Connect, outbox: Outbox, engine: str) -> None:
    mode = {"isolation_level": None} if engine == "sqlite" else {"autocommit": True}
    with closing(connect(**mode)) as connection:
        with pytest.raises(OutboxError, match="autocommit mode and in no transaction"):
            outbox.add(connection, event("a"))
        with pytest.raises(OutboxError, match="autocommit mode and in no transaction"):
            outbox.add(connection.cursor(), event("a"))
        connection.execute("BEGIN")
        outbox.add(connection, event("a"))
        connection.execute("COMMIT")
        assert outbox.waiting(connection).count == 1


def test_only_a_connection_of_its_own_is_delivered_from(
    connect: Connect, outbox: Outbox, server: Server, engine: str
) -> None:
    with closing(connect()) as connection:
        outbox.add(connection, event("a"))
        with pytest.raises(OutboxError, match="open transaction"):
            outbox.deliver(connection, server)
        connection.commit()
    mode = {"isolation_level": None} if engine == "sqlite" else {"autocommit": True}
    with closing(connect(**mode)) as connection:
        if engine == "postgresql":
            with pytest.raises(OutboxError, match="autocommit"):
                outbox.deliver(connection, server)
        else:
            assert outbox.deliver(connection, server).sent == 1


def test_a_connection_that_was_closed_is_the_drivers_to_complain_of(
    connect: Connect, outbox: Outbox, server: Server, engine: str
) -> None:
    connection = connect()
    connection.close()
    for use in (lambda: outbox.add(connection, event("a")), lambda: outbox.deliver(connection, server)):
        with pytest.raises(sqlite3.Error if engine == "sqlite" else psycopg.Error, match="closed"):
            use()


def test_rows_may_be_anything_that_a_driver_offers(
    connect: Connect, outbox: Outbox, server: Server, engine: str
) -> None:
    add(connect, outbox, "a", "b")
    with closing(connect()) as connection:
        connection.row_factory = sqlite3.Row if engine == "sqlite" else dict_row
        assert outbox.waiting(connection).count == 2
        assert outbox.deliver(connection, server).sent == 2


def test_reading_leaves_no_transaction_and_ends_none(connect: Connect, outbox: Outbox, server: Server) -> None:
    with closing(connect()) as connection:
        outbox.held(connection)
        assert deliver(connect, outbox, server) == Delivered()
        outbox.add(connection, event("a"))
        assert outbox.waiting(connection).count == 1
        connection.commit()
        assert outbox.deliver(connection, server).sent == 1


def test_the_statement_for_other_drivers_does_the_same(
    connect: Connect, outbox: Outbox, server: Server, engine: str
) -> None:
    with closing(connect()) as connection:
        connection.execute(*outbox.insert(event("a"), "qmark" if engine == "sqlite" else "format"))
        connection.commit()
    assert deliver(connect, outbox, server).sent == 1
    text, values = outbox.insert(event("b"), "numeric_dollar")
    assert "VALUES ($1, $2, $3, $4, $5, $6)" in text
    assert len(values) == 6


class Pooled:
    """A connection as SQLAlchemy's pool lends it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.dbapi_connection = connection


def test_a_connection_of_a_pool_is_as_good_as_the_drivers() -> None:
    outbox = Outbox("own.events")
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("ATTACH ':memory:' AS own")
        outbox.create(Pooled(connection))
        outbox.add(Pooled(connection), event("a"))
        assert outbox.waiting(Pooled(connection)).count == 1


REFUSED = ["", "a b", 'a"', "a;b", "1a", "a.b.c", "a" * 56, "ä", "a\n", "a\0", "sqlite_a", "SQLite_a", "x.sqlite_a"]


@pytest.mark.parametrize("name", [*REFUSED, None, 7, b"a"])
def test_a_name_that_no_database_takes_is_refused(name: Any) -> None:
    with pytest.raises(OutboxError, match="table: "):
        Outbox(name)


@pytest.mark.parametrize("name", ["select", "order", "Table", "user", "index", "abort", "all", "rowid", "a" * 55, "_"])
def test_a_keyword_is_a_name_like_any_other(connect: Connect, engine: str, server: Server, name: str) -> None:
    outbox = Outbox(name)
    with closing(connect()) as connection:
        outbox.create(connection)
        outbox.create(connection)
    add(connect, outbox, "a", "b")
    with closing(connect()) as connection:
        server.outcomes = {outbox.add(connection, event("c")): NOT_FOUND}
        sql, values = outbox.insert(event("d"), "qmark" if engine == "sqlite" else "format")
        connection.execute(sql, values)
        connection.commit()
    assert deliver(connect, outbox, server).sent == 3
    with closing(connect()) as connection:
        assert [held.error for held in outbox.held(connection)] == [str(NOT_FOUND)]
        assert outbox.release(connection) == 1
        connection.commit()
        assert outbox.waiting(connection).count == 1


def test_a_table_that_was_made_by_its_name_without_quotes_is_still_found(connect: Connect, engine: str) -> None:
    outbox = Outbox("MyEvents")
    with closing(connect()) as connection:
        made = (
            outbox.ddl("sqlite" if engine == "sqlite" else "postgresql")
            .replace('"myevents', "MyEvents")
            .replace('"', "")
        )
        for statement in made.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        outbox.add(connection, event("a"))
        outbox.create(connection)
        assert outbox.waiting(connection).count == 1


@pytest.mark.parametrize("given", [object(), None, "postgresql://"])
def test_what_is_no_connection_is_refused(given: object) -> None:
    with pytest.raises(OutboxError, match="is not known: give a connection"):
        Outbox().add(given, event("a"))


def test_an_async_connection_is_told_of_the_other_way() -> None:
    connection = psycopg.AsyncConnection.__new__(psycopg.AsyncConnection)
    with pytest.raises(OutboxError, match=r"execute what `Outbox\.insert` returns"):
        Outbox().add(connection, event("a"))


def test_an_event_that_the_server_would_refuse_is_refused_at_once(connect: Connect, outbox: Outbox) -> None:
    with closing(connect()) as connection:
        with pytest.raises(ApiError, match="title"):
            outbox.add(connection, event(""))
        assert outbox.waiting(connection).count == 0
