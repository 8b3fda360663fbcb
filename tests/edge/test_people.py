"""People over HTTP, who of them is connected, and their names beside every id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from djactors.actors import onlookers
from djactors.actors.onlookers import CHANGES_AT_ONCE, PACE
from djactors.domain.packets import PRESENCE
from djactors.edge.survey import FRESH, NAMES_TIMEOUT
from djactors.store.errors import StoreUnavailable
from tests.edge.rooms import Answer, Rooms, rooms
from tests.edge.sockets import Client, settle

LOOKER = 7
NAMES = {LOOKER: "Lena Looker", 8: "Élodie Marín", 9: "Max Mara", 10: "สมชาย ใจดี"}
SOON = PACE + 0.1


@pytest.fixture
async def house(house: Rooms) -> Rooms:
    """The rooms, where a service has named the people."""
    for user_id, name in NAMES.items():
        await upsert(house, user_id, name)
    await upsert(house, 8, "Elodie of another tenant", tenant_id=2)
    return house


async def upsert(house: Rooms, user_id: int, name: str, *, role: str = "user", tenant_id: int = 1) -> Answer:
    event = {"type": "user.upserted", "tenantId": tenant_id, "userId": user_id, "name": name, "role": role}
    answer = await house.publish(event)
    assert answer.status == 201
    return answer


async def look(house: Rooms, query: str = "", tenant_id: int = 1, user_id: int = LOOKER) -> Answer:
    return await house.request("GET", f"/api/people{query}", token=house.token(tenant_id, user_id))


async def connect(house: Rooms, user_id: int, tenant_id: int = 1, **auth: Any) -> Client:
    client = Client(house)
    answer = await client.connect(token=house.token(tenant_id, user_id), **auth)
    assert answer[0][0] == "connect"
    return client


async def leave(client: Client) -> None:
    client.session.close("gone")
    await settle()


async def presence(client: Client) -> list[tuple[int, bool]]:
    """What an onlooker was told since, once all is told that has happened."""
    await trio.sleep(SOON)
    return [(body["userId"], body["connected"]) for body in await client.events(PRESENCE)]


async def test_people_are_found_with_role_and_presence(house: Rooms) -> None:
    await upsert(house, 9, "Max Mara", role="manager")
    await connect(house, 8)
    answer = await look(house, "?query=mar")
    assert (answer.status, answer.json) == (
        200,
        {
            "items": [
                {"id": 9, "name": "Max Mara", "role": "manager", "active": True, "connected": False},
                {"id": 8, "name": "Élodie Marín", "role": "user", "active": True, "connected": True},
            ],
            "nextBefore": None,
        },
    )
    assert [item["id"] for item in (await look(house, "?query=ELODIE m")).json["items"]] == [8]
    assert [item["id"] for item in (await look(house, "?query=ใจ")).json["items"]] == [10]


async def test_people_who_left_are_shown_as_such(house: Rooms) -> None:
    for verb, active in (("deactivate", False), ("activate", True)):
        answer = await house.request("POST", f"/api/users/8/{verb}", token=house.service(1), body={})
        assert answer.status == 200
        assert [item["active"] for item in (await look(house, "?query=elodie")).json["items"]] == [active]


async def test_people_come_in_pages(house: Rooms) -> None:
    seen: list[int] = []
    before = ""
    while True:
        page = (await look(house, f"?limit=1{before}")).json
        seen += [item["id"] for item in page["items"]]
        if page["nextBefore"] is None:
            break
        before = f"&before={page['nextBefore']}"
        await upsert(house, 9, f"Aaron {len(seen)}")
    assert seen == [8, 7, 9, 10]


async def test_nobody_sees_people_of_another_tenant(house: Rooms) -> None:
    assert [item["name"] for item in (await look(house, "", 2, 1)).json["items"]] == ["Elodie of another tenant"]
    assert (await look(house, "", 3, 1)).json == {"items": [], "nextBefore": None}
    await connect(house, 8, tenant_id=2)
    [item] = (await look(house, "?query=elodie")).json["items"]
    assert item["connected"] is False
    assert (await house.request("GET", "/api/people")).error == "unauthorized"
    assert (await house.request("GET", "/api/people", token=house.service(1))).error == "unauthorized"


@pytest.mark.parametrize("query", ["?limit=101", "?limit=0", "?q=x", "?before=x", f"?query={'x' * 256}"])
async def test_what_is_wrong_with_a_request_is_told(house: Rooms, query: str) -> None:
    answer = await look(house, query)
    assert (answer.status, answer.error) == (400, "invalid")
    assert query[1:].partition("=")[0] in answer.json["error"]["message"]


async def test_whoever_looks_is_told_who_comes_and_goes(autojump_clock: object, house: Rooms) -> None:
    looker, other = await connect(house, LOOKER), await connect(house, 10)
    assert await looker.ask("people:watch", {}) == {"ok": True}
    assert await looker.ask("people:watch") == {"ok": True}
    assert await presence(looker) == []
    first, second = await connect(house, 8), await connect(house, 8)
    stranger = await connect(house, 8, tenant_id=2)
    assert await presence(looker) == [(8, True)]
    await leave(first)
    await leave(stranger)
    assert await presence(looker) == []
    await leave(second)
    assert await presence(looker) == [(8, False)]
    assert await presence(other) == [], "only whoever looks is told"
    assert await looker.ask("people:unwatch", {}) == {"ok": True}
    await connect(house, 8)
    assert await presence(looker) == []


async def test_whoever_is_back_at_once_has_not_been_away(autojump_clock: object, house: Rooms) -> None:
    looker, other = await connect(house, LOOKER), await connect(house, 8)
    await looker.ask("people:watch", {})
    for _ in range(3):
        await leave(other)
        other = await connect(house, 8)
    await leave(await connect(house, 9))
    assert await presence(looker) == []


async def test_what_is_told_carries_the_offset_that_its_socket_was_told_last(
    autojump_clock: object, house: Rooms
) -> None:
    looker, plain = await connect(house, LOOKER), await connect(house, 9, recovery=False)
    for client in (looker, plain):
        await client.ask("people:watch", {})
    await house.notify(1, LOOKER)
    await settle()
    looker.take()
    await connect(house, 8)
    await trio.sleep(SOON)
    body = {"userId": 8, "connected": True}
    assert looker.take() == [("event", "people:presence", body, await house.offset())]
    assert plain.take() == [("event", "people:presence", body)]


async def test_a_crowd_is_told_bit_by_bit_and_in_its_newest_state(autojump_clock: object, house: Rooms) -> None:
    looker = await connect(house, LOOKER)
    await looker.ask("people:watch", {})
    crowd = {user_id: await connect(house, user_id) for user_id in range(100, 100 + CHANGES_AT_ONCE + 2)}
    assert await presence(looker) == [(user_id, True) for user_id in list(crowd)[:CHANGES_AT_ONCE]]
    *_, last = crowd
    await leave(crowd[last])
    assert await presence(looker) == [(last - 1, True)]


async def test_a_socket_that_has_gone_looks_no_longer(autojump_clock: object, house: Rooms, monkeypatch: Any) -> None:
    monkeypatch.setattr(onlookers, "MAX_ONLOOKERS", 2)
    first, second, third = [await connect(house, user_id) for user_id in (7, 8, 9)]
    for client in (first, second, second):
        assert await client.ask("people:watch", {}) == {"ok": True}
    refused = await third.ask("people:watch", {})
    assert refused["error"]["code"] == "unavailable"
    assert "GET /api/people" in refused["error"]["message"]
    await leave(second)
    assert await third.ask("people:watch", {}) == {"ok": True}
    assert await presence(first) == [(8, False)]


async def test_whoever_looks_on_after_an_actors_crash_is_told_again(autojump_clock: object, house: Rooms) -> None:
    looker, _ = await connect(house, LOOKER), await connect(house, 8)
    await looker.ask("people:watch", {})
    [each] = [each for each in house.users.presences() if each.user_id == 8]
    each.disconnect("actor_crashed")
    assert await presence(looker) == [(8, False)]


@pytest.mark.parametrize("name", ["people:watch", "people:unwatch"])
async def test_a_wrong_payload_is_refused(house: Rooms, name: str) -> None:
    client = await connect(house, LOOKER)
    assert (await client.ask(name, {"userId": 8}))["error"]["code"] == "invalid"


async def test_presence_can_be_turned_off(autojump_clock: object, tmp_path: Path) -> None:
    async with rooms(tmp_path, presence=False) as house:
        await upsert(house, 8, "Élodie Marín")
        client = await connect(house, 8)
        [item] = (await look(house, user_id=8)).json["items"]
        assert item == {"id": 8, "name": "Élodie Marín", "role": "user", "active": True}
        assert (await client.ask("people:watch", {}))["error"]["code"] == "forbidden"
        assert await client.ask("people:unwatch", {}) == {"ok": True}


async def test_the_operator_sees_names_also_where_the_store_does_not_tell_them(
    autojump_clock: object, house: Rooms
) -> None:
    await upsert(house, 8, "Élodie Marín", role="admin")
    for user_id in (8, 9):
        await connect(house, user_id)

    async def names() -> dict[int, str | None]:
        await trio.sleep(FRESH)
        answer = await house.request("GET", "/api/admin/actors", token=house.token(1, 8))
        assert answer.status == 200
        return {row["userId"]: row["name"] for row in answer.json["users"]["rows"]}

    assert await names() == {8: "Élodie Marín", 9: "Max Mara"}
    await upsert(house, 9, "Max Renamed")
    assert (await names())[9] == "Max Renamed"
    house.store.error = StoreUnavailable("the disk is full")
    assert await names() == {8: None, 9: None}
    house.store.error = None
    house.store.hangs = True
    began = trio.current_time()
    assert await names() == {8: None, 9: None}
    assert trio.current_time() - began == FRESH + NAMES_TIMEOUT
