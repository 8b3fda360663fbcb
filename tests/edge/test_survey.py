"""What an admin sees of the installation: all of it as numbers, and one by one the users of the own tenant only."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest
import trio

from djactors.actors import census
from djactors.actors.deliveries import Deliver
from djactors.edge.recent import SPAN, RecentCounters
from djactors.edge.survey import FRESH
from djactors.kernel import ChildStatistics, Kind, State
from djactors.store.errors import StoreUnavailable
from djactors.telemetry import Metrics
from tests.edge.rooms import Rooms
from tests.edge.sockets import Client, settle

ADMIN = 99
RESTART_SECONDS = 1


async def look(house: Rooms, tenant_id: int = 1, query: str = "") -> Any:
    """What an admin of the tenant is told now, and not a moment ago."""
    await trio.sleep(FRESH)
    answer = await house.request("GET", "/api/admin/actors" + query, token=house.token(tenant_id, ADMIN, role="admin"))
    assert answer.status == 200, answer.body
    return answer.json


async def connect(house: Rooms, tenant_id: int, user_id: int) -> Client:
    client = Client(house)
    await client.connect(token=house.token(tenant_id, user_id))
    return client


async def crash(house: Rooms, tenant_id: int, user_id: int) -> None:
    """Let the user's actor crash over a message, and wait until it is back."""
    [presence] = [each for each in house.users.presences() if (each.tenant_id, each.user_id) == (tenant_id, user_id)]
    presence.stale = True
    presence.ref.tell_nowait(Deliver((), None, 0.0, 0))
    house.store.error = StoreUnavailable(f"the inbox of {user_id} in {tenant_id}")
    await settle()
    house.store.error = None
    await trio.sleep(RESTART_SECONDS)


@pytest.mark.parametrize("role", ["user", "manager"])
async def test_only_an_admin_sees_the_tree(autojump_clock: object, house: Rooms, role: str) -> None:
    answer = await house.request("GET", "/api/admin/actors", token=house.token(1, 7, role=role))
    assert (answer.status, answer.error) == (403, "forbidden")
    answer = await house.request("GET", "/api/admin/actors", token=house.service())
    assert (answer.status, answer.error) == (403, "forbidden")
    answer = await house.request("GET", "/api/admin/actors")
    assert (answer.status, answer.error) == (401, "unauthorized")
    answer = await house.request("GET", "/api/admin/actors?tenant=2", token=house.token(1, ADMIN, role="admin"))
    assert (answer.status, answer.error) == (400, "invalid")


async def test_the_tree_shows_every_part_and_its_mailbox(autojump_clock: object, house: Rooms, client: Client) -> None:
    seen = await look(house)
    tree = seen["tree"]
    assert (tree["kind"], tree["state"], tree["mailbox"]) == ("supervisor", "running", None)
    users, announcer, router, presence = tree["children"]
    assert (presence["name"], presence["kind"]) == ("presence", "service")
    assert (users["name"], users["kind"], users["children"]) == ("users", "supervisor", [])
    assert (router["name"], router["kind"], router["state"]) == ("router", "actor", "running")
    assert router["mailbox"]["capacity"] == house.settings.router_mailbox
    assert router["mailbox"]["received"] == 2, "the two notifications"
    assert (router["restarts"], router["lastError"]) == (0, None)
    assert (announcer["name"], announcer["kind"]) == ("announcer", "service")


async def test_counters_and_delivery_times_rise_with_what_happens(
    autojump_clock: object, house: Rooms, client: Client
) -> None:
    before = await look(house)
    await house.notify()
    await house.notify(2, 8)
    after = await look(house)
    assert {name: after["counters"][name] - before["counters"][name] for name in after["counters"]} == {
        "events": 2,
        "notifications": 2,
        "deliveries": 1,  # nobody is connected in tenant 2
        "refusals": 0,
        "crashes": 0,
    }
    assert after["startedAt"] == before["startedAt"]
    assert after["uptime"] > before["uptime"]
    assert after["store"]["commits"] - before["store"]["commits"] == 2
    delivery = after["delivery"]
    assert len(delivery["counts"]) == len(delivery["bounds"]) + 1
    assert sum(delivery["counts"]) == delivery["count"] == before["delivery"]["count"] + 1


async def test_the_last_two_minutes_are_told_to_who_asks_for_them(
    autojump_clock: object, house: Rooms, client: Client
) -> None:
    second = house.lag.on_second
    second(house.lag.now() - SPAN - 1)
    second(house.lag.now() - 10)
    await house.notify()
    second(house.lag.now() - 5)
    await house.notify()
    assert "history" not in await look(house)
    first, then = (await look(house, query="?history=true"))["history"]
    assert (first["ago"], then["ago"]) == (pytest.approx(10, abs=5), pytest.approx(5, abs=5))
    assert then["events"] - first["events"] == then["deliveries"] - first["deliveries"] == 1
    assert sum(then["delivery"]) == then["deliveries"]
    # The answer that is shared for a moment is not that of the others.
    bare = await house.request("GET", "/api/admin/actors", token=house.token(1, ADMIN, role="admin"))
    assert "history" not in bare.json
    wrong = await house.request("GET", "/api/admin/actors?history=1", token=house.token(1, ADMIN, role="admin"))
    assert (wrong.status, wrong.error) == (400, "invalid")


def test_what_is_remembered_has_a_bound() -> None:
    recent = RecentCounters(Metrics())
    for second in range(10 * SPAN):
        recent.look(second / 100)
    assert len(recent.past(0)) == SPAN
    assert recent.past(10 * SPAN) == []


