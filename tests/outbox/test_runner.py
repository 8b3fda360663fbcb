"""The runner goes on whatever the server and the database do, waits as long as it should, and ends when it is told to.

Time is the fake event's, which passes only while the runner waits.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from djactors.client import ApiError, Client, UnreachableError
from djactors.domain.events import NotificationRequested
from djactors.outbox import Delivered, Outbox, Runner, Stopped, client_for
from tests.outbox.recording import IMPORTING, LOST, Server

PATIENCE = 30
AWAY = ApiError("unavailable", "later", status=503)


def news(title: str, tenant: int = 1) -> NotificationRequested:
    return NotificationRequested(tenant_id=tenant, user_id=2, notification_type="news", priority="LOW", title=title)


class Stop(threading.Event):
    """Notes how long is waited, and is set after so many waits. Each wait may have something happen."""

    def __init__(self, waits: int, happening: dict[int, Callable[[], None]] | None = None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.now = 0.0
        self._left = waits
        self._happening = happening or {}

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        self._happening.get(len(self.waits), lambda: None)()
        if len(self.waits) >= self._left:
            self.set()
        return self.is_set()


class App:
    """A program with an outbox in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outbox = Outbox()
        self.connects = 0
        self.broken: list[sqlite3.Error] = []
        with closing(sqlite3.connect(path)) as connection:
            self.outbox.create(connection)

    def connect(self) -> sqlite3.Connection:
        self.connects += 1
        if self.broken:
            raise self.broken.pop(0)
        return sqlite3.connect(self.path)

    def add(self, *titles: str, tenant: int = 1) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for title in titles:
                self.outbox.add(connection, news(title, tenant))

    def runner(self, server: Any, stop: Stop, **options: Any) -> Runner:
        options = {"errors": (sqlite3.Error,), "random": lambda: 0.0, "now": lambda: stop.now, **options}
        return Runner(self.connect, server, self.outbox, stop=stop, **options)


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path / "app.db")


@pytest.fixture
def server() -> Server:
    return Server()


def fail_with(server: Server, *errors: Exception) -> None:
    """Have the next requests fail."""
    left = list(errors)

    def before() -> None:
        if left:
            raise left.pop(0)

    server.before = before


def test_what_is_added_meanwhile_is_sent_at_the_next_look(app: App, server: Server) -> None:
    stop = Stop(3, {1: lambda: app.add("a", "b"), 2: lambda: app.add("c")})
    app.runner(server, stop, every=2).run()
    assert server.titles == ["a", "b", "c"]
    assert stop.waits == [2, 2, 2]
    assert app.connects == 1


def test_a_full_round_is_followed_by_the_next_one_at_once(app: App, server: Server) -> None:
    app.add(*(str(number) for number in range(501)))
    stop = Stop(2)
    app.runner(server, stop).run()
    assert len(server.recorded) == 501
    assert stop.waits == [0, 0.5]


def test_waits_grow_while_the_server_is_away_and_begin_anew(app: App, server: Server) -> None:
    app.add("a")
    fail_with(server, *[AWAY] * 9)
    stop = Stop(10)
    app.runner(server, stop).run()
    assert stop.waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 0.5]
    assert server.titles == ["a"]


def test_waits_are_spread(app: App, server: Server) -> None:
    app.add("a")
    fail_with(server, AWAY)
    stop = Stop(2)
    app.runner(server, stop, random=lambda: 1.0).run()
    assert stop.waits == [0.25, 0.25]


@pytest.mark.parametrize(("asked", "waited"), [(30.0, 30.5), (10_000_000.0, 3600.5)])
def test_the_wait_that_the_server_asks_for_is_honoured(app: App, server: Server, asked: float, waited: float) -> None:
    app.add("a")
    fail_with(server, ApiError("too_many_requests", "later", status=429, retry_after=asked))
    stop = Stop(2)
    app.runner(server, stop).run()
    assert stop.waits == [waited, 0.5]


