"""Who uses a package from outside imports from its door alone: what the package does not export is its own."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOORS = ("kernel", "protocol", "net", "engine", "client", "client.socketio", "outbox", "embedded")
SOURCES = sorted(
    path
    for folder in ("djactors", "tests", "bench")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)


@cache
def imported(path: Path) -> tuple[str, ...]:
    """The modules that a file imports, by their full names."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module
            # `from djactors.net import _stream` would go past the door, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name.startswith("_"))


@pytest.mark.parametrize("door", DOORS)
def test_everybody_outside_comes_in_by_the_door(door: str) -> None:
    package = f"djactors.{door}"
    # The tests of a package look at its insides; whoever runs its example runs a module.
    place = door.replace(".", "/")
    insiders = (ROOT / "djactors" / place, ROOT / "tests" / place)
    past = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if not any(path.is_relative_to(insider) for insider in insiders)
        for name in imported(path)
        if name.startswith(f"{package}.")
        and name != f"{package}.example"
        # A package in a package has a door of its own.
        and name.removeprefix("djactors.") not in DOORS
        and not any(name.startswith(f"djactors.{other}.") for other in DOORS if other.startswith(f"{door}."))
    ]
    assert past == []


@pytest.mark.parametrize("door", DOORS)
def test_what_is_not_for_others_has_an_underscore(door: str) -> None:
    modules = {path.stem for path in (ROOT / "djactors" / door.replace(".", "/")).glob("*.py")} - {
        "__init__",
        "example",
    }
    assert [name for name in sorted(modules) if not name.startswith("_")] == []
