"""Rows 41 to 43: PostgreSQL that ends, is slow, read-only or full, as those see it who depend on it; a frozen node."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from urllib.parse import quote

import psycopg
import pytest
import trio

from bench.postgres import (
    QUICK,
    SERVER_USER,
    Place,
    PostgresServer,
    as_server_user,
    place_for_server,
    postgres_server,
    stop,
)
from tests.faults.backend import ENVIRONMENT, TENANT, USER, Backend
from tests.faults.commands import PATIENCE
from tests.faults.test_full_disk import fill
from tests.nodes.page import opened
from tests.serving import Answer, ServedProcess, make_token, serving

TOKEN = make_token(tenant_id=TENANT, user_id=USER)

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"

STANDING = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'relation'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL server that nobody else uses."""
    with postgres_server("/tmp", QUICK) as made:
        yield made


@pytest.fixture
def database(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of the test's own."""
    name = f"d{abs(hash(request.node.name)) % 10**8}"
    run(server, f"CREATE DATABASE {name}")
    return f"postgresql://{SERVER_USER}@{quote(str(server.directory), safe='')}/{name}"


def run(server: PostgresServer, *statements: str) -> list[tuple[int]]:
    """Run statements as the administrator; the rows of the last one."""
    rows = []
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


@contextmanager
def standing_still(server: PostgresServer) -> Iterator[None]:
    """No process of the server that serves a client does anything."""
    pids = [pid for (pid,) in run(server, BACKENDS)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def environment(database: str) -> dict[str, str]:
    return {**ENVIRONMENT, "DJACTORS_DATABASE": database}


async def listed(server: ServedProcess) -> Answer:
    return await server.request("GET", "/api/notifications?limit=1", token=TOKEN)


async def unready(server: ServedProcess, reason: str) -> None:
    """Wait until it says that it is not ready, and why. It always says so in time."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await server.request("GET", "/readyz")
            if answer.status == 503:
                break
            await trio.sleep(0.05)
    assert reason in answer.json["error"]["message"], answer.body
    assert (await server.request("GET", "/healthz")).status == 200


async def ready(server: ServedProcess) -> None:
    """Wait until it says that it is well again, by itself."""
    with trio.fail_after(PATIENCE):
        while (await server.request("GET", "/readyz")).status != 200:
            await trio.sleep(0.05)


@contextmanager
def startable() -> Iterator[tuple[Place, Callable[[], Popen[bytes]]]]:
    """A place with an empty database, and what starts the server there; whatever was started is ended."""
    with place_for_server("/tmp") as place, ExitStack() as started:
        place.create_cluster()

        def start() -> Popen[bytes]:
            process = place.start(QUICK)
            started.callback(stop, process)
            place.await_ready(process)
            return process

        yield place, start


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_row_41_a_restart_of_the_database_refuses_posts_meanwhile_and_nobody_is_let_go(
    tmp_path: Path, how: signal.Signals
) -> None:
    backend = Backend()
    with startable() as (place, start):
        first = start()
        database = f"postgresql://{SERVER_USER}@{quote(str(place.directory), safe='')}/postgres"
        async with serving(tmp_path, environment=environment(database)) as node:
            assert await backend.post(node) == 201
            async with opened(node.url, USER, TENANT) as page, opened(node.url, USER + 1, TENANT) as other:
                for _ in range(3):
                    assert await backend.post(node) == 201
                first.send_signal(how)
                await trio.to_thread.run_sync(first.wait)
                answer = await node.publish(backend.sent["key-0"])
                assert answer.status == 503, answer.body
                assert answer.headers["retry-after"]
                await unready(node, "database")
                assert (await listed(node)).status == 503
                start()
                assert await backend.post_until(node, 201) == 201
                await ready(node)
                await page.until(lambda page: len(page.titles) == len(backend.acknowledged) - 1)
                for each in (page, other):
                    assert not each.was_reset
                    assert not each.closed.is_set()
            await backend.post_again(node)
            assert await node.stop() == 0
        assert "Traceback" not in node.errors.read_text()
        assert "crashed" not in node.errors.read_text()
        backend.judge(database)


async def test_row_42_a_database_that_stands_still_keeps_posts_waiting_and_nobody_is_let_go(
    tmp_path: Path, server: PostgresServer, database: str
) -> None:
    backend = Backend()
    async with serving(tmp_path, environment=environment(database)) as node:
        assert await backend.post(node) == 201
        async with opened(node.url, USER, TENANT) as page, trio.open_nursery() as nursery:
            with standing_still(server):
                answers: list[int | None] = []

                async def post() -> None:
                    answers.append(await backend.post(node))

                nursery.start_soon(post)
                await unready(node, "has not taken a write")
                assert answers == []
                assert not page.closed.is_set()
            await page.until(lambda page: page.titles == ["number 1"])
            await ready(node)
        assert answers == [201]
        assert await node.stop() == 0
    backend.judge(database)


async def test_row_42_a_read_only_database_refuses_writes_answers_reads_and_heals(
    tmp_path: Path, server: PostgresServer, database: str
) -> None:
    backend = Backend()
    name = database.rpartition("/")[2]
    async with serving(tmp_path, environment=environment(database)) as node:
        assert await backend.post(node) == 201
        async with opened(node.url, USER, TENANT) as page:
            end_sessions = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            run(server, f"ALTER DATABASE {name} SET default_transaction_read_only = on", end_sessions)
            answer = await node.publish(backend.sent["key-0"])
            assert answer.status == 503, answer.body
            assert answer.headers["retry-after"]
            assert await backend.post(node) == 503
            await unready(node, "read-only")
            with trio.fail_after(PATIENCE):
                while (page_of := await listed(node)).status != 200:
                    await trio.sleep(0.05)
            assert page_of.json["unreadCount"] == 1
            assert not page.closed.is_set()
            run(server, f"ALTER DATABASE {name} RESET default_transaction_read_only", end_sessions)
            await ready(node)
            assert await backend.post(node) == 201
            await page.until(lambda page: page.titles == ["number 2"])
        await backend.post_again(node)
        assert await node.stop() == 0
    assert "Traceback" not in node.errors.read_text()
    backend.judge(database)


async def test_row_42_a_full_disk_of_the_database_refuses_writes_answers_reads_and_heals(
    small_disk_for_all: Path, tmp_path: Path, server: PostgresServer, database: str
) -> None:
    backend = Backend()
    space = small_disk_for_all / "space"
    space.mkdir()
    # Gives it to that user.
    as_server_user(space)
    name = database.rpartition("/")[2]
    run(
        server,
        f"CREATE TABLESPACE small LOCATION '{space}'",
        f"ALTER DATABASE {name} SET default_tablespace = small",
    )
    async with serving(tmp_path, environment=environment(database)) as node:
        assert await backend.post(node) == 201
        async with opened(node.url, USER, TENANT) as page:
            filler = fill(small_disk_for_all)
            # What there are pages for already is still taken.
            text = "x" * 900
            with trio.fail_after(PATIENCE):
                while await backend.post(node, text) != 503:
                    pass
            assert await backend.post(node, text) == 503
            await unready(node, "the disk of the database is full")
            assert (await listed(node)).json["unreadCount"] == len(backend.acknowledged)
            assert not page.closed.is_set()
            filler.unlink()
            assert await backend.post(node, text) == 201
            await ready(node)
        await backend.post_again(node)
        assert await node.stop() == 0
    assert "Traceback" not in node.errors.read_text()
    backend.judge(database)
    run(server, f"DROP DATABASE {name}", "DROP TABLESPACE small")


async def test_row_43_a_node_that_freezes_while_it_holds_a_tenant_lets_the_others_go_on(
    tmp_path: Path, server: PostgresServer, database: str
) -> None:
    backend = Backend()
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    async with (
        serving(folders[0], environment=environment(database)) as one,
        serving(folders[1], environment=environment(database)) as other,
    ):
        # So that the first one has to read what the other one wrote.
        assert await backend.post(other) == 201
        answers: list[int | None] = []

        async def post() -> None:
            answers.append(await backend.post(one))

        async with trio.open_nursery() as nursery:
            with psycopg.connect(database) as blocking:
                blocking.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
                nursery.start_soon(post)
                await there_is(server, WAITING)
                one.process.send_signal(signal.SIGSTOP)
            await there_is(server, STANDING)
            # It holds the tenant's row, until the server ends the transaction.
            assert await backend.post_until(other, 201, most=10) == 201
            assert answers == []
            one.process.send_signal(signal.SIGCONT)
        # Its COMMIT did not happen, so it ran the work again, or refused it.
        assert answers in ([201], [503])
        await ready(one)
        await backend.post_again(other)
        for node in (one, other):
            assert await node.stop() == 0
            assert "Traceback" not in node.errors.read_text()
    backend.judge(database)


async def there_is(server: PostgresServer, whom: str) -> None:
    """Wait until somebody is doing this."""
    with trio.fail_after(PATIENCE):
        while not await trio.to_thread.run_sync(run, server, whom):
            await trio.sleep(0.01)
