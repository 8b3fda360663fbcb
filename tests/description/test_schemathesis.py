"""schemathesis sends a served process whatever the description allows, and whatever it does not.

What the description allows is carried out, or refused for a reason that no schema can tell; all else is refused. Each
answer is one that is described. A seed makes every run the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
import trio
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from djactors.edge.import_routes import IMPORTS
from djactors.edge.publishing_routes import BATCH
from djactors.edge.route import Route
from djactors.edge.table import ROUTES
from tests.description import contract
from tests.serving import make_token, serving

SEED = 18
EXAMPLES = 4
"""For each operation, each token, and both kinds of data."""

FAST = {
    f"DJACTORS_{name}": "100000"
    for name in ("EMIT_RATE", "EMIT_BURST", "READ_RATE", "READ_BURST", "POST_RATE", "POST_BURST")
}

TENANT = 1
ADMIN, USER, OTHER = 9_000_001, 9_000_002, 9_000_003
"""Users whom no generated data means. The third is signed out, deactivated and erased."""

TOKENS = {
    "admin": {"tenant_id": TENANT, "user_id": ADMIN, "role": "admin"},
    "user": {"tenant_id": TENANT, "user_id": USER},
    "service": {"role": "service"},
}

NO_SCHEMA_CAN_TELL = re.compile(
    r"holds a NUL character"
    # To JSON Schema, 5.0 is an integer.
    r"|got `float`"
    r"|^until: "
    r"|^id: differs from the Idempotency-Key"
    r"|^timeZone: "
    r"|^tenantId: is missing"
    r"|^before: is not the nextBefore"
    r"|^after: is not of an answer"
    r"|is outside the years 1 to 9999"
    r"|^data( is |\S* is an integer beyond)"
    r"|^approverId: .* has no approver yet"
)
"""Why something that the description allows may be refused with 400."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def may_call(route: Route, who: str) -> bool:
    role = TOKENS[who].get("role", "user")
    if route.caller.roles and role not in route.caller.roles:
        return False
    return "user_id" in TOKENS[who] or not route.caller.needs_person


async def prepare(publish: Callable[..., Any]) -> None:
    """Job 1 and notification 1 are the user's, and the three users are known."""
    for user_id, role in ((ADMIN, "admin"), (USER, "user"), (OTHER, "user")):
        event = {
            "type": "user.upserted",
            "tenantId": TENANT,
            "userId": user_id,
            "name": f"User {user_id}",
            "role": role,
        }
        assert (await publish(event)).status == 201
    job = {"type": "job.created", "tenantId": TENANT, "title": "A job", "requesterId": ADMIN, "assigneeId": USER}
    assert (await publish(job)).status == 201


def test_what_is_not_tried_is_known() -> None:
    """Every route is tried with some token."""
    assert [route for route in ROUTES if not any(may_call(route, who) for who in TOKENS)] == []


@pytest.mark.filterwarnings("ignore")
async def test_the_server_does_what_is_described_whatever_it_is_sent(tmp_path: Path) -> None:
    async with serving(tmp_path, environment=FAST) as server:
        await prepare(server.publish)
        await trio.to_thread.run_sync(send_anything, server.url)
        assert (await server.request("GET", "/readyz")).status == 200
        # Whatever was sent: no answer and no entry in the log is a fault of the server's.
        assert "Traceback" not in server.errors.read_text()


def send_anything(url: str) -> None:
    schema = schemathesis.openapi.from_dict(contract.openapi())
    routes = {(route.method.lower(), route.path): route for route in ROUTES}
    tried = set()
    with requests.Session() as session:
        for found in schema.get_all_operations():
            operation = found.ok()
            route = routes[operation.method.lower(), operation.path]
            if route.path.startswith(IMPORTS):
                # What these take is the schema of the database; tests/moving sends them whatever is wrong.
                continue
            for who, claims in TOKENS.items():
                if may_call(route, who):
                    tried.add((route.method, route.path))
                    token = make_token(**claims, ttl=36_000)
                    # What is allowed is sent to what exists, and what is not allowed goes anywhere.
                    ids = {"id": own_id(route)} if "{id}" in route.path else {}
                    try_operation(operation, GenerationMode.POSITIVE, ids, url, token, session)
                    try_operation(operation, GenerationMode.NEGATIVE, {}, url, token, session)
    assert len(tried) == len([route for route in ROUTES if not route.path.startswith(IMPORTS)])


def own_id(route: Route) -> int:
    """The id of something that exists, for the path of a route."""
    return OTHER if "/users/" in route.path else 1


def try_operation(
    operation: Any, mode: GenerationMode, ids: dict[str, int], url: str, token: str, session: requests.Session
) -> None:
    authorization = {"Authorization": f"Bearer {token}"}
    strategy = operation.as_strategy(mode, path_parameters=ids or None, headers=authorization)

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=strategy)
    def run(case: schemathesis.Case) -> None:
        response = case.call(base_url=url, headers=authorization, session=session)
        # Of a batch, each bad event is refused by itself.
        refused = mode is GenerationMode.NEGATIVE and operation.path != BATCH
        checks = [*CHECKS, negative_data_rejection] if refused else CHECKS
        case.validate_response(response, checks=checks)
        if mode is GenerationMode.POSITIVE and response.status_code == 400:
            message = response.json()["error"]["message"]
            assert NO_SCHEMA_CAN_TELL.search(message), (case.as_curl_command(), message)

    try:
        run()
    except hypothesis.errors.Unsatisfiable:
        # An operation that takes nothing cannot be sent anything wrong.
        assert mode is GenerationMode.NEGATIVE
