"""`GET /api/asyncapi.json` says which events there are and what they carry. AsyncAPI's own schema judges it."""

from __future__ import annotations

import ast
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import djactors
from djactors.domain.packets import LOGGED, UNLOGGED
from djactors.edge.commands import COMMANDS, PLAIN_EVENTS, TEST_COMMANDS
from djactors.edge.examples import EMITTED
from tests.clients.driver import HERE as CLIENTS
from tests.description import contract
from tests.edge.rooms import START, Rooms
from tests.edge.sockets import Client

DOCUMENT = contract.asyncapi()
MESSAGES = DOCUMENT["channels"]["socket"]["messages"]
OPERATIONS = DOCUMENT["operations"]
OFFICIAL = CLIENTS / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"


def test_the_document_is_valid() -> None:
    judge = jsonschema_rs.Draft7Validator(json.loads(OFFICIAL.read_text()))
    contract.conform(judge, DOCUMENT, "the document")


def named(action: str) -> set[str]:
    """The events whose operations have this action."""
    found = (
        contract.resolved(each["messages"][0], DOCUMENT) for each in OPERATIONS.values() if each["action"] == action
    )
    return {message["name"] for message in found}


def test_the_document_has_every_event_that_the_gateway_takes() -> None:
    assert named("receive") == {*COMMANDS, *TEST_COMMANDS, *PLAIN_EVENTS, "CONNECT"}


def test_the_document_has_every_event_that_the_server_sends() -> None:
    assert named("send") == {name for name, _ in LOGGED.values()} | set(UNLOGGED)


def test_whatever_is_encoded_for_sockets_has_a_name_of_the_tables() -> None:
    """An `Outgoing` is the only way to a socket."""
    constants = {"UNREAD_COUNT", "CHANGES_RESET", "AUTH_EXPIRING", "PRESENCE"}
    names = set()
    for file in Path(djactors.__file__).parent.glob("[a-z]*/*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Outgoing":
                names.add(ast.unparse(call.args[0]))
    assert constants < names
    # The rest comes from the log, which has the names of its table.
    assert {name.rpartition(".")[2] for name in names - constants} == {"name"}


def test_every_reply_can_be_told_apart() -> None:
    for operation in OPERATIONS.values():
        if operation["action"] == "receive":
            replies = [contract.resolved(each, DOCUMENT) for each in operation["reply"]["messages"]]
            assert len(replies) >= 2


@pytest.mark.parametrize("name", EMITTED)
async def test_every_example_does_what_is_described(house: Rooms, name: str) -> None:
    await house.introduce(1, 2, 7)
    client = Client(house)
    await client.connect(token=house.token(1, 7))
    job = {"type": "job.created", "tenantId": 1, "title": "A job", "requesterId": 7, "assigneeId": 2, "managerId": 7}
    assert (await house.publish(job)).status == 201
    assert await house.notify() == 2
    example = MESSAGES[f"client.{name.replace(':', '.')}"]["examples"][0]["payload"]
    contract.conform(contract.validator(payload_of(f"client.{name.replace(':', '.')}"), "asyncapi"), example, name)
    payload = {**example, "token": house.token(1, 7)} if "token" in example else dict(example)
    if "notificationId" in payload or "upTo" in payload:
        payload[("notificationId" if "notificationId" in payload else "upTo")] = 2
    # What comes back is held against the description by the client.
    answer = await client.ask(name, payload)
    assert answer["ok"], answer


def payload_of(message: str) -> str:
    return str(MESSAGES[message]["payload"]["$ref"])


async def test_the_handshake_is_as_described(house: Rooms) -> None:
    auth = MESSAGES["client.CONNECT"]["examples"][0]["payload"]
    assert set(auth) <= set(contract.resolved(MESSAGES["client.CONNECT"]["payload"], DOCUMENT)["properties"])
    accepted, refused = payload_of("server.CONNECT"), payload_of("server.CONNECT_ERROR")
    client = Client(house)
    [connected, *_] = await client.connect(**{**auth, "token": house.token(1, 7)})
    assert connected[0] == "connect"
    contract.conform(contract.validator(accepted, "asyncapi"), connected[1], "CONNECT")
    [error] = await Client(house).connect(**auth)
    assert error[0] == "connect_error"
    contract.conform(contract.validator(refused, "asyncapi"), error[1], "CONNECT_ERROR")


@pytest.mark.parametrize(
    ("auth", "comes"),
    [
        ({"recovery": False}, "plain"),
        ({"since": ".0"}, "replay"),
        ({"since": "AAAAAAAAAAA.9"}, "changes:reset"),
        ({"tenantId": "2"}, "connect_error"),
    ],
)
async def test_each_field_of_the_handshake_does_what_is_described(
    house: Rooms, auth: dict[str, Any], comes: str
) -> None:
    await house.notify()
    client = Client(house)
    packets = await client.connect(token=house.token(1, 7), **auth)
    names = [packet[1] if packet[0] == "event" else packet[0] for packet in packets]
    match comes:
        case "plain":
            assert [len(packet) for packet in packets if packet[0] == "event"] == [3]
        case "replay":
            assert "notification:new" in names
        case _:
            assert comes in names


async def test_the_rare_packets_are_as_described(house: Rooms) -> None:
    """Those that no example causes. The client holds them against the description."""
    client = Client(house)
    await client.connect(token=house.token(1, 7, ttl=30))
    house.clock.advance(timedelta(seconds=1).total_seconds())
    assert house.clock.now() > START
    client.gateway.on_tick(0.0)
    assert [packet[1] for packet in client.take()] == ["auth:expiring"]
