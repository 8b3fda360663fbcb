"""Lists and changes over HTTP, where an old copy of the database was put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.copies import WAYS, Way, copy_of, put_back, put_back_online
from tests.edge.rooms import Rooms, notification, rooms
from tests.edge.sockets import Client, settle

TENANT, ANN, BOB, CAROL = 1, 7, 8, 9
LISTS = [
    "/api/notifications",
    "/api/notifications?unread=true&limit=1",
    "/api/notifications/unread-count",
    "/api/jobs",
    "/api/jobs?assignee=me",
    "/api/changes?since=.0",
    "/api/changes?since=junk",
]


async def told(house: Rooms, count: int, title: str, user_id: int = ANN) -> None:
    for number in range(count):
        await house.notify(TENANT, user_id, title=f"{title} {number}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("written", [0, 2, 5, 8])
async def test_what_came_after_an_offset_that_is_lost_is_a_reset(tmp_path: Path, way: Way, written: int) -> None:
    copy = tmp_path / "copy.db"
    async with rooms(tmp_path) as house:
        await told(house, 5, "kept")
        copy_of(house.path, copy, way)
        kept = (await house.inbox())["offset"]
        await told(house, 5, "lost")
        lost = (await house.inbox())["offset"]
    put_back(copy, house.path)
    async with rooms(tmp_path) as house:
        await told(house, written, "other")
        token = house.token(TENANT, ANN)
        answer = (await house.request("GET", f"/api/changes?since={lost}", token=token)).json
        assert answer == {"items": [], "offset": house.at(5 + written), "reset": True}
        assert (await house.inbox())["offset"] == answer["offset"]
        answer = (await house.request("GET", f"/api/changes?since={kept}", token=token)).json
        assert [item["data"]["title"] for item in answer["items"]] == [f"other {number}" for number in range(written)]
        assert (answer["offset"], answer["reset"]) == (house.at(5 + written), False)


@pytest.mark.parametrize("path", LISTS)
async def test_no_list_lacks_what_an_open_socket_was_told(house: Rooms, tmp_path: Path, path: str) -> None:
    """The list would be shown beside what is lost; so the socket goes first, and the client asks again."""
    await told(house, 5, "kept")
    copy = copy_of(house.path, tmp_path / "copy.db")
    ann, bob, carol = Client(house), Client(house), Client(house)
    (_, reply), _ = await ann.connect(token=house.token(TENANT, ANN))
    await bob.connect(token=house.token(TENANT, BOB))
    await carol.connect(token=house.token(TENANT, CAROL))
    await told(house, 5, "lost")
    await told(house, 1, "lost", BOB)
    await settle()
    offset = ann.take()[-1][3]
    put_back_online(copy, house.path)

    token = house.token(TENANT, ANN)
    answer = await house.request("GET", path, token=token)
    assert (answer.status, answer.error, answer.headers["retry-after"]) == (503, "unavailable", "1")
    await settle()
    assert ann.session.reason == "history_lost"
    assert bob.session.reason == "history_lost", "whoever knows what is lost goes, whoever found it out"
    assert not carol.gone
    answer = await house.request("GET", path, token=token)
    assert (answer.status, answer.json["offset"]) == (200, house.at(5))

    again = Client(house)
    _, reset, count = await again.connect(token=token, pid=reply["pid"], offset=offset)
    assert reset[1:] == ("changes:reset", {"offset": house.at(5)}, house.at(5))
    assert count[2] == {"count": 5, "unseen": 5}


@pytest.mark.parametrize("path", LISTS)
async def test_somebody_who_was_told_nothing_that_is_lost_is_answered_at_once(
    house: Rooms, tmp_path: Path, path: str
) -> None:
    await told(house, 5, "kept")
    client = Client(house)
    await client.connect(token=house.token(TENANT, BOB))
    copy = copy_of(house.path, tmp_path / "copy.db")
    await told(house, 5, "lost")
    put_back_online(copy, house.path)
    for user_id in (ANN, BOB):
        answer = await house.request("GET", path, token=house.token(TENANT, user_id))
        assert (answer.status, answer.json["offset"]) == (200, house.at(5))
    assert not client.gone


async def test_a_post_after_it_is_recorded_in_what_was_put_back(house: Rooms, tmp_path: Path) -> None:
    first = await house.publish(notification(TENANT, ANN, id="kept"))
    copy = copy_of(house.path, tmp_path / "copy.db")
    await house.publish(notification(TENANT, ANN, id="lost"))
    put_back_online(copy, house.path)
    again = await house.publish(notification(TENANT, ANN, id="kept"))
    assert (again.status, again.body) == (200, first.body)
    new = await house.publish(notification(TENANT, ANN, id="lost"))
    assert (new.status, new.json["seq"]) == (201, 2)