async def test_users_of_the_own_tenant_are_shown_and_those_of_others_only_counted(
    autojump_clock: object, house: Rooms
) -> None:
    for tenant_id, user_id in ((1, 7), (1, 7), (1, 8), (2, 4711), (2, 4712), (2, 4713)):
        await connect(house, tenant_id, user_id)
    for tenant_id, own, sockets in ((1, [7, 8], 3), (2, [4711, 4712, 4713], 3), (3, [], 0)):
        users = (await look(house, tenant_id))["users"]
        assert (users["total"], users["sockets"], users["quarantined"]) == (5, 6, 0)
        assert users["tenant"] == {"total": len(own), "sockets": sockets, "quarantined": 0}
        assert [row["userId"] for row in users["rows"]] == own
        assert users["leftOut"] == 0


async def test_nothing_of_another_tenants_trouble_is_told_but_its_number(autojump_clock: object, house: Rooms) -> None:
    await connect(house, 2, 4711)
    await crash(house, 2, 4711)
    answer = await look(house, 1)
    assert answer["counters"]["crashes"] == 1
    [users] = [node for node in answer["tree"]["children"] if node["name"] == "users"]
    assert users["restarts"] == 1
    assert "4711" not in msgspec.json.encode(answer).decode()
    assert "inbox of" not in msgspec.json.encode(answer).decode()


async def test_whoever_is_in_trouble_comes_first_with_the_class_of_the_error(
    autojump_clock: object, house: Rooms
) -> None:
    for user_id in (7, 8, 9):
        await connect(house, 1, user_id)
    await crash(house, 1, 9)
    rows = (await look(house))["users"]["rows"]
    assert [row["userId"] for row in rows] == [9, 7, 8]
    assert (rows[0]["restarts"], rows[0]["crashes"], rows[0]["lastError"]) == (1, 1, "StoreUnavailable")
    assert (rows[1]["restarts"], rows[1]["lastError"]) == (0, None)


async def test_an_actor_that_keeps_crashing_is_shown_as_set_aside(autojump_clock: object, house: Rooms) -> None:
    await connect(house, 1, 7)
    await connect(house, 2, 4711)
    [presence] = [each for each in house.users.presences() if each.tenant_id == 1]
    house.store.error = StoreUnavailable("for a while")
    presence.stale = True
    presence.ref.tell_nowait(Deliver((), None, 0.0, 0))
    # The restarts that an actor is allowed, with their pauses, and less than it is set aside for.
    await trio.sleep(10)
    house.store.error = None
    for tenant_id in (1, 2):
        users = (await look(house, tenant_id))["users"]
        assert users["quarantined"] == 1
        assert [row["state"] for row in users["rows"]] == (["quarantined"] if tenant_id == 1 else ["running"])


async def test_more_users_than_can_be_shown_are_counted(
    autojump_clock: object, house: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "MAX_ROWS", 3)
    monkeypatch.setattr(census, "SLICE", 2)
    for user_id in range(1, 8):
        await connect(house, 1, user_id)
    users = (await look(house))["users"]
    assert [row["userId"] for row in users["rows"]] == [1, 2, 3]
    assert (users["tenant"]["total"], users["leftOut"]) == (7, 4)


async def test_a13_no_more_users_are_compared_in_a_turn_than_are_shown_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are, those in trouble are found slice by slice."""
    compared: list[int] = []

    class Row(census.UserRow, frozen=True):
        def trouble(self) -> tuple[bool, bool, int, int, int, int]:
            compared[-1] += 1
            return super().trouble()

    class Turns(trio.abc.Instrument):
        def after_io_wait(self, timeout: float) -> None:
            compared.append(0)

    class Crowd:
        tenant_id, socket_count, stale, quarantined = 1, 1, False, False

        def __init__(self, user_id: int) -> None:
            self.user_id = user_id
            self.ref = self

    class Users:
        def presences(self) -> list[Any]:
            return [Crowd(user_id) for user_id in range(5_000, 0, -1)]

        def actor(self, presence: Any) -> ChildStatistics:
            return ChildStatistics("", Kind.ACTOR, State.RUNNING)

    monkeypatch.setattr(census, "UserRow", Row)
    compared.append(0)
    instrument = Turns()
    trio.lowlevel.add_instrument(instrument)
    taken = await census.take(cast("Any", Users()), 1)
    trio.lowlevel.remove_instrument(instrument)
    assert [row.user_id for row in taken.rows] == [*range(1, census.MAX_ROWS + 1)]
    assert taken.tenant.total == 5_000
    assert 0 < max(compared) <= 2 * census.MAX_ROWS + census.SLICE
    assert sum(compared) >= 5_000


async def test_many_who_look_at_once_share_an_answer_within_their_tenant_only(
    autojump_clock: object, house: Rooms
) -> None:
    for tenant_id in (1, 2):
        await connect(house, tenant_id, tenant_id * 100)
    seen: dict[int, list[list[int]]] = {1: [], 2: []}

    async def ask(tenant_id: int) -> None:
        answer = await house.request("GET", "/api/admin/actors", token=house.token(tenant_id, ADMIN, role="admin"))
        seen[tenant_id].append([row["userId"] for row in answer.json["users"]["rows"]])

    await trio.sleep(FRESH)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask, 1)
            nursery.start_soon(ask, 2)
    assert seen == {1: [[100]] * 5, 2: [[200]] * 5}
    before = await look(house)
    again = await house.request("GET", "/api/admin/actors", token=house.token(1, ADMIN, role="admin"))
    assert again.json == before
