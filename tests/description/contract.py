"""What the API's two descriptions promise, to hold against what the server really answers and emits.

The rooms of `tests/edge` hold every answer and packet against it, so all tests there are tests of the descriptions
as well.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec

from djactors.edge.table import asyncapi_text, openapi_text

JSON = "application/json"


class BrokenPromise(AssertionError):
    """Something is other than it is described."""


@cache
def openapi() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(openapi_text())
    return found


@cache
def asyncapi() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(asyncapi_text())
    return found


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(re.escape(path).replace(re.escape("{id}"), "[0-9]+")), path)
        for path in sorted(openapi()["paths"], key=lambda path: "{id}" in path)
    ]


@cache
def operation(method: str, path: str) -> dict[str, Any] | None:
    """The operation that a request asks for, if there is one."""
    for pattern, template in _patterns():
        if pattern.fullmatch(path):
            methods = {name.upper(): each for name, each in openapi()["paths"][template].items()}
            return methods.get(method)
    return None


def resolved(value: Any, document: dict[str, Any]) -> Any:
    """What a reference refers to, or the value itself."""
    while isinstance(value, dict) and "$ref" in value:
        found: Any = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        value = found
    return value


@cache
def validator(name: str, kind: str = "openapi") -> Any:
    """Judges values by a schema, which is named as in the document."""
    document = openapi() if kind == "openapi" else asyncapi()
    return _validator(document, msgspec.json.encode({"$ref": name}))


@cache
def _response_validator(text: bytes) -> Any:
    return _validator(openapi(), text)


def _validator(document: dict[str, Any], schema: bytes) -> Any:
    whole = {**msgspec.json.decode(schema), "components": {"schemas": document["components"]["schemas"]}}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def check_answer(method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Hold an answer of a route against its description. Raises BrokenPromise."""
    found = operation("GET" if method == "HEAD" else method, path)
    if found is None:
        expect(status in (404, 405), f"{method} {path} is answered {status}, and is not described")
        return
    expect(str(status) in found["responses"], f"{method} {path} is answered {status}: {body!r}")
    response = resolved(found["responses"][str(status)], openapi())
    for name, header in response.get("headers", {}).items():
        needed = resolved(header, openapi()).get("required", False)
        expect(not needed or name.lower() in headers, f"{method} {path}: {status} has no {name}")
    content = response.get("content", {})
    if JSON in content and method != "HEAD":
        judge = _response_validator(msgspec.json.encode(content[JSON]["schema"]))
        text = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        conform(judge, msgspec.json.decode(text), f"{method} {path}: {status}")


def check_event(name: str, args: list[Any]) -> None:
    """Hold a packet that the server emits against its description. Raises BrokenPromise."""
    message = asyncapi()["channels"]["socket"]["messages"].get(f"server.{name.replace(':', '.')}")
    expect(message is not None, f"{name} is emitted, and is not described")
    conform(validator(message["payload"]["$ref"], "asyncapi"), args[0], name)
    for offset in args[1:]:
        expect(isinstance(offset, str), f"{name} has the offset {offset!r}")


def check_ack(name: str, answer: Any) -> None:
    """Hold an ack against the replies that are described for an emitted event. Raises BrokenPromise."""
    found = asyncapi()["operations"].get(f"emit.{name.replace(':', '.')}")
    replies = ["ack.Failed"] if found is None else [each["$ref"].split("/")[-1] for each in found["reply"]["messages"]]
    messages = asyncapi()["channels"]["socket"]["messages"]
    reply = next(each for each in replies if (each == "ack.Failed") is not answer.get("ok"))
    conform(validator(messages[reply]["payload"]["$ref"], "asyncapi"), answer, f"the ack of {name}")


def conform(judge: Any, value: Any, what: str) -> None:
    problem = next(judge.iter_errors(value), None)
    if problem is not None:
        raise BrokenPromise(f"{what}: {problem}")


def expect(kept: bool, problem: str) -> None:
    if not kept:
        raise BrokenPromise(problem)
