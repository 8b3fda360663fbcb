"""Every route of the contract: who may ask, what the operator sees, and how a refusal looks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio

from djactors.store.errors import StoreBroken, StoreBusy, StoreClosed, StoreUnavailable
from tests.edge.rooms import SECRET, Answer, Rooms, notification, rooms

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "QUERY")

SERVICE_ROUTES = [("POST", "/api/events"), ("POST", "/api/events/batch")]
USER_ROUTES = [
    ("GET", "/api/notifications"),
    ("GET", "/api/notifications/unread-count"),
    ("POST", "/api/notifications/1/read"),
    ("POST", "/api/notifications/read-all"),
    ("DELETE", "/api/notifications/1"),
]
ADMIN_ROUTES = [("GET", "/api/admin/actors"), ("GET", "/api/admin/suppressions")]
OPEN_ROUTES = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")]
ROUTES = SERVICE_ROUTES + USER_ROUTES + ADMIN_ROUTES + OPEN_ROUTES

EVENT = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}


# Routes and methods


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_route_takes_its_methods_and_names_them_to_others(house: Rooms, method: str, path: str) -> None:
    allowed = {way for way, other in ROUTES if other == path} | ({"HEAD"} if method == "GET" else set())
    for wrong in METHODS:
        if wrong not in allowed:
            answer = await house.request(wrong, path, token=house.token(1, 7))
            assert (answer.status, answer.error) == (405, "method_not_allowed")
            assert answer.headers["allow"] == method


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/events/",
        "/api/events/batch/1",
        "/API/EVENTS",
        "/api/notifications/",
        "/api/notifications/x",
        "/api/notifications/-1",
        "/api/notifications/1/read/",
        "/api/notifications/1/delete",
        "/api/notifications/\u0661/read",
        "/api/notifications/1\n/read",
        "/api/notifications/1 OR 1=1",
        "/api/notifications/../events",
        "/api//events",
        "/healthz/",
        "/admin",
        "/.env",
        "/\r\nx: y",
        "/\ufffd",
    ],
)
async def test_what_is_no_route_is_not_found(house: Rooms, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await house.request(method, path, token=house.token(1, 7))
        assert (answer.status, answer.error) == (404, "not_found")


@pytest.mark.parametrize(("method", "path"), USER_ROUTES + SERVICE_ROUTES)
async def test_a_query_parameter_that_does_not_exist_is_refused(house: Rooms, method: str, path: str) -> None:
    token = house.token(1, 7) if (method, path) in USER_ROUTES else house.service()
    answer = await house.request(method, f"{path}?limitt=5", token=token, body=EVENT)
    assert (answer.status, answer.error) == (400, "invalid")
    assert "limitt" in answer.json["error"]["message"]
    assert (await house.inbox())["items"] == []


# Who may ask


@pytest.mark.parametrize(("method", "path"), USER_ROUTES + SERVICE_ROUTES)
async def test_without_a_good_token_nothing_is_answered(house: Rooms, method: str, path: str) -> None:
    await house.notify()
    before = await house.offset()
    expired = house.token(1, 7, ttl=10)
    expired_service = house.token(role="service", ttl=10)
    house.clock.advance(10)
    good = house.token(1, 7)
    for authorization in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer garbage",
        f"Bearer {expired}",
        f"Bearer {expired_service}",
        f"Basic {good}",
        good,
        f"Token {good}",
        f"Bearer {good} {good}",
        f"Bearer {good[:-2]}",
        f"Bearer: {good}",
    ):
        headers = {} if authorization is None else {"authorization": authorization}
        answer = await house.request(method, path, headers=headers, body=EVENT)
        assert (answer.status, answer.error) == (401, "unauthorized"), authorization
        assert answer.headers["www-authenticate"] == "Bearer"
    assert await house.offset() == before


async def test_the_scheme_of_the_authorization_is_taken_in_any_case(house: Rooms) -> None:
    headers = {"authorization": f"bEARER   {house.token(1, 7)} "}
    assert (await house.request("GET", "/api/notifications", headers=headers)).status == 200


@pytest.mark.parametrize(("method", "path"), SERVICE_ROUTES)
@pytest.mark.parametrize("role", ["user", "manager", "admin"])
async def test_people_may_not_publish(house: Rooms, method: str, path: str, role: str) -> None:
    answer = await house.request(method, path, token=house.token(1, 7, role=role), body=EVENT)
    assert (answer.status, answer.error) == (403, "forbidden")
    assert (await house.inbox())["items"] == []


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
async def test_a_service_has_no_inbox(house: Rooms, method: str, path: str) -> None:
    for token in (house.service(), house.service(1)):
        answer = await house.request(method, path, token=token)
        assert (answer.status, answer.error) == (401, "unauthorized")


async def test_a_tenants_service_publishes_for_that_tenant_only(house: Rooms) -> None:
    assert (await house.publish(EVENT, token=house.service(1))).status == 201
    refused = await house.publish({**EVENT, "tenantId": 2}, token=house.service(1))
    assert (refused.status, refused.error) == (403, "forbidden")
    batch = [EVENT, {**EVENT, "tenantId": 2}, EVENT]
    answer = await house.request("POST", "/api/events/batch", token=house.service(1), body=batch)
    assert ["eventId" in result for result in answer.json["results"]] == [True, False, True]
    assert answer.json["results"][1]["error"]["code"] == "forbidden"
    assert (await house.inbox(2))["items"] == []


# The operator


async def test_health_readiness_and_metrics(house: Rooms) -> None:
    assert (await house.request("GET", "/healthz")).json == {"status": "ok"}
    assert (await house.request("GET", "/readyz")).json == {"status": "ready"}
    house.concern = "the disk of the database will be full in about 3 days"
    answer = await house.request("GET", "/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ready", "warnings": [house.concern]})
    house.not_ready = "the server is stopping"
    answer = await house.request("GET", "/readyz")
    assert (answer.status, answer.error) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (await house.request("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("10.0.0.1", 404),
        ("::ffff:10.0.0.1", 404),
        ("fe80::1%eth0", 404),
        ("", 404),
        ("testclient", 404),
    ],
)
async def test_metrics_are_given_by_address(house: Rooms, peer: str, status: int) -> None:
    answer = await house.request("GET", "/metrics", peer=peer, headers={"x-forwarded-for": "127.0.0.1"})
    assert answer.status == status
    if status == 200:
        assert b"# TYPE djactors_domain_events_total counter" in answer.body


async def test_metrics_may_be_opened(tmp_path: Path, autojump_clock: object) -> None:
    async with rooms(tmp_path, metrics_addresses=("0.0.0.0/0", "::/0")) as house:
        for peer in ("8.8.8.8", "2001:db8::1", "fe80::1%eth0"):
            assert (await house.request("GET", "/metrics", peer=peer)).status == 200


async def test_no_label_of_a_metric_comes_from_outside(house: Rooms) -> None:
    await house.request("EVIL", "/evil", token="evil")
    await house.request("EVIL", "/api/events", token="evil")
    await house.request("POST", "/api/events", token=house.service(), body={"type": "evil"})
    assert b"evil" not in (await house.request("GET", "/metrics")).body.lower()


# Overload and failure


DOWN = (StoreBusy, StoreUnavailable, StoreClosed, StoreBroken)


@pytest.mark.parametrize("kind", DOWN)
async def test_a_store_that_cannot_is_503_without_details(house: Rooms, kind: type[Exception]) -> None:
    number = await house.notify()
    house.store.error = kind("/secret/path/inbox.db: the disk is full")
    user, service = house.token(1, 7), house.service()
    for method, path, token, body in (
        ("POST", "/api/events", service, EVENT),
        ("GET", "/api/notifications", user, None),
        ("GET", "/api/notifications/unread-count", user, None),
        ("POST", f"/api/notifications/{number}/read", user, None),
        ("POST", "/api/notifications/read-all", user, None),
        ("DELETE", f"/api/notifications/{number}", user, None),
    ):
        answer = await house.request(method, path, token=token, body=body)
        assert (answer.status, answer.error) == (503, "unavailable"), path
        assert answer.headers["retry-after"] == "1"
        assert b"secret" not in answer.body
    answer = await house.request("POST", "/api/events/batch", token=service, body=[EVENT, {}])
    assert [result["error"]["code"] for result in answer.json["results"]] == ["unavailable", "invalid"]
    told = [entry["detail"] for entry in house.entries if entry.get("reason") == "http_503"]
    assert told[0] == f"{kind.__name__}: /secret/path/inbox.db: the disk is full", "the operator is told why"
    house.store.error = None
    assert (await house.inbox())["unreadCount"] == 1, "it heals"
    assert (await house.publish(EVENT)).status == 201


async def test_a_fault_of_ours_is_not_told_to_clients(house: Rooms) -> None:
    house.store.error = RuntimeError("/secret/path")
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=[EVENT, {}])
    assert answer.status == 200
    codes = [result["error"]["code"] for result in answer.json["results"]]
    assert codes[1] == "invalid"
    assert codes[0] in ("unavailable", "internal")
    assert b"secret" not in answer.body


async def test_a_router_without_room_is_503_and_a_batch_is_told_item_by_item(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with rooms(tmp_path, router_mailbox=5) as house:
        body = [notification(title=str(number)) for number in range(20)]
        answer = await house.request("POST", "/api/events/batch", token=house.service(), body=body)
        codes = [result.get("error", {}).get("code") for result in answer.json["results"]]
        assert codes == [None] * 5 + ["unavailable"] * 15
        assert (await house.inbox())["unreadCount"] == 5

        answers: list[Answer] = []

        async def post() -> None:
            answers.append(await house.publish(EVENT))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(post)
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {201, 503}
        for answer in answers:
            if answer.status == 503:
                assert answer.error == "unavailable"
                assert re.fullmatch("[1-9][0-9]*", answer.headers["retry-after"])
        stored = (await house.inbox())["unreadCount"]
        assert stored == 5 + statuses.count(201)


async def test_no_secret_is_logged_or_told(house: Rooms) -> None:
    token, key = house.token(1, 7), "the-key-of-this-post"
    bodies = []
    for headers in (
        {"authorization": f"Bearer {token}x"},
        {"authorization": f"Bearer {token}", "idempotency-key": key},
    ):
        for method, path in ROUTES:
            answer = await house.request(method, path, headers=headers, body={**EVENT, "title": "the-title"})
            bodies.append(answer.body)
    await house.publish(EVENT, headers={"idempotency-key": key})
    bodies.append((await house.publish({**EVENT, "jobId": 9}, headers={"idempotency-key": "other"})).body)
    house.store.error = RuntimeError("a failure inside")
    with pytest.raises(RuntimeError):
        await house.request("GET", "/api/notifications", token=token)
    text = house.log.getvalue() + b"".join(bodies).decode()
    for secret in (SECRET, token, key, "Bearer ey", "the-title", "a failure inside"):
        assert secret not in text
