"""A person is erased through the server: who may, in pieces, and what those see who are connected."""

from __future__ import annotations

from typing import Any

import pytest

from djactors.edge import user_routes
from tests.edge.rooms import Answer, Rooms
from tests.edge.sockets import Client, settle

ADMIN, ANN, OTHER = 1, 7, 8


async def erase(house: Rooms, user_id: Any = ANN, *, token: str | None = None, **body: Any) -> Answer:
    token = house.service() if token is None else token
    body.setdefault("tenantId", 1)
    return await house.request("POST", f"/api/users/{user_id}/erase", token=token, body=body)


async def test_the_person_goes_at_once_and_the_others_begin_anew(house: Rooms, client: Client) -> None:
    other, stranger = Client(house), Client(house)
    await house.notify(1, OTHER)
    await house.notify(2, ANN)
    [(_, greeting), *_] = await other.connect(token=house.token(1, OTHER))
    await stranger.connect(token=house.token(2, ANN))
    offset = (await house.inbox(1, OTHER))["offset"]
    answer = await erase(house)
    assert answer.status == 200, answer.body
    assert answer.json.keys() == {"at", "erased", "namesake", "after", "overwritten"}
    assert (answer.json["after"], answer.json["overwritten"]) == (None, True)
    assert answer.json["erased"]["notifications"] == 2
    await settle()
    assert client.gone
    assert other.gone
    assert not stranger.gone
    assert (await house.request("GET", "/api/notifications", token=house.token(1, ANN))).status == 401
    again = Client(house)
    assert (await again.connect(token=house.token(1, ANN)))[0][0] == "connect_error"
    # Whoever comes back is told to begin anew, whether by a pid or by an offset alone.
    for auth in ({"pid": greeting["pid"], "offset": offset}, {"since": offset}):
        back = Client(house)
        told = await back.connect(token=house.token(1, OTHER), **auth)
        assert [packet[1] for packet in told[1:]] == ["changes:reset", "notification:unread-count"]
        # And from there on as ever.
        await house.notify(1, OTHER)
        assert len(await back.events("notification:new")) == 1
    changes = await house.request("GET", f"/api/changes?since={offset}", token=house.token(1, OTHER))
    assert changes.json["reset"] is True


async def test_it_goes_on_where_a_piece_ended(house: Rooms, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_routes, "PIECE_SECONDS", 0.0)
    for _ in range(1200):
        await house.notify(1, OTHER)
    after: str | None = None
    pieces = rows = 0
    while pieces == 0 or after is not None:
        answer = (await erase(house, **({} if after is None else {"after": after}))).json
        assert answer.keys() >= {"at", "erased", "namesake", "after"}
        after, pieces, rows = answer["after"], pieces + 1, rows + answer["erased"].get("changes", 0)
    assert pieces > 2
    assert rows > 1200
    assert (await house.inbox(1, OTHER))["unreadCount"] > 20


async def test_a_place_is_believed_only_as_it_was_given(
    house: Rooms, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever could name any place would be told that all is erased, and nobody would have looked."""
    monkeypatch.setattr(user_routes, "PIECE_SECONDS", 0.0)
    await house.introduce(1, OTHER)
    for _ in range(1200):
        await house.notify(1, OTHER)
    given = (await erase(house)).json["after"]
    assert given is not None
    place, _, mac = given.rpartition(".")
    for after in (f"9{place}.{mac}", f"{place}.{mac[:-1]}{'A' if mac[-1] != 'A' else 'B'}"):
        refused = await erase(house, after=after)
        assert (refused.status, refused.error) == (400, "invalid")
    assert (await erase(house, OTHER, after=given)).error == "invalid", "it is of somebody else's erasure"
    assert (await erase(house, after=given)).status == 200


async def test_who_may(house: Rooms, client: Client) -> None:
    await house.introduce(1, OTHER)
    for token in (house.token(1, OTHER), house.token(1, OTHER, role="manager")):
        assert (await erase(house, token=token)).error == "forbidden"
    admin = house.token(1, ADMIN, role="admin")
    refused = await erase(house, ADMIN, token=admin)
    assert (refused.status, refused.json["error"]["message"]) == (403, "nobody erases themselves: ask another admin")
    assert (await erase(house, token=house.service(2))).error == "forbidden"
    assert (await erase(house, tenantId=2, token=admin)).error == "forbidden"
    assert (await erase(house, 99)).status == 404
    assert (await erase(house, tenantId=3)).status == 404
    assert (await erase(house, 2**53)).status == 404
    for body in ({"after": "1-2"}, {"after": "x"}, {"names": [""]}, {"names": ["a"] * 11}, {"names": ["\0"]}, {"x": 1}):
        answer = await erase(house, **body)
        assert (answer.status, answer.error) == (400, "invalid"), body
    assert (await house.request("POST", f"/api/users/{ANN}/erase", body={"tenantId": 1})).status == 401
    assert not client.gone
    assert (await erase(house, token=admin, names=["Other Name"])).status == 200


async def test_the_file_is_written_anew_only_if_that_is_wanted(house: Rooms, client: Client) -> None:
    answer = (await erase(house, overwrite=False)).json
    assert "overwritten" not in answer
    assert (await erase(house)).json["overwritten"] is True
    await house.notify(1, OTHER)
