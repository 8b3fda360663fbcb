"""What every answer carries, whichever room it comes from: for caches, for browsers, and for pages of other origins."""

from __future__ import annotations

from typing import Any, cast

import pytest

from djactors.edge.routes import Application
from djactors.edge.site import Site
from djactors.engine import EngineServer, EngineSettings, OriginPolicy, Uncounted
from djactors.net import Request, Response
from tests.edge.rooms import Rooms

PAGE = "https://app.test"
ORIGINS = OriginPolicy([PAGE])


def application(house: Rooms) -> Application:
    engine = EngineServer(
        EngineSettings(),
        cast(Any, None),
        origins=ORIGINS,
        random_token=lambda: "sid",
        telemetry=Uncounted(lambda error, peer: None),
    )
    return Application(engine, Site({}), house.routes, ORIGINS, house.telemetry)


def fields(response: Response) -> dict[str, str]:
    found = dict(response.headers)
    assert len(found) == len(response.headers)
    response.encode()
    return found


def from_page(method: str, path: str, origin: str = PAGE, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, headers={"host": "server.test", "origin": origin, **named})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/notifications"),
        ("GET", "/api/notifications/unread-count"),
        ("GET", "/api/admin/actors"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("POST", "/api/events"),
        ("PUT", "/api/events"),
        ("GET", "/nothing"),
        ("GET", "/"),
        ("PUT", "/"),
        ("PUT", "/socket.io/socket.io.js"),
        ("GET", "/socket.io/socket.io.js"),
        ("GET", "/socket.io/"),
        ("POST", "/socket.io/"),
    ],
)
async def test_a20_no_answer_is_kept_or_taken_for_a_page(house: Rooms, method: str, path: str) -> None:
    for token in (house.token(1, 7), house.token(1, 7, role="admin"), "wrong"):
        request = from_page(method, path, authorization=f"Bearer {token}")
        found = fields(await application(house).handle(request))
        assert found["cache-control"] == "no-store"
        assert found["x-content-type-options"] == "nosniff"
        # The page is for no other origin, and the client for all of them.
        if path not in ("/", "/socket.io/socket.io.js"):
            assert found["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("status", [400, 408, 413, 415, 417, 500])
@pytest.mark.parametrize("path", ["/api/events", "/socket.io/"])
async def test_a20_an_early_refusal_can_be_read_by_an_allowed_page_alone(house: Rooms, path: str, status: int) -> None:
    served = application(house)
    found = fields(served.refusal(status, "a_code", "what is wrong", from_page("POST", path)))
    assert found["access-control-allow-origin"] == PAGE
    assert (found["cache-control"], found["x-content-type-options"]) == ("no-store", "nosniff")
    foreign = fields(served.refusal(status, "a_code", "what is wrong", from_page("POST", path, "https://other.test")))
    assert "access-control-allow-origin" not in foreign
    assert foreign["vary"] == "Origin"


async def test_a20_a_refusal_of_what_could_not_be_read_is_not_kept_either(house: Rooms) -> None:
    response = application(house).refusal(431, "headers_too_large", "too many")
    assert response.body == b'{"error":{"code":"headers_too_large","message":"too many"}}'
    assert fields(response) == {"cache-control": "no-store", "x-content-type-options": "nosniff"}


async def test_a20_an_early_refusal_at_the_socket_path_has_the_shape_of_its_protocol(house: Rooms) -> None:
    response = application(house).refusal(413, "body_too_large", "too large", from_page("POST", "/socket.io/"))
    assert (response.status, response.body) == (413, b'{"code":3,"message":"too large"}')


@pytest.mark.parametrize("path", ["/api/events", "/socket.io/", "/api/notifications/5"])
async def test_f3_a_preflight_of_an_allowed_page_is_answered_at_every_path(house: Rooms, path: str) -> None:
    asked = "authorization,x-tenant,traceparent"
    response = await application(house).handle(from_page("OPTIONS", path, access_control_request_headers=asked))
    found = fields(response)
    assert response.status == 204
    assert found["access-control-allow-headers"] == asked
    assert found["access-control-allow-origin"] == PAGE
    assert int(found["access-control-max-age"]) >= 600
    assert found["vary"] == "Origin, Access-Control-Request-Headers"


async def test_f3_a_preflight_of_another_page_is_allowed_nothing(house: Rooms) -> None:
    for path in ("/api/events", "/socket.io/"):
        request = from_page("OPTIONS", path, "https://other.test", access_control_request_headers="x-tenant")
        assert not [name for name in fields(await application(house).handle(request)) if name.startswith("access-")]
