"""Two servers on one PostgreSQL database: any client on any node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio

from djactors.domain.events import JobCreated
from djactors.store.errors import StoreError
from tests.environment.pooler import running_pooler
from tests.nodes.page import Page, opened
from tests.nodes.servers import Running, eventually, execute, listening, query, running_servers

ANN, BOB, ADMIN = 11, 12, 99


async def test_a_page_on_one_node_shows_what_is_posted_to_the_other(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):
        await listening(one, other)
        async with opened(one.url, ANN) as here, opened(other.url, ANN) as there:
            await other.tell(ANN, "Hello")
            for page in (here, there):
                await page.until(lambda page: page.counts == [0, 1])
                assert page.titles == ["Hello"]
            assert here.offset == there.offset


async def test_commits_of_both_reach_both_in_the_order_of_the_log_and_badges_are_those_of_the_rows(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):
        await listening(one, other)
        async with opened(one.url, ANN) as here, opened(other.url, ANN) as there:

            async def post(server, name):
                for number in range(30):
                    await server.tell(ANN, f"{name} {number}")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(post, one, "one")
                nursery.start_soon(post, other, "other")
            rows = await query(postgres_url, "SELECT title FROM notifications ORDER BY seq")
            for page in (here, there):
                await page.until(lambda page: page.counts[-1] == 60)
                assert page.titles == [title for (title,) in rows]
            [(unread,)] = await query(postgres_url, "SELECT unread_count FROM users WHERE id = 11")
            assert unread == 60


async def test_a_client_goes_on_at_the_other_node(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):
        async with opened(one.url, ANN) as page:
            await one.tell(ANN, "told")
            await page.until(lambda page: page.titles == ["told"])
        await one.tell(ANN, "missed")
        async with opened(other.url, ANN, before=page) as again:
            assert again.recovered
            assert again.titles == ["missed"]
            assert again.counts == [2]


async def test_a_sign_out_on_one_node_ends_the_sockets_on_the_other(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):
        await listening(one, other)
        async with opened(one.url, ANN) as page, opened(one.url, BOB) as stays:
            await sign_out(other, ANN)
            await page.end()
            assert not stays.closed.is_set()


async def test_an_erasure_on_one_node_has_everybody_of_the_tenant_begin_anew_on_both(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):
        await listening(one, other)
        for user_id in (ANN, BOB):
            await one.tell(user_id, "before")
        await one.tell(BOB, "elsewhere", tenant_id=2)
        async with (
            opened(one.url, ANN) as ann,
            opened(one.url, BOB) as here,
            opened(other.url, BOB) as there,
            opened(other.url, BOB, tenant_id=2) as stranger,
        ):
            for page in (ann, here, there, stranger):
                await page.until(lambda page: page.counts == [1])
            answer = await one.ask("POST", f"/api/users/{ANN}/erase", ADMIN, role="admin")
            assert answer.status == 200, answer.body
            assert answer.json["after"] is None
            assert answer.json["overwritten"] is False
            for page in (ann, here, there):
                await page.end()
            for before, server in ((here, other), (there, one)):
                async with opened(server.url, BOB, before=before) as page:
                    await page.until(lambda page: page.was_reset)
                    await one.tell(BOB, "after")
                    await page.until(lambda page: page.titles == ["after"])
            assert not stranger.closed.is_set()


async def sign_out(server: Running, user_id: int) -> None:
    """Sign somebody out who has just come; until their introduction is committed, nobody knows them."""

    async def done() -> bool:
        answer = await server.ask("POST", f"/api/users/{user_id}/sign-out", ADMIN, role="admin")
        assert answer.status in (200, 204, 404), answer.body
        return answer.status != 404

    await eventually(done)


async def test_a_node_that_drains_moves_its_clients(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):
        async with opened(one.url, ANN) as page:
            await other.tell(ANN, "before")
            await page.until(lambda page: page.titles == ["before"])
            one.server.request_stop()
            await page.end()
            await other.tell(ANN, "meanwhile")
        await one.ended.wait()
        async with opened(other.url, ANN, before=page) as again:
            assert again.recovered
            assert again.titles == ["meanwhile"]


async def test_a_node_that_is_killed_leaves_its_clients_to_the_other(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):
        async with opened(one.url, ANN) as page:
            await other.tell(ANN, "before")
            await page.until(lambda page: page.titles == ["before"])
            one.scope.cancel()
            await page.end()
        await other.tell(ANN, "after")
        async with opened(other.url, ANN, before=page) as again:
            assert again.recovered
            assert again.titles == ["after"]


async def test_nodes_are_listed_and_one_that_ends_is_not(postgres_url: str):
    async with running_servers(postgres_url) as (one, other):

        async def names() -> list[str]:
            nodes = (await one.ask("GET", "/api/admin/actors", ADMIN, role="admin")).json["nodes"]
            assert [node["isThis"] for node in nodes if node["name"].startswith("node0-")] in ([], [True])
            return sorted(node["name"].partition("-")[0] for node in nodes)

        async def are(*wanted: str) -> bool:
            return await names() == list(wanted)

        await eventually(lambda: are("node0", "node1"))
        other.server.request_stop()
        await eventually(lambda: are("node0"))


async def test_each_alert_is_sent_once_whichever_nodes_live(postgres_url: str):
    soon = datetime.now(UTC) + timedelta(hours=24, seconds=2)
    async with running_servers(postgres_url, 3) as servers:
        await listening(*servers)
        async with opened(servers[1].url, ANN) as page:
            for number in range(5):
                job = JobCreated(
                    tenant_id=1,
                    title=f"Job {number}",
                    requester_id=BOB,
                    assignee_id=ANN,
                    deadline=soon,
                    job_id=number + 1,
                )
                await servers[0].server.publish(job)
            # The node that knows of the deadlines from its own commits dies before they come.
            servers[0].scope.cancel()
            await page.until(lambda page: alerts(page) == 5)
        rows = await query(
            postgres_url, "SELECT job_id FROM notifications WHERE type LIKE 'sla%%' AND user_id = 11 ORDER BY job_id"
        )
        assert [job_id for (job_id,) in rows] == [1, 2, 3, 4, 5]


def alerts(page: Page) -> int:
    return sum(name == "notification:new" and body["type"].startswith("sla") for name, body in page.events)


async def test_where_notifications_do_not_come_the_database_is_polled(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    """As behind a pooler in transaction mode: LISTEN is answered and hears nothing."""
    monkeypatch.setattr("djactors.actors.neighbours.CHANNEL", "nobody_notifies_here")
    monkeypatch.setattr("djactors.actors.listening.CALL_SECONDS", 0.1)
    async with (
        running_servers(postgres_url) as (one, other),
        opened(one.url, ANN) as page,
        opened(one.url, BOB) as signed_out,
    ):

        async def polls() -> bool:
            return any(entry["event"] == "polling for other nodes" for entry in one.entries)

        await eventually(polls)
        assert await one.metric("djactors_listening") == 0
        await other.tell(ANN, "Hello")
        await page.until(lambda page: page.titles == ["Hello"])
        await sign_out(other, BOB)
        await signed_out.end()


async def test_behind_a_pooler_in_transaction_mode_everybody_is_told_all_the_same(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("djactors.actors.listening.CALL_SECONDS", 0.3)
    with running_pooler(postgres_url, size=6) as pooled:
        async with (
            running_servers(pooled) as (one, other),
            opened(one.url, ANN) as here,
            opened(other.url, ANN) as there,
        ):
            for number in range(20):
                await (one, other)[number % 2].tell(ANN, str(number))
            for page in (here, there):
                await page.until(lambda page: page.titles == [str(number) for number in range(20)])
                await page.until(lambda page: page.counts[-1] == 20)


async def test_when_the_backends_are_terminated_everybody_is_told_and_nobody_is_cut(postgres_url: str):
    async with running_servers(postgres_url) as (one, other), opened(one.url, ANN) as client:
        await listening(one, other)
        posted = []
        for number in range(12):
            if number % 3 == 1:
                await query(postgres_url, TERMINATE)
            await insist(partial((one, other)[number % 2].tell, ANN, str(number)))
            posted.append(str(number))
        rows = await query(postgres_url, "SELECT title FROM notifications ORDER BY seq")
        # A post whose commit was in flight may have been stored, and was then posted again.
        assert sorted({title for (title,) in rows}) == sorted(posted)
        await client.until(lambda client: client.titles == [title for (title,) in rows])
        await client.until(lambda client: client.counts[-1] == len(rows))
        assert not client.was_reset
        await listening(one, other)


TERMINATE = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND application_name = 'djactors'"""


