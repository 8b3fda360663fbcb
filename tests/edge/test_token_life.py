"""A token's life on a socket: refreshed in place, warned of, and the end; and that it is never told."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.edge.rooms import SECRET, Rooms
from tests.edge.sockets import Client, settle

# The token's life


async def test_row_17_a_fresh_token_takes_the_place_of_the_old_one(house: Rooms, client: Client) -> None:
    answer = await client.ask("auth:refresh", {"token": house.token(1, 7, ttl=7200)})
    assert answer == {"ok": True, "expiresAt": "2026-01-27T12:30:00.000000Z"}
    house.clock.advance(3600 + 31)
    client.gateway.on_tick(0.0)
    assert client.session.reason is None
    assert client.take() == []
    assert (await client.ask("notification:read-all"))["ok"]


async def test_anothers_expired_or_bad_token_does_not_take_its_place(house: Rooms, client: Client) -> None:
    expired = house.token(1, 7, ttl=1)
    house.clock.advance(2)
    for token in (house.token(1, 8), house.token(2, 7), house.service(), expired, "garbage", "", "\x00"):
        answer = await client.ask("auth:refresh", {"token": token})
        assert answer["ok"] is False
        assert answer["error"]["code"] == "unauthorized"
        assert not token or token not in answer["error"]["message"]
    assert await client.emit("auth:refresh", {"token": "garbage"}, ack=False) == []
    assert client.session.reason is None
    assert (await client.ask("notification:read-all"))["ok"]
    house.clock.advance(3600 + 31)
    client.gateway.on_tick(0.0)
    assert client.session.reason == "token_expired"


async def test_row_17_the_holder_is_warned_once_before_the_end_and_let_go_after_a_grace(
    house: Rooms, client: Client
) -> None:
    def tick(seconds_before_the_end: float) -> list[Any]:
        house.clock.advance(3600 - seconds_before_the_end - (house.clock.unix() - began))
        client.gateway.on_tick(0.0)
        return client.take()

    began = house.clock.unix()
    settings = house.settings
    assert tick(settings.expiry_warning + settings.ping_interval + 1) == []
    [warning] = tick(settings.expiry_warning + settings.ping_interval)
    assert warning == ("event", "auth:expiring", {"expiresAt": "2026-01-27T11:30:00.000000Z"}, house.at(2))
    assert tick(10) == []
    assert tick(0) == []
    assert (await client.ask("notification:read", {"notificationId": 1}))["ok"], "within the grace"
    assert tick(-settings.expiry_grace + 1) == []
    assert not client.gone
    tick(-settings.expiry_grace)
    assert client.session.reason == "token_expired"
    await settle()
    assert house.users.presences()[0].sockets == {}


async def test_after_the_grace_nothing_is_carried_out_even_before_the_next_heartbeat(
    house: Rooms, client: Client
) -> None:
    house.clock.advance(3600 + house.settings.expiry_grace)
    assert (await client.ask("notification:read-all"))["error"]["code"] == "unauthorized"
    assert (await house.inbox())["unreadCount"] == 2
    assert (await client.ask("auth:refresh", {"token": house.token(1, 7)}))["ok"], "but it can still be mended"
    assert (await client.ask("notification:read-all"))["ok"]


async def test_after_a_refresh_the_next_end_is_warned_of_too(house: Rooms, client: Client) -> None:
    house.clock.advance(3590)
    client.gateway.on_tick(0.0)
    assert len(client.take()) == 1
    await client.ask("auth:refresh", {"token": house.token(1, 7, ttl=3600)})
    client.gateway.on_tick(0.0)
    assert client.take() == []
    house.clock.advance(3590)
    client.gateway.on_tick(0.0)
    assert [packet[1] for packet in client.take()] == ["auth:expiring"]


async def test_a_token_of_the_last_moment_that_there_is_can_be_refreshed_to(house: Rooms, client: Client) -> None:
    last = house.token(1, 7, ttl=253_402_300_799 - int(house.clock.unix()))
    assert await client.ask("auth:refresh", {"token": last}) == {"ok": True, "expiresAt": "9999-12-31T23:59:59.000000Z"}


async def test_a_heartbeat_of_a_client_that_is_not_in_is_harmless(house: Rooms) -> None:
    client = Client(house)
    client.gateway.on_tick(0.0)
    await client.connect(token="garbage")
    client.gateway.on_tick(0.0)
    await client.connect(token=house.token(1, 7))
    await client.send("1")
    house.clock.advance(7200)
    client.gateway.on_tick(0.0)
    assert client.take() == []


# Secrets


async def test_no_secret_is_logged_or_told(house: Rooms, client: Client) -> None:
    secrets = [SECRET, house.token(1, 7), house.token(1, 8, name="x"), "the-garbage-token"]
    told: list[Any] = []
    for token in secrets[1:]:
        other = Client(house)
        told += await other.connect(token=token, tenantId=5)
        told += await client.emit("auth:refresh", {"token": token})
        told += await client.emit("auth:refresh", {"token": token, "x": token})
        told += await client.emit("auth:refresh", token)
        await client.emit("auth:refresh", {"token": [token]}, ack=False)
    house.store.error = RuntimeError("inside")
    told += await client.emit("notification:read-all")
    text = house.log.getvalue() + msgspec.json.encode(told).decode()
    for secret in secrets:
        assert secret not in text
