"""Coming back as the stock client does it, by a CONNECT with a pid and the offset of the last event."""

from __future__ import annotations

from typing import Any

from djactors.domain.commands import Publish
from djactors.domain.events import NotificationRequested
from tests.edge.rooms import Rooms
from tests.edge.sockets import Client, settle


async def missed(house: Rooms, count: int, user_id: int = 7) -> None:
    event = NotificationRequested(tenant_id=1, user_id=user_id, notification_type="note", priority="LOW", title="Hello")
    await house.store.record([Publish(event) for _ in range(count)])
    house.users.reread()
    await settle()


async def cut(client: Client) -> None:
    client.session.close("transport close")
    await settle()
    client.take()


def ids(packets: list[Any]) -> list[int]:
    return [packet[2]["id"] for packet in packets if packet[1] == "notification:new"]


async def test_the_answer_comes_first_then_what_was_missed_then_the_count(house: Rooms, client: Client) -> None:
    first = Client(house)
    (_, reply), count = await first.connect(token=house.token(1, 7))
    await cut(first)
    await missed(house, 250)
    again = Client(house)
    answer, *packets = await again.connect(token=house.token(1, 7), pid=reply["pid"], offset=count[3])
    assert answer[0] == "connect"
    assert answer[1]["pid"] == reply["pid"]
    assert answer[1]["sid"] != reply["sid"]
    assert ids(packets) == list(range(3, 253))
    assert [packet[1] for packet in packets].count("notification:unread-count") == 1
    assert packets[-1][1:3] == ("notification:unread-count", {"count": 252, "unseen": 252})


async def test_nothing_is_replayed_to_a_token_that_is_not_good(house: Rooms) -> None:
    first = Client(house)
    (_, reply), count = await first.connect(token=house.token(1, 7))
    await missed(house, 3)
    for token in ("", "garbage", house.token(1, 7, ttl=-1)):
        thief = Client(house)
        [(kind, _)] = await thief.connect(token=token, pid=reply["pid"], offset=count[3])
        assert kind == "connect_error"
    assert not first.gone


async def test_anothers_pid_gets_nothing_of_theirs_and_does_them_no_harm(house: Rooms) -> None:
    first = Client(house)
    (_, reply), count = await first.connect(token=house.token(1, 7))
    await missed(house, 3)
    first.take()
    thief = Client(house)
    answer, reset, badge = await thief.connect(token=house.token(1, 8), pid=reply["pid"], offset=count[3])
    assert answer[1]["pid"] != reply["pid"]
    assert reset[1] == "changes:reset"
    assert badge[2] == {"count": 0, "unseen": 0}
    await missed(house, 1)
    assert ids(first.take()) == [4]
    assert not first.gone


async def test_a_connection_that_only_its_client_knows_to_be_dead_is_superseded(house: Rooms, client: Client) -> None:
    first = Client(house)
    (_, reply), count = await first.connect(token=house.token(1, 7))
    await missed(house, 2)
    again = Client(house)
    answer, *packets = await again.connect(token=house.token(1, 7), pid=reply["pid"], offset=count[3])
    assert answer[1]["pid"] == reply["pid"]
    assert ids(packets) == [3, 4]
    assert first.session.reason == "superseded"
    assert not client.gone


async def test_a_client_that_left_the_namespace_may_come_back_to_it_on_the_same_connection(
    house: Rooms, client: Client
) -> None:
    first = Client(house)
    (_, reply), count = await first.connect(token=house.token(1, 7))
    await first.send("1")
    await missed(house, 2)
    answer, *packets = await first.connect(token=house.token(1, 7), pid=reply["pid"], offset=count[3])
    assert answer[1]["pid"] == reply["pid"]
    assert ids(packets) == [3, 4]
    assert not first.gone


async def test_a_warning_never_comes_before_the_answer(house: Rooms) -> None:
    """The client keeps what comes early and takes its offset for its own, ahead of what it is yet to be given."""
    first = Client(house)
    (_, reply), count = await first.connect(token=house.token(1, 7))
    await cut(first)
    await missed(house, 2)
    again = Client(house)
    house.clock.advance(3600 - 60)
    soon = house.token(1, 7, ttl=60)
    auth = f'{{"token":"{soon}","pid":"{reply["pid"]}","offset":"{count[3]}"}}'
    again.gateway.on_message("0" + auth)
    again.gateway.on_tick(0.0)
    assert again.take() == []
    await settle()
    assert [packet[0] for packet in again.take()] == ["connect", "event", "event", "event"]
    again.gateway.on_tick(0.0)
    [warning] = again.take()
    assert warning[1] == "auth:expiring"
    assert warning[3] == house.at(2)
