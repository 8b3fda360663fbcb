"""What the tenant says of a user wins over the token: a sign-out everywhere, and the role of `user.upserted`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from djactors.edge.gateway import MAX_REFUSED_CONNECTS
from djactors.edge.keys import Keys
from djactors.net import Request
from tests.edge.rooms import Rooms, rooms
from tests.edge.sockets import Client, settle


async def sign_out(house: Rooms, user_id: Any = 7, *, token: str | None = None, body: Any = None) -> Any:
    token = house.service(1) if token is None else token
    return await house.request("POST", f"/api/users/{user_id}/sign-out", token=token, body=body)


async def status(house: Rooms, token: str, path: str = "/api/notifications") -> int:
    return (await house.request("GET", path, token=token)).status


# Signed out everywhere


async def test_row_40_who_is_signed_out_loses_sockets_and_tokens_at_once(house: Rooms, client: Client) -> None:
    before, other = house.token(1, 7), house.token(1, 8)
    neighbour = Client(house)
    await neighbour.connect(token=other)
    house.clock.advance(1)
    answer = await sign_out(house)
    assert (answer.status, answer.json) == (200, {"signedOutAt": "2026-01-27T10:30:01.000000Z"})
    await settle()
    assert client.gone
    assert not neighbour.gone

    refused = await house.request("GET", "/api/notifications", token=before)
    assert (refused.status, refused.error) == (401, "unauthorized")
    again = Client(house)
    [(kind, said)] = await again.connect(token=before)
    assert (kind, said) == ("connect_error", {"message": "Unauthorized", "data": {"code": "token_revoked"}})
    assert not again.gone
    assert await status(house, other) == 200

    after = house.token(1, 7)
    assert await status(house, after) == 200
    assert (await again.connect(token=after))[0][0] == "connect"
    refresh = await again.ask("auth:refresh", {"token": before})
    assert refresh["error"]["code"] == "unauthorized"
    assert not again.gone
    reasons = [entry["detail"] for entry in house.entries if "refused" in entry["event"]]
    assert set(reasons) == {"iat: is before the user was signed out"}


async def test_a_token_that_proves_nothing_is_judged_once_and_not_at_all_by_open_routes(house: Rooms) -> None:
    judged: list[object] = []
    identify = house.services.authenticator.identify

    def counted(token: object) -> Any:
        judged.append(token)
        return identify(token)

    house.services.authenticator.identify = counted  # type: ignore[method-assign]
    for path, expected, times in (("/api/notifications", 401, 1), ("/healthz", 200, 0)):
        judged.clear()
        assert (await house.request("GET", path, token="no token")).status == expected
        assert len(judged) == times, path


async def test_f1_a_session_that_is_closed_for_bad_tokens_is_told_as_that(house: Rooms) -> None:
    client = Client(house)
    for _ in range(MAX_REFUSED_CONNECTS):
        await client.connect(token="no token")
    assert client.gone
    [closed] = [entry for entry in house.entries if entry.get("reason") == "too_many_requests"]
    assert (closed["came"], closed["expected"]) == ("bad tokens in a row", f"at most {MAX_REFUSED_CONNECTS} of them")


async def test_a4_a_token_that_a_sign_out_has_made_worthless_makes_nobody_proven(house: Rooms) -> None:
    before = house.token(1, 7)
    house.clock.advance(1)
    await sign_out(house)
    house.clock.advance(1)
    for token, proven in ((before, False), (house.token(1, 7), True)):
        request = Request("GET", "/api/notifications", headers={"authorization": f"Bearer {token}"})
        await house.routes.handle(request)
        assert (request.proof is not None) is proven


async def test_a15_a_sign_out_holds_over_a_restart(tmp_path: Path, autojump_clock: object) -> None:
    async with rooms(tmp_path) as house:
        before = house.token(1, 7)
        house.clock.advance(5)
        assert (await sign_out(house)).status == 200
        moment = house.clock.moment
    async with rooms(tmp_path) as house:
        house.clock.moment = moment
        client = Client(house)
        assert (await client.connect(token=before))[0][0] == "connect_error", "the actor has read it"
        assert not client.session.proven, "and it stays a stranger, with a stranger's bounds"
        assert await status(house, before) == 401
        assert await status(house, house.token(1, 7)) == 200


async def test_a15_a_token_without_iat_is_refused_where_a_sign_out_applies(house: Rooms) -> None:
    from tests.edge.test_auth import raw_token

    exp = int(house.clock.unix()) + 3600
    old = raw_token(b'{"userId":7,"tenantId":1,"role":"user","exp":%d}' % exp)
    assert await status(house, old) == 200
    await sign_out(house)
    assert await status(house, old) == 401
    [entry] = [entry for entry in house.entries if entry["event"] == "request refused"]
    assert entry["detail"] == "iat: is missing, and the user was signed out"


async def test_a15_who_may_sign_out_and_whom(house: Rooms) -> None:
    await house.introduce(1, 7)
    await house.introduce(2, 7, 9)
    admin, missing = (
        house.token(1, 1, role="admin"),
        await house.request("POST", "/api/jobs/77/approve", token=house.token(1, 2)),
    )
    assert (await sign_out(house, token=admin)).status == 200
    assert (await sign_out(house, token=admin, body={})).status == 200
    assert (await sign_out(house, token=admin, body={"tenantId": "1"})).status == 200
    assert (await sign_out(house, token=house.service(), body={"tenantId": 2})).status == 200
    for user_id in (9, 5555, 2**53, 0):
        answer = await sign_out(house, user_id, token=admin)
        assert (answer.status, answer.body) == (404, missing.body), "of another tenant, as one that is missing"
    for role in ("user", "manager"):
        answer = await sign_out(house, token=house.token(1, 7, role=role))
        assert (answer.status, answer.error) == (403, "forbidden")
    answer = await sign_out(house, token=admin, body={"tenantId": 2})
    assert (answer.status, answer.error) == (403, "forbidden")
    for body in (None, {}, {"tenantId": None}):
        answer = await sign_out(house, token=house.service(), body=body)
        assert (answer.status, answer.error) == (400, "invalid")
        assert "tenantId" in answer.json["error"]["message"]
    for wrong in ({"tenantId": "x"}, {"tenant": 1}, [], b"{"):
        assert (await sign_out(house, body=wrong)).error == "invalid"
    assert (await house.request("POST", "/api/users/7/sign-out")).status == 401
    assert (await house.request("GET", "/api/users/7/sign-out", token=admin)).status == 405


async def test_a15_a_service_signs_out_somebody_who_never_came(house: Rooms) -> None:
    stolen = house.token(1, 4444)
    house.clock.advance(1)
    assert (await sign_out(house, 4444)).status == 200
    assert await status(house, stolen) == 401


async def test_a15_a_clock_that_was_set_back_makes_no_token_good_again(house: Rooms) -> None:
    stolen = house.token(1, 7)
    house.clock.advance(3600 - 30)
    assert (await sign_out(house)).status == 200
    house.clock.advance(-3600)
    assert (await sign_out(house)).status == 200
    assert await status(house, stolen) == 401


async def test_a15_the_hot_path_does_not_read_the_database_for_each_request(house: Rooms) -> None:
    reads: list[tuple[int, int]] = []
    accounts = house.users._accounts
    read = accounts._read

    async def counted(tenant_id: int, user_id: int) -> Any:
        reads.append((tenant_id, user_id))
        return await read(tenant_id, user_id)

    accounts._read = counted
    for _ in range(20):
        assert await status(house, house.token(1, 7)) == 200
        assert (await house.publish({"type": "tenant.upserted", "tenantId": 1, "name": "A"})).status == 201
    assert reads == [(1, 7)]


# The role


async def test_a15_an_admin_who_was_demoted_loses_the_routes_at_once(house: Rooms) -> None:
    admin = house.token(1, 5, role="admin")
    assert await status(house, admin, "/api/admin/suppressions?userId=7") == 200
    await house.introduce(1, 5, role="user")
    assert await status(house, admin, "/api/admin/suppressions?userId=7") == 403
    assert (await sign_out(house, token=admin)).status == 403
    await house.introduce(1, 5, role="admin")
    assert await status(house, admin, "/api/admin/suppressions?userId=7") == 200
    assert await status(house, house.token(1, 5), "/api/admin/suppressions?userId=7") == 200, "either way"


async def test_a15_a_backends_token_that_names_a_user_stays_a_backends(house: Rooms) -> None:
    backend = house.token(1, 5, role="service")
    await house.introduce(1, 5, role="user")
    note = {"type": "tenant.upserted", "tenantId": 1, "name": "A"}
    assert (await house.request("POST", "/api/events", token=backend, body=note)).status == 201


async def test_a15_the_role_of_a_token_stands_where_no_backend_gave_one(house: Rooms) -> None:
    admin = house.token(1, 5, role="admin")
    # Named by an event, and introduced by a connect: neither says what they may do.
    await house.notify(1, 5)
    client = Client(house)
    await client.connect(token=house.token(1, 6))
    for token in (admin, house.token(1, 6, role="admin")):
        assert await status(house, token, "/api/admin/suppressions?userId=7") == 200


async def test_a15_a_given_role_wins_for_job_commands_by_http_and_on_a_connected_socket(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with rooms(tmp_path, test_events=True) as house:
        await house.introduce(1, 7, 8, 9)
        manager = house.token(1, 5, role="manager")
        client = Client(house)
        await client.connect(token=manager)

        async def job() -> int:
            created = await house.request("POST", "/api/jobs", token=house.token(1, 8), body={"title": "T"})
            return int(created.json["id"])

        async def assign(job_id: int) -> tuple[int, bool]:
            by_http = await house.request("POST", f"/api/jobs/{job_id}/assign", token=manager, body={"assigneeId": 7})
            on_socket = await client.ask("test:assign-job", {"jobId": job_id, "assigneeId": "9"})
            return by_http.status, on_socket["ok"]

        assert await assign(await job()) == (200, True)
        await house.introduce(1, 5, role="user")
        assert not client.gone
        assert await assign(await job()) == (403, False)
        await house.introduce(1, 5, role="manager")
        assert await assign(await job()) == (200, True)


async def test_a15_a_given_role_holds_over_a_restart(tmp_path: Path, autojump_clock: object) -> None:
    async with rooms(tmp_path) as house:
        await house.introduce(1, 5, role="user")
    async with rooms(tmp_path) as house:
        assert await status(house, house.token(1, 5, role="admin"), "/api/admin/actors") == 403


# Keys


async def test_a15_sockets_of_a_dropped_key_end(house: Rooms, client: Client) -> None:
    other = Client(house)
    await other.connect(token=house.token(1, 8))
    names = house.services.authenticator.keys.names
    await house.users.drop_keys({"another key"})
    assert not client.gone
    await house.users.drop_keys(names)
    await settle()
    assert client.session.reason == other.session.reason == "key_dropped"
    assert isinstance(house.services.authenticator.keys, Keys)


# Ids as text


async def test_f10_the_tenant_may_come_as_text(house: Rooms) -> None:
    client = Client(house)
    assert (await client.connect(token=house.token(1, 7), tenantId="1"))[0][0] == "connect"
    [(kind, said)] = await Client(house).connect(token=house.token(1, 7), tenantId="2")
    assert (kind, said["data"]) == ("connect_error", {"code": "tenant_mismatch"})
    [entry] = [entry for entry in house.entries if entry["event"] == "connect refused"]
    assert entry["detail"] == "auth.tenantId: is not 1, the tenant of the token"


async def test_a16_ids_as_text_are_taken_by_every_door(house: Rooms, client: Client) -> None:
    assert (await client.ask("notification:read", {"notificationId": "1"}))["ok"]
    assert (await client.ask("notification:read-all", {"userId": "7"}))["ok"]
    note = {"type": "notification.requested", "tenantId": "1", "userId": "7", "title": "T", "priority": "LOW"}
    answer = await house.publish({**note, "notificationType": "note"})
    assert answer.json["notifications"][0]["userId"] == 7
    batch = await house.request(
        "POST", "/api/events/batch", token=house.service(), body=[{**note, "notificationType": "note"}]
    )
    assert "error" not in batch.json["results"][0]
    await house.introduce(1, 8)
    body = {"title": "T", "assigneeId": "8", "watcherIds": ["7"]}
    created = await house.request("POST", "/api/jobs", token=house.token(1, 7), body=body)
    assert (created.status, created.json["assigneeId"]) == (201, 8)


async def test_a16_the_log_says_which_claim_was_wrong(house: Rooms) -> None:
    from tests.edge.test_auth import raw_token

    bad = raw_token(b'{"userId":"seven","tenantId":1,"role":"user","exp":4000000000}')
    assert await status(house, bad) == 401
    await Client(house).connect(token=bad)
    entries = [entry for entry in house.entries if "refused" in entry["event"]]
    assert [entry["event"] for entry in entries] == ["request refused", "connect refused"]
    for entry in entries:
        assert entry["detail"].startswith("userId: Expected")
        assert bad not in str(entry)


@pytest.mark.parametrize("claim", ["sub", "jti"])
async def test_a16_a_token_with_a_number_as_sub_or_jti_is_let_in(house: Rooms, claim: str) -> None:
    from tests.edge.test_auth import raw_token

    given = raw_token(b'{"userId":"2","tenantId":1,"role":"user","exp":4000000000,"%s":2}' % claim.encode())
    assert await status(house, given) == 200
    assert (await Client(house).connect(token=given))[0][0] == "connect"
