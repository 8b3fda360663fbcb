"""Two servers on one PostgreSQL database: any client on any node."""

from __future__ import annotations

import trio

from tests.nodes.page import opened
from tests.nodes.servers import eventually, listening, query, running_servers

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
            answer = await other.ask("POST", f"/api/users/{ANN}/sign-out", ADMIN, role="admin")
            assert answer.status < 300, answer.body
            await page.end()
            assert not stays.closed.is_set()


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