async def insist(post: Callable[[], Awaitable[None]]) -> None:
    """Post until it is acknowledged."""

    async def posted() -> bool:
        try:
            await post()
        except StoreError:
            return False
        return True

    await eventually(posted)


async def test_commits_that_a_failover_lost_are_found_out_without_a_reconnection(postgres_url: str):
    """Behind a pooler the connections stay. What is lost is taken out of the tables by hand."""
    async with running_servers(postgres_url) as (one, other):
        await listening(one, other)
        async with opened(one.url, BOB) as bob, opened(one.url, ANN) as ann:
            await other.tell(ANN, "kept")
            await ann.until(lambda page: page.titles == ["kept"])
            await copied(postgres_url)
            await other.tell(ANN, "lost")
            await ann.until(lambda page: page.titles == ["kept", "lost"])
            await put_back(postgres_url)
            await other.tell(BOB, "new")
            await ann.end()
            await bob.until(lambda page: page.titles == ["new"])
            assert not bob.was_reset
        async with opened(other.url, ANN, before=ann) as again:
            assert again.was_reset
            assert not again.recovered
            assert again.counts == [1]


COPIED = ("tenants", "users", "domain_events", "notifications", "changes")


async def copied(url: str) -> None:
    for table in COPIED:
        await execute(url, f"CREATE TABLE copy_of_{table} AS TABLE {table}")


async def put_back(url: str) -> None:
    """All tables as they were when they were copied, in one transaction."""
    swaps = [f"DELETE FROM {table}" for table in reversed(COPIED)]
    swaps += [f"INSERT INTO {table} SELECT * FROM copy_of_{table}" for table in COPIED]
    await execute(url, "BEGIN; " + "; ".join(swaps) + "; COMMIT")
