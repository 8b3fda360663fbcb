"""JSON schemas of the types that the server reads and answers, for the API's two descriptions.

msgspec makes them. What is added here is what readers of the descriptions need: names that fit an API, texts in the
language of JSON, patterns of JSON Schema instead of Python, and ids that may come as decimal text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from djactors.domain.ids import MAX_ID

Schema: TypeAlias = dict[str, Any]

PLACE = "#/components/schemas/"
"""Where both kinds of description have their schemas."""

_NAMES: Mapping[str, str] = {
    "JobView": "Job",
    "CommentView": "Comment",
    "Found": "Person",
    "Named": "NamedPerson",
    "Condition": "Installation",
    "Past": "PastCounters",
}
"""What types are called where the name of the class says less to a reader of the API."""

_ID = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
"""How msgspec describes `Id`."""


def id_pattern(largest: int) -> str:
    """A regular expression for the decimal texts of the numbers from 1 to `largest`."""
    digits = str(largest)
    same_length = [
        f"{digits[:place]}[{1 if place == 0 else 0}-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if int(digit) > (1 if place == 0 else 0)
    ]
    return f"^(?:[1-9][0-9]{{0,{len(digits) - 2}}}|{'|'.join(same_length)}|{digits})$"


ID: Schema = {
    "description": f"An integer from 1 to 2^53 - 1 ({MAX_ID}), as a number without a fraction or as decimal text.",
    "anyOf": [_ID, {"type": "string", "pattern": id_pattern(MAX_ID)}],
}


def schemas_of(types: Iterable[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """The schema of each of the types, and the schemas that they refer to, by name."""
    found, components = msgspec.json.schema_components(types, ref_template=PLACE + "{name}")
    by_name = {_name(name): _tidy(_in_json(schema)) for name, schema in components.items()}
    schemas = [_tidy(schema) for schema in found]
    if f'"{PLACE}Id"' in msgspec.json.encode([schemas, by_name]).decode():
        by_name["Id"] = ID
    return schemas, dict(sorted(by_name.items()))


def fields_of(kind: type[msgspec.Struct]) -> dict[str, tuple[Schema, bool]]:
    """The schema of each field of a struct, and whether the field is required. A null stands for a missing value, and
    is left out."""
    [_], components = msgspec.json.schema_components([kind])
    schema = components[kind.__name__]
    return {
        name: (_without_null(_translated(value)), name in schema.get("required", ()))
        for name, value in schema["properties"].items()
    }


def schema_name(kind: type[Any]) -> str:
    """What the schema of a struct is called."""
    return _name(kind.__name__)


def _name(name: str) -> str:
    return _NAMES.get(name, name)


def _in_json(schema: Schema) -> Schema:
    """The schema of a struct whose text speaks of the fields as they are called in JSON."""
    text = schema.get("description")
    if text is None:
        return schema
    names = schema.get("properties", {})

    def renamed(found: re.Match[str]) -> str:
        first, *rest = found[1].split("_")
        camel = first + "".join(word.capitalize() for word in rest)
        return f"`{camel}`" if camel in names else found[0]

    text = re.sub(r"`(\w+)`", renamed, " ".join(inspect.cleandoc(text).split()))
    return {**schema, "description": text}


def _tidy(value: Any) -> Any:
    if value == _ID:
        return {"$ref": f"{PLACE}Id"}
    if isinstance(value, dict):
        return {key: _tidied(key, each) for key, each in value.items() if key != "title" or not isinstance(each, str)}
    if isinstance(value, list):
        return [_tidy(each) for each in value]
    return value


def _tidied(key: str, value: Any) -> Any:
    match key, value:
        case "pattern", str():
            return _pattern(value)
        case "$ref", str():
            return PLACE + _name(value.removeprefix(PLACE))
        case "mapping", dict():
            return {tag: PLACE + _name(each.removeprefix(PLACE)) for tag, each in value.items()}
        case _:
            return _tidy(value)


def _translated(schema: Schema) -> Schema:
    return {key: _pattern(value) if key == "pattern" else value for key, value in schema.items()}


def _pattern(pattern: str) -> str:
    """A pattern of Python's in the language of JSON Schema, which is ECMAScript's."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


def _without_null(schema: Schema) -> Schema:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    if not kinds:
        return rest
    return {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}
