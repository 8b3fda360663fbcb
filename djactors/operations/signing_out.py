"""What `djactors sign-out` does: through the server where one is running, else in the database itself."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from djactors.config import Settings
from djactors.domain.commands import SignedOut, SignOut
from djactors.domain.errors import Refused
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.operations.asking import NotDoneError, ask
from djactors.store.database import Database
from djactors.store.engines import engine_at, is_url, shown

TIMEOUT = 10.0
"""Seconds in which the server must answer: a commit takes a few milliseconds."""


def through_server(
    settings: Settings,
    url: str,
    token: str | None,
    tenant_id: int,
    user_id: int,
    ssl_context: ssl.SSLContext | None = None,
) -> str:
    """Ask the server; the moment of the sign-out, as UTC text.

    Without a `token` the command signs one of a service for itself, with the secret of the settings.

    Raises:
        SettingError: there is neither a token nor a secret.
        NotDoneError: the server is not there, or refused.
    """
    path = f"/api/users/{user_id}/sign-out"
    answer = ask(settings, url, token, path, {"tenantId": tenant_id}, TIMEOUT, ssl_context=ssl_context)
    if "signedOutAt" not in answer:
        raise NotDoneError(f"{url} is no djactors server: its answer is another one")
    return str(answer["signedOutAt"])


def directly(path: str, tenant_id: int, user_id: int) -> str:
    """Write to the database, which no server may have open if it is a file; the moment of the sign-out, as UTC text.

    Raises:
        DatabaseLocked: a server holds it.
        NotDoneError: it is not there, or behind.
        MigrationError: it is another program's.
        StoreError: it cannot be written.
    """
    with alone(path):
        return trio.run(_record, path, SignOut(tenant_id, user_id))


@contextmanager
def alone(path: str) -> Iterator[None]:
    """Hold a database, which no server may have open if it is a file, so that a command can change it.

    Raises:
        DatabaseLocked: a server holds it.
        NotDoneError: it is not there, or behind.
        MigrationError: it is another program's.
    """
    if not is_url(path) and not os.path.exists(path):
        raise NotDoneError(f"--database: {path} does not exist: name the file that the server uses")
    with engine_at(path).guard():
        behind = schema.inspect(path)
        if behind:
            raise NotDoneError(f"{shown(path)} is behind: run `djactors migrate --database {shown(path)}`")
        yield


async def _record(path: str, command: SignOut) -> str:
    async with await Database.open(path) as database:
        recorded = await Inbox(database).record([command])
    [outcome] = recorded.outcomes
    if isinstance(outcome, Refused):
        raise NotDoneError(f"--tenant: {outcome.message}")
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, SignedOut)
    return outcome.at
