"""What socket.io 4.8.4 gets wrong when a client comes back, tried with its own stock client.

It replays before it authenticates; it gives one user's missed events to whoever presents the user's pid; it loses what
it wrote to a connection that was already dead; and it forgets everything when it is restarted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.plan import Fault
from tests.clients.driver import stock_client
from tests.end_to_end.returning import (
    ALICE,
    BOB,
    CAROL,
    COUNT,
    DELETED,
    NEW,
    OTHER_TENANT,
    READ,
    RESET,
    TENANT,
    UPDATED,
    auth,
    connect,
    expect_count,
    lose,
    said,
    scene,
    since,
)
from tests.serving import make_token

every_transport = pytest.mark.parametrize("transports", [["polling"], ["websocket"], None], ids=str)


@every_transport
async def test_nothing_is_replayed_before_the_token_is_checked(tmp_path: Path, transports: list[str] | None) -> None:
    async with scene(tmp_path) as place, place.served(), stock_client("js") as clients:
        lane = await place.lane()
        alice = await connect(clients, lane, ALICE, transports)
        lose(lane)
        await alice.expect("disconnect")
        await place.tell(ALICE, "secret")

        await alice.set_auth({"token": make_token(tenant_id=TENANT, user_id=ALICE, ttl=-60)})
        lane.heal()
        refusal = await alice.expect("connect_error", message="Unauthorized")
        assert refusal["data"] == {"code": "token_expired"}
        assert since(alice, "disconnect") == []

        # The refusal has cost nothing: with a good token the same client is given it.
        await alice.set_auth(auth(ALICE))
        await alice.connect()
        assert (await alice.expect("connect"))["recovered"] is True
        await expect_count(alice, 1)
        assert said(since(alice, "connect")) == [(NEW, "secret"), (COUNT, 1)]


@every_transport
@pytest.mark.parametrize(
    ("other_id", "tenant_id"), [(BOB, TENANT), (CAROL, OTHER_TENANT)], ids=["a colleague", "another tenant"]
)
async def test_row_20_a_pid_gives_nobody_else_what_its_user_missed(
    tmp_path: Path, transports: list[str] | None, other_id: int, tenant_id: int
) -> None:
    async with scene(tmp_path) as place, place.served(), stock_client("js") as clients:
        await place.tell(other_id, "of the other", tenant_id)
        lane = await place.lane()
        socket = await connect(clients, lane, ALICE, transports)
        lose(lane)
        await socket.expect("disconnect")
        await place.tell(ALICE, "secret")

        # The stock client goes on presenting Alice's pid and offset, now beside somebody else's token.
        await socket.set_auth(auth(other_id, tenant_id))
        lane.heal()
        assert (await socket.expect("connect"))["recovered"] is False
        await expect_count(socket, 1)
        await place.tell(other_id, "later", tenant_id)
        await expect_count(socket, 2)
        events = since(socket, "connect")
        assert [name for name, _ in said(events)] == [RESET, COUNT, NEW, COUNT]
        assert events[2].args[0]["title"] == "later"
        assert events[0].args[0]["offset"] == events[0].args[1]


@every_transport
async def test_what_was_written_to_a_dead_connection_is_not_lost(tmp_path: Path, transports: list[str] | None) -> None:
    async with scene(tmp_path) as place, place.served() as server, stock_client("js") as clients:
        lane, other_lane = await place.lane("dying"), await place.lane("other")
        alice = await connect(clients, lane, ALICE, transports)
        if transports is None:
            await alice.expect("upgrade")
        tab = await connect(clients, other_lane, ALICE, ["websocket"])
        await place.tell(ALICE, "first")
        for socket in (alice, tab):
            await expect_count(socket, 1)

        # Everything that the server writes vanishes, and it goes on to believe in the connection; the client has gone.
        # A poll may just be between two requests: then it is the next one that is never answered.
        lane.strike(Fault(lane.name, "half-down", "polling" if transports == ["polling"] else "now", 0, 0))
        for number in range(3):
            await place.tell(ALICE, f"into the void {number}")
        await expect_count(tab, 4)
        lane.strike(Fault(lane.name, "orphan", "now", 0, 0))
        await alice.expect("disconnect")
        assert (await alice.expect("connect"))["recovered"] is True
        await expect_count(alice, 4)
        missed = [(NEW, f"into the void {number}") for number in range(3)]
        assert said(since(alice, "connect")) == [*missed, (COUNT, 4)]

        # Live again, once; the user's other tab never noticed.
        await place.tell(ALICE, "alive")
        for socket in (alice, tab):
            await expect_count(socket, 5)
        titles = [event.args[0]["title"] for event in since(tab, "connect") if event["name"] == NEW]
        assert titles == ["first", *(title for _, title in missed), "alive"]
        assert said(since(alice, "connect")) == [*missed, (COUNT, 4), (NEW, "alive"), (COUNT, 5)]
        assert [one.what for one in tab.received if one.what in ("connect", "disconnect")] == ["connect"]
        if transports != ["polling"]:
            # A client that polls says good-bye on another connection, but what was written to the dead one is lost.
            metrics = (await server.request("GET", "/metrics")).body.decode()
            assert 'djactors_session_ends_total{reason="superseded"} 1.0' in metrics


@every_transport
async def test_a_restarted_server_goes_on_where_the_killed_one_stopped(
    tmp_path: Path, transports: list[str] | None
) -> None:
    token = make_token(tenant_id=TENANT, user_id=ALICE)
    async with scene(tmp_path) as place, stock_client("js") as clients:
        lane, other_lane = await place.lane("away"), await place.lane("other")
        async with place.served() as server:
            alice = await connect(clients, lane, ALICE, transports)
            first = await place.tell(ALICE, "first")
            await expect_count(alice, 1)
            lose(lane)
            await alice.expect("disconnect")
            second = await place.tell(ALICE, "second")
            await place.tell(BOB, "of somebody else")
            assert (await server.request("POST", f"/api/notifications/{first}/read", token=token)).status == 200
            tab = await connect(clients, other_lane, ALICE, ["websocket"])
        await tab.expect("disconnect")

        async with place.served() as server:
            created = {"type": "job.created", "tenantId": TENANT, "title": "new", "requesterId": BOB, "jobId": 7}
            assert (await server.publish(created)).status == 201
            await place.tell(ALICE, "third")
            assert (await server.request("DELETE", f"/api/notifications/{second}", token=token)).status == 200
            assert (await tab.expect("connect"))["recovered"] is True
            await expect_count(tab, 1)

            lane.heal()
            assert (await alice.expect("connect"))["recovered"] is True
            await expect_count(alice, 1)
            assert said(since(alice, "connect")) == [
                (NEW, "second"),
                (READ, [first]),
                (UPDATED, 7),
                (NEW, "third"),
                (DELETED, [second]),
                (COUNT, 1),
            ]
            events = since(alice, "connect")
            offsets = [int(event.args[1].rpartition(".")[2]) for event in events]
            assert offsets[:-1] == sorted(set(offsets[:-1]))
            assert offsets[-1] == offsets[-2]
            await place.tell(ALICE, "fourth")
            for socket in (alice, tab):
                await expect_count(socket, 2)
            assert [one.what for one in tab.received if one.what == "connect"] == ["connect", "connect"]


async def test_a_client_that_misses_nothing_is_recovered_with_its_count_alone(tmp_path: Path) -> None:
    async with scene(tmp_path) as place, place.served(), stock_client("js") as clients:
        lane = await place.lane()
        alice = await connect(clients, lane, ALICE)
        await place.tell(ALICE, "first")
        await expect_count(alice, 1)
        for _ in range(3):
            lose(lane)
            await alice.expect("disconnect")
            lane.heal()
            assert (await alice.expect("connect"))["recovered"] is True
            await expect_count(alice, 1)
            assert said(since(alice, "connect")) == [(COUNT, 1)]
