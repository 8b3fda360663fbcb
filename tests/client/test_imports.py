"""What a program imports with a client: no server, and no more than the client that it asks for."""

import subprocess
import sys

import pytest

import djactors
import djactors.client

SERVER = ("djactors.app", "djactors.net", "djactors.engine", "djactors.store", "djactors.inbox", "djactors.edge")
PROGRAM = "import sys; {}; print(*sys.modules)"


def modules_of(statement: str) -> set[str]:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement)], capture_output=True, text=True, check=True
    ).stdout
    return set(output.split())


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("from djactors.client.socketio import connect", {"httpx", "rich", "sqlite3", "djactors.domain"}),
        ("from djactors.client import connect", {"sqlite3", "structlog"}),
        ("import djactors; djactors.Client", {"sqlite3", "structlog"}),
        ("import djactors.outbox", {"httpx", "trio", "sqlite3", "jwt"}),
        ("import djactors; djactors.portal", {"httpx", "djactors.client", "djactors.outbox"}),
        ("import djactors.app", {"httpx", "djactors.client"}),
    ],
)
def test_a_program_imports_no_more_than_it_asks_for(statement: str, without: set[str]) -> None:
    imported = modules_of(statement)
    assert imported & without == set()
    if "app" not in statement and "portal" not in statement:
        assert not [name for name in imported if name.startswith(SERVER)]


def test_every_name_of_the_door_is_there() -> None:
    assert all(getattr(djactors.client, name) is not None for name in djactors.client.__all__)
    with pytest.raises(AttributeError, match="Cleint"):
        _ = djactors.Cleint  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="Cleint"):
        _ = djactors.client.Cleint  # type: ignore[attr-defined]