def test_a_database_that_was_away_is_connected_to_again(
    app: App, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    app.add("a")
    app.broken = [sqlite3.OperationalError("unable to open database file")] * 2
    with caplog.at_level(logging.INFO, "djactors.outbox"):
        app.runner(server, Stop(3)).run()
    assert server.titles == ["a"]
    assert app.connects == 3
    assert [record.getMessage() for record in caplog.records] == [
        "the database of the outbox: unable to open database file; what waits is kept and tried again",
        "the outbox is delivered again",
    ]


def test_a_file_that_is_locked_when_the_answer_is_there_costs_a_repetition(app: App, server: Server) -> None:
    app.add("a")
    with closing(sqlite3.connect(app.path, isolation_level=None)) as other:
        server.after = lambda: (other.execute("BEGIN IMMEDIATE"), None)[1]

        def let_go() -> None:
            other.execute("ROLLBACK")
            server.after = lambda: None

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(app.path, timeout=0)

        stop = Stop(2, {1: let_go})
        Runner(connect, server, app.outbox, errors=(sqlite3.Error,), stop=stop).run()
    assert server.titles == ["a"]
    assert len(server.requests) == 2


def test_any_other_exception_is_a_fault_and_is_not_hidden(app: App, server: Server) -> None:
    app.add("a")
    fail_with(server, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        app.runner(server, Stop(2)).run()


def test_a_trouble_is_logged_when_it_begins_and_every_few_minutes(
    app: App, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    app.add("a")
    fail_with(server, *[UnreachableError("no answer within 10 s")] * 12, AWAY)
    with caplog.at_level(logging.INFO, "djactors.outbox"):
        app.runner(server, Stop(14)).run()
    assert [record.getMessage().partition(":")[2].partition(";")[0] for record in caplog.records] == [
        " no answer within 10 s",
        " no answer within 10 s",
        " unavailable: later",
        "",
    ]


def test_held_events_are_logged_as_errors(app: App, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    app.add("a")
    fail_with(server, ApiError("invalid", "no JSON", status=400))
    app.runner(server, Stop(1)).run()
    [record] = caplog.records
    assert (record.levelname, record.getMessage()[:17]) == ("ERROR", "1 events are held")


def test_until_nothing_waits(app: App, server: Server) -> None:
    app.add(*(str(number) for number in range(501)))
    assert app.runner(server, Stop(0)).run_until_empty() == Delivered(sent=501)
    app.add("a")
    fail_with(server, LOST)
    assert app.runner(server, Stop(0)).run_until_empty() == Delivered(error=LOST)


def test_an_import_of_one_tenant_slows_nobody_down(app: App, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    app.add(*(str(number) for number in range(501)), tenant=7)
    app.add("mine")
    server.importing = {7}
    stop = Stop(3, {2: lambda: app.add("mine, later")})
    with caplog.at_level(logging.INFO, "djactors.outbox"):
        app.runner(server, stop).run()
    assert server.titles == ["mine", "mine, later"]
    assert stop.waits == [0, 0.5, 0.5]
    [record] = caplog.records
    assert record.getMessage().startswith("events wait until their tenants are imported (tenants: 1)")


def test_until_nothing_waits_but_for_an_import(app: App, server: Server) -> None:
    app.add(*(str(number) for number in range(501)), tenant=7)
    app.add("mine")
    server.importing = {7}
    done = app.runner(server, Stop(0)).run_until_empty()
    assert (done.sent, str(done.error), done.importing) == (1, str(IMPORTING), 1)


def test_one_that_stands_by_looks_less_often(app: App) -> None:
    class Elsewhere(Outbox):
        def deliver(self, *_: Any, **__: Any) -> Delivered:
            return Delivered(is_elsewhere=True)

    app.outbox = Elsewhere()
    stop = Stop(2)
    app.runner(Server(), stop).run()
    assert stop.waits == [5, 5]


def test_who_is_told_to_stop_waits_for_no_other_attempt(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    app.add("a")
    stop = Stop(1)

    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, headers={"Retry-After": "5"})

    def client(*args: Any, **options: Any) -> Client:
        return Client(*args, **options, transport=httpx.MockTransport(refuse))

    monkeypatch.setattr("djactors.client.Client", client)
    runner = app.runner(client_for("http://notify.test", "t", stop), stop)
    runner.run()
    assert len(stop.waits) == 1, "the client's own wait, which the end cut short"
    with pytest.raises(Stopped):
        client_for("http://notify.test", "t", stop).publish_json([b'{"id": "a"}'])
    with closing(sqlite3.connect(app.path)) as connection:
        assert app.outbox.waiting(connection).count == 1


def test_an_answer_that_cannot_be_read_is_a_trouble_that_passes(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Garbled(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b"garbled"

    def garbled(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Garbled())

    def unusual(request: httpx.Request) -> httpx.Response:
        raise httpx.TooManyRedirects("round and round")

    def good(request: httpx.Request) -> httpx.Response:
        result = {"eventId": 1, "seq": 1, "notifications": [], "suppressed": []}
        return httpx.Response(200, json={"results": [result]})

    answers = [garbled, unusual, good]

    def client(*args: Any, **options: Any) -> Client:
        return Client(*args, **options, transport=httpx.MockTransport(lambda request: answers.pop(0)(request)))

    monkeypatch.setattr("djactors.client.Client", client)
    app.add("a")
    stop = Stop(3)
    with caplog.at_level(logging.INFO, "djactors.outbox"):
        app.runner(client_for("http://notify.test", "t", stop), stop).run()
    # Another test may have left httpx telling of each request.
    told = [record.getMessage() for record in caplog.records if record.name == "djactors.outbox"]
    assert [message.partition(": ")[2].partition(":")[0] for message in told] == [
        "an answer that cannot be read",
        "the request failed",
        "",
    ]
    answers = [garbled]
    app.add("b")
    done = app.runner(client_for("http://notify.test", "t", stop), Stop(0)).run_until_empty()
    assert (done.sent, "an answer that cannot be read" in str(done.error)) == (0, True)


def test_two_runners_at_once_send_each_event_once_and_in_order(postgres_url: str, server: Server) -> None:
    outbox, stop, all_there = Outbox(), threading.Event(), threading.Event()
    titles = [str(number) for number in range(100)]
    server.after = lambda: all_there.set() if len(server.recorded) == len(titles) else None

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(postgres_url)

    with closing(connect()) as connection:
        outbox.create(connection)
        runners = [Runner(connect, server, outbox, errors=(psycopg.Error,), every=0.001, stop=stop) for _ in range(2)]
        with ThreadPoolExecutor(2) as threads:
            running = [threads.submit(runner.run) for runner in runners]
            try:
                for title in titles:
                    outbox.add(connection, news(title))
                    connection.commit()
                assert all_there.wait(PATIENCE)
            finally:
                stop.set()
            assert [each.result(PATIENCE) for each in running] == [None, None]
        assert outbox.waiting(connection).count == 0
    assert sum(len(request) for request in server.requests) == len(titles)
    assert server.titles == titles
