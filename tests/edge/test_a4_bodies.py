"""Found A4: no body is read for who has no good token, whatever the route."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from djactors.config import Settings
from djactors.edge.route import MAX_SMALL_BODY
from djactors.edge.routes import Application
from djactors.edge.site import Site
from djactors.engine import OriginPolicy
from djactors.net import Request, Response
from tests.edge.rooms import Rooms


def limit(house: Rooms, method: str, path: str, token: str | None = None) -> int | Response:
    application = Application(
        cast(Any, None), Site({"index.html": b"page"}), house.routes, OriginPolicy(), house.telemetry
    )
    headers: Mapping[str, str] = {} if token is None else {"authorization": f"Bearer {token}"}
    return application.body_limit(Request(method, path, headers=headers, content_length=60_000))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/events", 401),
        ("POST", "/api/events/batch", 401),
        ("POST", "/api/jobs", 401),
        ("POST", "/api/jobs/1/comments", 401),
        ("POST", "/api/notifications/read-all", 401),
        ("GET", "/api/notifications", 401),
        ("GET", "/healthz", 401),
        ("PUT", "/api/events", 405),
        ("POST", "/nothing", 404),
        ("POST", "/", 405),
    ],
)
@pytest.mark.parametrize("token", [None, "garbage"])
async def test_a4_a_stranger_is_refused_before_the_body(
    house: Rooms, method: str, path: str, status: int, token: str | None
) -> None:
    answer = limit(house, method, path, token)
    assert isinstance(answer, Response)
    assert answer.status == status


async def test_a4_a_good_token_has_its_body_read(house: Rooms) -> None:
    assert limit(house, "POST", "/api/events", house.service()) == MAX_SMALL_BODY
    assert limit(house, "POST", "/api/jobs", house.token(1, 7)) == MAX_SMALL_BODY
    assert limit(house, "POST", "/api/events/batch", house.service()) == Settings.max_body
    refused = limit(house, "POST", "/api/events/batch", house.token(1, 7))
    assert isinstance(refused, Response)
    assert refused.status == 403
    assert limit(house, "OPTIONS", "/api/events") == 0


async def test_a4_such_a_refusal_is_not_kept_either(house: Rooms) -> None:
    answer = limit(house, "POST", "/api/events")
    assert isinstance(answer, Response)
    assert dict(answer.headers)["cache-control"] == "no-store"
