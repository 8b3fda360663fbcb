"""A room has the default of its bound, the setting refers to it, and the composition passes the setting on.

Read from the sources: a parameter that was forgotten would look like a setting that does nothing, and no value that
happens to be the default could tell.
"""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from djactors import app, composition
from djactors.config import _settings


def tree(module: object) -> ast.Module:
    return ast.parse(Path(str(getattr(module, "__file__", None))).read_text())


def referring() -> Iterator[tuple[str, str, str]]:
    """Settings that refer to a room's default: the setting, what has the default, and its name there."""
    [settings] = [node for node in tree(_settings).body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    for field in settings.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.value, ast.Call):
            continue
        assert isinstance(field.target, ast.Name)
        match field.value.args[0]:
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                yield field.target.id, owner, name
            case ast.Name(id=constant):
                yield field.target.id, constant, constant.lower()


def passed() -> set[tuple[str, str, str]]:
    """What the composition passes on: the setting, what is made with it, and the parameter."""
    found = set()
    for node in chain(ast.walk(tree(app)), ast.walk(tree(composition))):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if isinstance(keyword.value, ast.Attribute) and keyword.arg is not None:
                    found.add((keyword.value.attr, ast.unparse(node.func), keyword.arg))
    return found


REFERRING = list(referring())

CONSTANTS = {
    "BUSY_TIMEOUT": ("Database.open", "busy_timeout"),
    "UNPROVEN_BYTES": ("UnprovenBytes", "limit"),
}
"""Constants to which settings refer: what is made with each, and the parameter."""


@pytest.mark.parametrize(("setting", "owner", "name"), REFERRING, ids=[setting for setting, _, _ in REFERRING])
def test_a_setting_reaches_the_room_that_has_its_default(setting: str, owner: str, name: str) -> None:
    made, parameter = CONSTANTS.get(owner, (owner, name))
    assert (setting, made, parameter) in passed()


def test_there_are_such_settings() -> None:
    assert len(REFERRING) > 10


def test_a_bound_that_two_rooms_share_reaches_both() -> None:
    for parameter in ("max_sessions", "max_sessions_per_address", "outbox_bytes"):
        assert any(made == "EngineSettings" and name == parameter for _, made, name in passed())
    for parameter in ("max_connections", "max_connections_per_address", "max_buffered"):
        assert any(made == "ListenerLimits" and name == parameter for _, made, name in passed())
