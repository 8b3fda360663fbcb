"""`GET /api/openapi.json` says what the routes do, and says nothing else."""

from __future__ import annotations

import gzip
import re
from itertools import chain
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from djactors.domain.errors import Code
from djactors.domain.events import MAX_BATCH, MAX_WATCHERS, TYPES, DomainEvent, Role
from djactors.domain.ids import MAX_ID, id_of
from djactors.domain.jobs import FINISHED, MOVES
from djactors.domain.lengths import KEY, TITLE
from djactors.edge.errors import STATUS
from djactors.edge.import_routes import IMPORTS
from djactors.edge.queries import MAX_PAGE, PAGE
from djactors.edge.route import Route
from djactors.edge.schemas import id_pattern
from djactors.edge.table import ROUTES
from tests.description import contract
from tests.edge.rooms import Rooms

DOCUMENT = contract.openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]

OPERATIONS = [
    (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_document_has_every_route_and_no_other() -> None:
    assert sorted((method, path) for method, path, _ in OPERATIONS) == sorted((r.method, r.path) for r in ROUTES)


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does() -> None:
    names = [operation["operationId"] for *_, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+[A-Za-z]+", name) for name in names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for *_, operation in OPERATIONS for tag in operation["tags"]} == tags
    assert all(operation["summary"] and operation["description"] for *_, operation in OPERATIONS)


def test_every_error_has_the_one_shape_and_its_status() -> None:
    responses = DOCUMENT["components"]["responses"]
    contents = [response["content"]["application/json"] for response in responses.values()]
    assert all(content["schema"] == {"$ref": "#/components/schemas/Error"} for content in contents)
    assert {content["example"]["error"]["code"] for content in contents if "example" in content} == {
        *map(str, Code),
        *("body_too_large", "unsupported_media_type"),
    }
    for *_, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            if "$ref" in response and status != "default":
                example = contract.resolved(response, DOCUMENT)["content"]["application/json"]["example"]
                code = example["error"]["code"]
                assert int(status) == {**STATUS, "body_too_large": 413, "unsupported_media_type": 415}[code]


def test_bounds_and_choices_are_those_of_the_domain() -> None:
    assert SCHEMAS["JobCreated"]["properties"]["title"]["maxLength"] == TITLE
    assert SCHEMAS["JobCreated"]["properties"]["watcherIds"]["maxItems"] == MAX_WATCHERS
    assert set(SCHEMAS["Job"]["properties"]["status"]["enum"]) == {*chain(*MOVES.values()), *FINISHED}
    assert set(SCHEMAS["UserUpserted"]["properties"]["role"]["enum"]) == set(get_args(Role))
    assert set(SCHEMAS["DomainEvent"]["discriminator"]["mapping"]) == set(TYPES.values())
    assert DOCUMENT["components"]["parameters"]["IdempotencyKey"]["schema"]["maxLength"] == KEY
    batch = DOCUMENT["paths"]["/api/events/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert (batch["maxItems"], batch["items"]) == (MAX_BATCH, {"$ref": "#/components/schemas/DomainEvent"})
    [limit] = [p for p in DOCUMENT["paths"]["/api/jobs"]["get"]["parameters"] if p["name"] == "limit"]
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": PAGE}


@pytest.mark.parametrize("number", [0, 1, 9, 10, 8_999_999_999_999_999, MAX_ID - 1, MAX_ID, MAX_ID + 1, 10**16, 10**15])
def test_an_id_as_text_is_described_as_it_is_taken(number: int) -> None:
    judge = jsonschema_rs.Draft202012Validator(SCHEMAS["Id"])
    for value in (number, str(number), f"0{number}", f" {number}", f"{number}.0", f"-{number}", str(number).zfill(17)):
        assert judge.is_valid(value) is (id_of(value) is not None), value


@pytest.mark.parametrize("largest", [10, 19, 20, 99, 100, 101, 209, 990, 1000, 9007])
def test_a_pattern_of_numbers_has_all_up_to_the_largest(largest: int) -> None:
    pattern = re.compile(id_pattern(largest))
    taken = [number for number in range(largest * 3) if pattern.match(str(number))]
    assert taken == list(range(1, largest + 1))


@pytest.mark.parametrize("kind", get_args(DomainEvent), ids=lambda kind: kind.__name__)
def test_every_text_speaks_of_fields_as_they_are_called_in_json(kind: type[msgspec.Struct]) -> None:
    words = re.findall(r"`(\w+)`", SCHEMAS[kind.__name__]["description"])
    assert all(word in SCHEMAS[kind.__name__]["properties"] for word in words)


def test_every_object_is_described() -> None:
    assert [name for name, schema in SCHEMAS.items() if not schema.get("description")] == []


# Who may call a route

WHO = {
    "nobody": {},
    "user": {"tenant_id": 1, "user_id": 2},
    "manager": {"tenant_id": 1, "user_id": 3, "role": "manager"},
    "admin": {"tenant_id": 1, "user_id": 1, "role": "admin"},
    "tenant's service": {"tenant_id": 1, "role": "service"},
    "service": {"role": "service"},
}


def may_call(route: Route, who: str) -> int | None:
    """The status with which somebody is turned away who may not call a route at all; None for who may."""
    if not route.caller.needs_token:
        return None
    claims: dict[str, Any] = WHO[who]
    if not claims:
        return 401
    role = claims.get("role", "user")
    if (route.caller.roles and role not in route.caller.roles) or (route.caller.of_all and "tenant_id" in claims):
        return 403
    return 401 if route.caller.needs_person and "user_id" not in claims else None


@pytest.mark.parametrize("who", WHO)
async def test_who_may_call_a_route_is_as_described(house: Rooms, who: str) -> None:
    token = house.token(**WHO[who]) if WHO[who] else None
    for route in ROUTES:
        # A body that is no JSON: nothing is done, whoever may call it.
        answer = await house.request(route.method, route.path.replace("{id}", "99"), token=token, body=b"{")
        refused = may_call(route, who)
        if refused is None:
            assert answer.status not in (401, 403), (route, answer)
        else:
            assert answer.status == refused, (route, answer)


# Examples

STATES = {
    "submit": "job.assigned",
    "approve": "job.submitted",
    "reject": "job.submitted",
    "job.submitted": "job.assigned",
    "job.approved": "job.submitted",
    "job.rejected": "job.submitted",
}
"""What must have happened to a job before an example; the others need a job that is assigned."""

EXAMPLES = [
    pytest.param(method, path, example["value"], id=f"{method} {path} {name}")
    for method, path, operation in OPERATIONS
    if "requestBody" in operation
    for name, example in operation["requestBody"]["content"]["application/json"]["examples"].items()
]


@pytest.mark.parametrize(("method", "path", "body"), EXAMPLES)
async def test_every_example_does_what_is_described(house: Rooms, method: str, path: str, body: Any) -> None:
    await house.introduce(1, 1, role="admin")
    await house.introduce(1, 2, 3, 4)
    doing = body["type"] if isinstance(body, dict) and "type" in body else path.rsplit("/", 1)[-1]
    if not (doing == "job.created" or isinstance(body, list)):
        # User 1 has a job and a notification of the number 1.
        job = {"type": "job.created", "tenantId": 1, "title": "A job", "requesterId": 2, "assigneeId": 1}
        assert (await house.publish(job)).status == 201
    if STATES.get(doing) == "job.submitted":
        submitted = {"type": "job.submitted", "tenantId": 1, "jobId": 1, "approverId": 3}
        assert (await house.publish(submitted)).status == 201
    for schema in request_schemas(method, path):
        contract.conform(contract.validator(schema), body, path)
    token = house.service() if "/events" in path else house.token(1, 1, role="admin")
    place = path.replace("/users/{id}", "/users/2").replace("{id}", "1")
    answer = await house.request(method, place, token=token, body=body)
    assert answer.status in (200, 201), answer
    if isinstance(body, list):
        assert not [result for result in answer.json["results"] if "error" in result]


def request_schemas(method: str, path: str) -> list[str]:
    operation = DOCUMENT["paths"][path][method.lower()]
    if "requestBody" not in operation:
        return []
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return [schema["$ref"]] if "$ref" in schema else []


def test_every_body_and_every_kind_of_event_has_an_example() -> None:
    for method, path, operation in OPERATIONS:
        # Those of an import are for `djactors import` alone.
        if "requestBody" in operation and not path.startswith(IMPORTS):
            assert operation["requestBody"]["content"]["application/json"]["examples"], (method, path)
    examples = DOCUMENT["paths"]["/api/events"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert {example["value"]["type"] for example in examples.values()} == set(TYPES.values())


# How it is served


@pytest.mark.parametrize("path", ["/api/openapi.json", "/api/asyncapi.json"])
async def test_the_document_is_for_everybody_and_is_sent_once(house: Rooms, path: str) -> None:
    plain = await house.request("GET", path)
    assert (plain.status, plain.headers["cache-control"]) == (200, "no-cache")
    assert plain.headers["access-control-allow-origin"] == "*"
    small = await house.request("GET", path, headers={"accept-encoding": "gzip"})
    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) < 20_000
    for answer in (plain, small):
        held = {"accept-encoding": answer.headers.get("content-encoding", "identity")}
        again = await house.request("GET", path, headers={**held, "if-none-match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
