"""The inbox's other states over HTTP and over sockets: the same answers, and every tab is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.edge.rooms import Rooms
from tests.edge.sockets import Client, settle

NOW, LATER = "2026-01-27T10:30:00.000000Z", "2026-01-28T10:30:00.000000Z"
NUMBER, JOB = 1, 1

COMMANDS: list[tuple[str, dict[str, Any], str, dict[str, Any], str, dict[str, Any], dict[str, int]]] = [
    # the event, its payload, the route, its body, what tabs are told, with what, and the counts
    ("notification:seen", {}, "notifications/seen", {}, "seen", {"upTo": 2, "at": NOW}, {"count": 2, "unseen": 0}),
    (
        "notification:seen",
        {"upTo": 1},
        "notifications/seen",
        {"upTo": 1},
        "seen",
        {"upTo": 1, "at": NOW},
        {"count": 2, "unseen": 1},
    ),
    (
        "notification:archive",
        {"notificationId": 1},
        "notifications/1/archive",
        {},
        "archived",
        {"notificationIds": [1]},
        {"count": 1, "unseen": 1},
    ),
    (
        "notification:snooze",
        {"notificationId": 1, "until": LATER},
        "notifications/1/snooze",
        {"until": LATER},
        "snoozed",
        {"notificationIds": [1], "until": LATER},
        {"count": 1, "unseen": 1},
    ),
    (
        "job:read-notifications",
        {"jobId": JOB},
        "jobs/1/read-notifications",
        {},
        "read",
        {"notificationIds": [2], "readAt": NOW},
        {"count": 1, "unseen": 1},
    ),
    ("job:mute", {"jobId": JOB}, "jobs/1/mute", {}, "muted", {"jobId": JOB}, {"count": 2, "unseen": 2}),
]

UNDONE: list[tuple[str, str, str, dict[str, Any], dict[str, int]]] = [
    # the command that comes first, the one that takes it back, what tabs are told, with what, and the counts
    ("read", "unread", "unread", {"notificationIds": [1]}, {"count": 2, "unseen": 2}),
    ("archive", "unarchive", "unarchived", {"notificationIds": [1]}, {"count": 2, "unseen": 2}),
    ("snooze", "unsnooze", "unsnoozed", {"notificationIds": [1]}, {"count": 2, "unseen": 2}),
]


async def prepare(house: Rooms) -> tuple[Client, Client]:
    """Two notifications, the second of a job, and two tabs."""
    await house.notify()
    await house.publish({"type": "job.created", "tenantId": 1, "title": "Banner", "requesterId": 8, "assigneeId": 7})
    one, other = Client(house), Client(house)
    for client in (one, other):
        await client.connect(token=house.token(1, 7))
    return one, other


def told(client: Client) -> list[tuple[str, Any]]:
    return [(packet[1], packet[2]) for packet in client.take() if packet[0] == "event"]


def without_count(packets: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [packet for packet in packets if packet[0] != "notification:unread-count"]


@pytest.mark.parametrize("over_http", [True, False], ids=["http", "socket"])
@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: f"{row[0]}{len(row[1])}")
async def test_a_command_is_answered_with_the_counts_and_told_to_every_tab_once(
    house: Rooms, row: tuple[Any, ...], over_http: bool
) -> None:
    event, payload, path, body, name, data, counts = row
    one, other = await prepare(house)
    before = {"count": 2, "unseen": 2}
    for again in (False, True):
        if over_http:
            answer = await house.request("POST", f"/api/{path}", body=body, token=house.token(1, 7))
            assert (answer.status, answer.json) == (200, {"ok": True, **counts})
        else:
            assert await one.ask(event, payload) == {"ok": True, **counts}
        await settle()
        kind = "job" if event in ("job:mute",) else "notification"
        expected = [] if again else [(f"{kind}:{name}", data)]
        packets = told(other)
        assert without_count(packets) == expected
        assert ("notification:unread-count", counts) in packets or again or counts == before


@pytest.mark.parametrize("over_http", [True, False], ids=["http", "socket"])
@pytest.mark.parametrize(("first", "second", "name", "data", "counts"), UNDONE)
async def test_what_takes_a_command_back_is_told_as_well(
    house: Rooms, first: str, second: str, name: str, data: Any, counts: Any, over_http: bool
) -> None:
    one, other = await prepare(house)
    more = {"until": LATER} if first == "snooze" else {}
    assert (await one.ask(f"notification:{first}", {"notificationId": 1, **more}))["count"] == 1
    await settle()
    told(other)
    for again in (False, True):
        if over_http:
            answer = await house.request("POST", f"/api/notifications/1/{second}", body={}, token=house.token(1, 7))
            assert (answer.status, answer.json) == (200, {"ok": True, **counts})
        else:
            assert await one.ask(f"notification:{second}", {"notificationId": 1}) == {"ok": True, **counts}
        await settle()
        assert without_count(told(other)) == ([] if again else [(f"notification:{name}", data)])


async def test_the_lists_have_what_is_in_each_place(house: Rooms) -> None:
    one, _ = await prepare(house)
    third = await house.notify()
    await one.ask("notification:archive", {"notificationId": 1})
    await one.ask("notification:snooze", {"notificationId": third, "until": LATER})

    async def listed(query: str) -> Any:
        answer = await house.request("GET", f"/api/notifications?{query}", token=house.token(1, 7))
        assert answer.status == 200, answer.body
        return answer.json

    page = await listed("view=inbox")
    assert ([item["id"] for item in page["items"]], page["unreadCount"], page["unseenCount"]) == ([2], 1, 1)
    assert [item["id"] for item in (await listed("view=archived"))["items"]] == [1]
    [snoozed] = (await listed("view=snoozed&unread=true"))["items"]
    assert (snoozed["id"], snoozed["snoozedUntil"]) == (third, LATER)
    assert [item["id"] for item in (await listed(f"job={JOB}&priority=HIGH&type=job_assigned"))["items"]] == [2]
    assert [item["id"] for item in (await listed("query=BANNER"))["items"]] == [2]
    assert (await listed("query=nothing"))["items"] == []


@pytest.mark.parametrize(
    "query", ["view=all", "priority=low", "job=x", "query=", f"query={'x' * 101}", "type=", f"type={'x' * 51}"]
)
async def test_a_wrong_filter_is_named(house: Rooms, query: str) -> None:
    answer = await house.request("GET", f"/api/notifications?{query}", token=house.token(1, 7))
    assert (answer.status, answer.error) == (400, "invalid")
    assert answer.json["error"]["message"].startswith(f"{query.partition('=')[0]}: must be ")


@pytest.mark.parametrize("name", ["type", "query"])
async def test_a_filter_that_postgresql_cannot_look_for_is_named(house: Rooms, name: str) -> None:
    answer = await house.request("GET", f"/api/notifications?{name}=a\0", token=house.token(1, 7))
    assert (answer.status, answer.error) == (400, "invalid")
    assert answer.json["error"]["message"] == f"{name} holds a NUL character: leave it out"


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (NOW, "is past"),
        ("2026-02-26T10:30:00Z", "expires at 2026-02-26T10:30:00.000000Z"),
        ("0001-01-01T00:00:00+14:00", "outside the years"),
        ("2026-01-28T10:30:00", "`$.until`"),
        (5, "`$.until`"),
    ],
)
async def test_a_snooze_to_no_possible_moment_is_refused(house: Rooms, until: Any, words: str) -> None:
    one, _ = await prepare(house)
    answer = await house.request("POST", "/api/notifications/1/snooze", body={"until": until}, token=house.token(1, 7))
    assert (answer.status, answer.error) == (400, "invalid")
    assert words in answer.json["error"]["message"]
    ack = await one.ask("notification:snooze", {"notificationId": 1, "until": until})
    assert (ack["ok"], ack["error"]["code"]) == (False, "invalid")


@pytest.mark.parametrize("word", ["unread", "archive", "unarchive", "unsnooze", "snooze"])
async def test_anothers_notification_is_answered_like_a_missing_one(house: Rooms, word: str) -> None:
    others, elsewhere = await house.notify(1, 8), await house.notify(2, 9)
    body = {"until": LATER} if word == "snooze" else {}
    for number in (others, elsewhere, 12345, 2**53):
        answer = await house.request("POST", f"/api/notifications/{number}/{word}", body=body, token=house.token(1, 7))
        assert (answer.status, answer.error) == (404, "not_found")
    assert (await house.inbox(1, 8))["unreadCount"] == (await house.inbox(2, 9))["unreadCount"] == 1


async def test_who_has_muted_a_job_can_find_that_out(house: Rooms) -> None:
    one, _ = await prepare(house)
    for muted, event in ((False, "job:unmute"), (True, "job:mute"), (False, "job:unmute")):
        await one.ask(event, {"jobId": JOB})
        answer = await house.request("GET", f"/api/jobs/{JOB}/mute", token=house.token(1, 7))
        assert answer.json == {"muted": muted}
    for token in (house.token(2, 7), house.token(1, 7)):
        job = JOB if token == house.token(2, 7) else 99
        assert (await house.request("GET", f"/api/jobs/{job}/mute", token=token)).status == 404
        assert (await house.request("POST", f"/api/jobs/{job}/mute", body={}, token=token)).status == 404
