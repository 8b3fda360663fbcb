"""Socket.IO as the contract has it: who is let in, and how commands are answered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from djactors.edge.gateway import MAX_PENDING
from djactors.kernel import MailboxFull
from djactors.store.errors import StoreUnavailable
from tests.edge.rooms import Rooms, rooms
from tests.edge.sockets import Client, settle

TIMES = 20

# Connecting


async def test_whoever_has_a_good_token_is_let_in_and_told_the_count(house: Rooms) -> None:
    await house.notify()
    (kind, reply), count = await Client(house).connect(token=house.token(1, 7), tenantId=1)
    assert kind == "connect"
    assert set(reply) == {"sid", "pid"}
    assert count == ("event", "notification:unread-count", {"count": 1, "unseen": 1}, house.at(1))


async def test_a_client_that_wants_no_recovery_gets_no_pid_and_no_offsets(house: Rooms) -> None:
    client = Client(house)
    (_, reply), count = await client.connect(token=house.token(1, 7), recovery=False)
    assert set(reply) == {"sid"}
    assert count == ("event", "notification:unread-count", {"count": 0, "unseen": 0})
    await house.notify()
    await settle()
    assert [len(packet) for packet in client.take()] == [3, 3]
    house.clock.advance(3600 - 60)
    client.gateway.on_tick(0.0)
    [expiring] = client.take()
    assert len(expiring) == 3


@pytest.mark.parametrize("recovery", [True, None, "false", 0, {}])
async def test_only_false_switches_recovery_off(house: Rooms, recovery: object) -> None:
    (_, reply), count = await Client(house).connect(token=house.token(1, 7), recovery=recovery)
    assert "pid" in reply
    assert len(count) == 4


async def test_two_sockets_have_pids_and_sids_of_their_own(house: Rooms) -> None:
    (_, one), _ = await Client(house).connect(token=house.token(1, 7))
    (_, two), _ = await Client(house).connect(token=house.token(1, 7))
    assert one["sid"] != two["sid"]


def refusal(packets: list[Any]) -> str:
    [(kind, reply)] = packets
    assert kind == "connect_error"
    assert set(reply) == {"message", "data"}
    assert reply["message"] == "Unauthorized"
    assert set(reply["data"]) == {"code"}
    return str(reply["data"]["code"])


async def test_a_bad_token_is_told_unauthorized_with_a_code(house: Rooms) -> None:
    expired = house.token(1, 7, ttl=10)
    house.clock.advance(10)
    for auth, code in (
        ({}, "token_missing"),
        ({"token": ""}, "token_missing"),
        ({"token": None}, "token_missing"),
        ({"token": "garbage"}, "token_invalid"),
        ({"token": 5}, "token_invalid"),
        ({"token": ["x"]}, "token_invalid"),
        ({"token": {"a": 1}}, "token_invalid"),
        ({"token": "x" * 100_000}, "token_invalid"),
        ({"token": f"Bearer {house.token(1, 7)}"}, "token_invalid"),
        ({"token": expired}, "token_expired"),
        ({"token": house.service()}, "token_without_user"),
        ({"token": house.service(1)}, "token_without_user"),
        ({"token": house.token(1, 7), "tenantId": 2}, "tenant_mismatch"),
        ({"token": house.token(1, 7), "tenantId": "01"}, "tenant_mismatch"),
        ({"token": house.token(1, 7), "tenantId": True}, "tenant_mismatch"),
        ({"token": house.token(1, 7), "tenantId": [1]}, "tenant_mismatch"),
        ({"token": house.token(1, 7), "tenantId": {"id": 1}}, "tenant_mismatch"),
        ({"token": house.token(1, 7), "tenantId": 0}, "tenant_mismatch"),
    ):
        client = Client(house)
        assert refusal(await client.connect(**auth)) == code
        assert client.session.reason is None
        assert client.session.owner is None
        assert client.gateway.is_idle
    assert house.users.presences() == []


async def test_a_connect_without_auth_is_told_unauthorized(house: Rooms) -> None:
    client = Client(house)
    await client.send("0")
    assert refusal(client.take()) == "token_missing"


async def test_a_refused_client_may_try_again_on_the_same_connection(house: Rooms) -> None:
    client = Client(house)
    assert refusal(await client.connect(token="garbage")) == "token_invalid"
    assert (await client.connect(token=house.token(1, 7)))[0][0] == "connect"


@pytest.mark.parametrize("namespace", ["/admin,", "/x,", "/%2f,", "//,", "/../,", "/?token=x,"])
async def test_there_is_one_namespace(house: Rooms, namespace: str) -> None:
    client = Client(house)
    [(kind, reply)] = await client.connect(namespace=namespace, token=house.token(1, 7))
    assert kind == f"connect_error{namespace[:-1]}"
    assert reply == {"message": "Invalid namespace"}
    assert client.session.reason == "bad_namespace"


async def test_a_client_that_has_joined_keeps_its_session_when_it_asks_for_a_namespace_that_is_not_there(
    house: Rooms,
) -> None:
    client = Client(house)
    await client.connect(token=house.token(1, 7))
    for _ in range(8):
        assert (await client.connect(namespace="/admin,"))[0][0] == "connect_error/admin"
    assert client.session.reason is None
    await client.connect(namespace="/admin,")
    assert client.session.reason == "bad_namespace"


async def test_another_users_token_is_refused_on_a_connection_that_is_somebodys(house: Rooms) -> None:
    client = Client(house)
    await client.connect(token=house.token(1, 7))
    await client.send("1")
    for other in (house.token(1, 8), house.token(2, 7)):
        assert refusal(await client.connect(token=other)) == "session_of_another_user"
    assert (await client.connect(token=house.token(1, 7)))[0][0] == "connect"


async def test_a_second_connect_on_a_namespace_ends_the_connection(house: Rooms) -> None:
    client = Client(house)
    await client.connect(token=house.token(1, 7))
    await client.connect(token=house.token(1, 7))
    assert client.session.reason == "violation"


@pytest.mark.parametrize(
    "point", [{"pid": "x"}, {"since": "x.5"}, {"since": ""}, {"pid": 5, "offset": {}}, {"since": 0}]
)
async def test_a_client_that_names_a_point_is_told_to_reload(house: Rooms, point: dict[str, Any]) -> None:
    await house.notify()
    connect, reset, count = await Client(house).connect(token=house.token(1, 7), **point)
    assert connect[0] == "connect"
    assert reset == ("event", "changes:reset", {"offset": house.at(1)}, house.at(1))
    assert count[1:3] == ("notification:unread-count", {"count": 1, "unseen": 1})


async def test_a_client_without_a_point_is_not_told_to_reload(house: Rooms) -> None:
    for auth in ({}, {"since": None}, {"pid": None}, {"offset": "x"}):
        packets = await Client(house).connect(token=house.token(1, 7), **auth)
        assert [packet[:2] for packet in packets[1:]] == [("event", "notification:unread-count")]


async def test_a_socket_too_many_is_let_go_so_that_it_comes_again(tmp_path: Path, autojump_clock: object) -> None:
    async with rooms(tmp_path, max_sockets_per_user=2) as house:
        clients = [Client(house) for _ in range(3)]
        for client in clients:
            await client.connect(token=house.token(1, 7))
        assert [client.session.reason for client in clients] == [None, None, "user_unavailable"]
        clients[0].session.close("client")
        await settle()
        assert (await Client(house).connect(token=house.token(1, 7)))[0][0] == "connect"


async def test_a_client_that_leaves_before_it_is_answered_leaves_nothing_behind(house: Rooms) -> None:
    for _ in range(house.settings.max_sockets_per_user + 5):
        client = Client(house)
        client.gateway.on_message(f'0{{"token":"{house.token(1, 7)}"}}')
        client.session.close("gone")
        await settle()
        assert client.take() == []
    assert (await Client(house).connect(token=house.token(1, 7)))[0][0] == "connect"


# Commands


async def test_a_command_is_answered_and_told_to_every_tab(house: Rooms, client: Client) -> None:
    other, stranger = Client(house), Client(house)
    await other.connect(token=house.token(1, 7))
    await stranger.connect(token=house.token(1, 8))

    assert await client.ask("notification:read", {"notificationId": 1}) == {"ok": True, "count": 1, "unseen": 1}
    read, count = other.take()
    assert read[1:3] == ("notification:read", {"notificationIds": [1], "readAt": "2026-01-27T10:30:00.000000Z"})
    assert count[1:3] == ("notification:unread-count", {"count": 1, "unseen": 1})

    assert await client.ask("notification:delete", {"notificationId": 2}) == {"ok": True, "count": 0, "unseen": 0}
    deleted, count = other.take()
    assert deleted[1:3] == ("notification:deleted", {"notificationIds": [2]})
    assert count[2] == {"count": 0, "unseen": 0}

    await house.notify()
    await settle()
    other.take()
    assert await client.ask("notification:read-all", {"userId": 7}) == {"ok": True, "count": 0, "unseen": 0}
    read, count = other.take()
    assert read[1:3] == ("notification:read", {"all": True, "readAt": "2026-01-27T10:30:00.000000Z"})
    assert count[2] == {"count": 0, "unseen": 0}
    assert stranger.take() == []


async def test_a_command_repeated_is_answered_alike_and_told_once(house: Rooms, client: Client) -> None:
    for name, payload in (
        ("notification:read", {"notificationId": 1}),
        ("notification:read-all", {}),
        ("notification:delete", {"notificationId": 1}),
    ):
        first = await client.ask(name, payload)
        packets = await client.emit(name, payload)
        assert packets == [("ack", packets[0][1], first)]


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("notification:read", {"notificationId": 1}),
        ("notification:read-all", {}),
        ("notification:delete", {"notificationId": 1}),
    ],
)
async def test_a_command_without_an_ack_is_carried_out_too(
    house: Rooms, client: Client, name: str, payload: dict[str, int]
) -> None:
    packets = await client.emit(name, payload, ack=False)
    assert {packet[0] for packet in packets} == {"event"}
    assert (await house.inbox())["unreadCount"] < 2


@pytest.mark.parametrize("args", [(), ({},), (None,)])
async def test_read_all_needs_no_payload(client: Client, args: tuple[Any, ...]) -> None:
    """A browser that passes `undefined` sends null."""
    assert await client.ask("notification:read-all", *args) == {"ok": True, "count": 0, "unseen": 0}


async def test_an_ack_has_the_number_that_was_asked_with_even_0(client: Client) -> None:
    for number in ("0", "7", "9007199254740991"):
        await client.send(f'2{number}["notification:read",{{"notificationId":1}}]')
        assert [packet[1] for packet in client.take() if packet[0] == "ack"] == [int(number)]


WRONG: list[tuple[str, tuple[Any, ...]]] = [
    ("notification:read", ()),
    ("notification:read", (None,)),
    ("notification:read", (1,)),
    ("notification:read", ("1",)),
    ("notification:read", ([1],)),
    ("notification:read", ({},)),
    ("notification:read", ({"notificationId": "01"},)),
    ("notification:read", ({"notificationId": True},)),
    ("notification:read", ({"notificationId": 1.5},)),
    ("notification:read", ({"notificationId": None},)),
    ("notification:read", ({"notificationId": 0},)),
    ("notification:read", ({"notificationId": -1},)),
    ("notification:read", ({"notificationId": 2**53},)),
    ("notification:read", ({"notificationId": 2**63},)),
    ("notification:read", ({"notificationId": [1]},)),
    ("notification:read", ({"notificationId": {"$gt": 0}},)),
    ("notification:read", ({"notificationIds": [1]},)),
    ("notification:read", ({"notificationId": 1, "userId": 8},)),
    ("notification:read", ({"notification_id": 1},)),
    ("notification:read", ({"notificationId": 1}, {"notificationId": 2})),
    ("notification:delete", ({"notificationId": "1 OR 1=1"},)),
    ("notification:delete", ({},)),
    ("notification:read-all", ({"userId": "x"},)),
    ("notification:read-all", ({"all": True},)),
    ("notification:read-all", ("everything",)),
    ("auth:refresh", ()),
    ("auth:refresh", ({},)),
    ("auth:refresh", ({"token": 5},)),
    ("auth:refresh", ({"token": None},)),
    ("auth:refresh", ({"token": "x", "tenantId": 1},)),
    ("notification:new", ({"id": 1},)),
    ("notification:unread-count", ({"count": 99, "unseen": 99},)),
    ("job:assigned", ({"jobId": 1},)),
    ("Notification:Read", ({"notificationId": 1},)),
    ("test:create-job", ({"projectId": 1, "jobTypeId": 1},)),
    ("test:assign-job", ({"jobId": 1, "assigneeId": 7},)),
    ("", ()),
    ("x" * 10_000, ()),
    ("__proto__", ({},)),
    ("a\r\nb\x1b[31m\u2028", ()),
]


@pytest.mark.parametrize(("name", "args"), WRONG)
async def test_what_is_wrong_is_refused_and_changes_nothing(
    house: Rooms, client: Client, name: str, args: tuple[Any, ...]
) -> None:
    packets = await client.emit(name, *args)
    [(kind, _, answer)] = packets
    assert kind == "ack"
    assert answer["ok"] is False
    assert set(answer) == {"ok", "error"}
    assert set(answer["error"]) == {"code", "message"}
    assert answer["error"]["code"] == "invalid"
    assert len(answer["error"]["message"]) < 300
    assert await client.emit(name, *args, ack=False) == []
    assert client.session.reason is None
    assert (await house.inbox())["unreadCount"] == 2
    refused = [entry for entry in house.entries if entry["event"] == "emit refused"]
    assert len(refused) == 1, "the first is told, the second is summed up"
    assert len(house.log.getvalue().splitlines()) == len(house.entries)
    assert b"djactors_refusals_total" in house.telemetry.metrics.exposition()


async def test_anothers_notification_is_answered_like_a_missing_one(house: Rooms, client: Client) -> None:
    others, elsewhere = await house.notify(1, 8), await house.notify(2, 9)
    for name in ("notification:read", "notification:delete"):
        answers = [
            await client.ask(name, {"notificationId": number}) for number in (others, elsewhere, 12345, 2**53 - 1)
        ]
        assert answers == [{"ok": False, "error": {"code": "not_found", "message": "not found"}}] * 4
    for other in (8, 9, 12345):
        answer = await client.ask("notification:read-all", {"userId": other})
        assert answer == {"ok": False, "error": {"code": "not_found", "message": "not found"}}
    assert (await house.inbox(1, 8))["unreadCount"] == 1
    assert (await house.inbox(2, 9))["unreadCount"] == 1
    assert (await house.inbox(1, 7))["unreadCount"] == 2


async def test_an_event_before_the_connect_ends_the_connection(house: Rooms) -> None:
    client = Client(house)
    await client.emit("notification:read-all", {})
    assert client.session.reason == "violation"


async def test_too_many_commands_at_a_time_are_refused_until_some_are_answered(house: Rooms, client: Client) -> None:
    for number in range(MAX_PENDING + 10):
        client.gateway.on_message(f'2{number}["notification:read-all"]')
    await settle()
    acks = {packet[1]: packet[2] for packet in client.take() if packet[0] == "ack"}
    assert len(acks) == MAX_PENDING + 10
    refused = [number for number, answer in acks.items() if not answer["ok"]]
    assert refused == list(range(MAX_PENDING, MAX_PENDING + 10))
    assert acks[MAX_PENDING]["error"]["code"] == "too_many_requests"
    for _ in range(MAX_PENDING * 2):
        assert (await client.ask("notification:read-all"))["ok"]


async def test_refused_commands_do_not_use_up_the_allowance(house: Rooms, client: Client) -> None:
    house.store.error = StoreUnavailable("the disk is full")
    for _ in range(MAX_PENDING * 2):
        answer = await client.ask("notification:read-all")
        assert answer["error"]["code"] == "unavailable"
        await client.ask("notification:read", {})
        await client.ask("notification:read", {"notificationId": 99})
    house.store.error = None
    assert (await client.ask("notification:read-all"))["ok"]


async def test_a_failure_of_ours_is_told_without_details(house: Rooms, client: Client) -> None:
    for error in (StoreUnavailable("/secret/path"), RuntimeError("/secret/path")):
        house.store.error = error
        packets = await client.emit("notification:read", {"notificationId": 1})
        assert "secret" not in msgspec.json.encode(packets).decode()
        assert packets[0][2]["ok"] is False
        assert client.session.reason is None
        house.store.error = None


async def test_a_full_router_is_told(house: Rooms) -> None:
    class Full:
        def request_nowait(self, *_: object) -> None:
            raise MailboxFull("the mailbox of router is full")

    services = dataclasses.replace(house.services, router=Full())  # type: ignore[arg-type]
    client = Client(house, services)
    await client.connect(token=house.token(1, 7))
    for _ in range(MAX_PENDING + 1):
        assert (await client.ask("notification:read-all"))["error"]["code"] == "unavailable"


async def test_an_answer_that_comes_after_the_client_left_goes_nowhere(house: Rooms, client: Client) -> None:
    client.gateway.on_message('20["notification:read",{"notificationId":1}]')
    client.gateway.on_message("1")
    await settle()
    assert client.take() == []
    assert (await house.inbox())["unreadCount"] == 1, "it was carried out all the same"
    # Back on the same connection, it does not get the answers to what it asked before.
    await client.connect(token=house.token(1, 7))
    client.gateway.on_message('20["notification:read",{"notificationId":2}]')
    client.gateway.on_message("1")
    client.gateway.on_message(f'0{{"token":"{house.token(1, 7)}"}}')
    await settle()
    assert "ack" not in [packet[0] for packet in client.take()]


async def test_an_answer_that_comes_after_the_connection_ended_goes_nowhere(house: Rooms, client: Client) -> None:
    client.gateway.on_message('20["notification:read",{"notificationId":1}]')
    client.session.close("gone")
    await settle()
    assert client.take() == []
    assert (await house.inbox())["unreadCount"] == 1


async def test_what_a_client_acknowledges_unasked_is_ignored(client: Client) -> None:
    await client.send("35[]")
    await client.send('30[{"ok":true}]')
    assert client.take() == []
    assert client.session.reason is None


async def test_a_client_that_goes_on_being_refused_is_counted_but_does_not_fill_the_log(house: Rooms) -> None:
    client = Client(house)
    for _ in range(TIMES):
        await client.connect(token="garbage")
    await client.connect(token=house.token(1, 7))
    for _ in range(TIMES):
        await client.emit("nonsense", ack=False)
    refused = [entry for entry in house.entries if entry["event"] in ("connect refused", "emit refused")]
    assert [entry["event"] for entry in refused] == ["connect refused", "emit refused"]
    assert all(entry["came"] and entry["expected"] and entry["mend"] for entry in refused)
    counted = house.telemetry.metrics.exposition().decode()
    assert f'djactors_refusals_total{{reason="token_invalid"}} {float(TIMES)}' in counted
    assert f'djactors_refusals_total{{reason="emit_invalid"}} {float(TIMES)}' in counted


async def test_a_fault_of_ours_is_logged_however_much_was_refused_before(house: Rooms) -> None:
    class Faulty:
        def request_nowait(self, _: object, reply: Callable[[Exception], None]) -> None:
            reply(RuntimeError("a fault"))

    services = dataclasses.replace(house.services, router=Faulty())  # type: ignore[arg-type]
    client = Client(house, services)
    await client.connect(token=house.token(1, 7))
    for _ in range(TIMES + 1):
        await client.emit("nonsense")
    await client.emit("notification:read-all")
    assert [entry["event"] for entry in house.entries if entry["level"] == "error"] == ["emit failed"]
