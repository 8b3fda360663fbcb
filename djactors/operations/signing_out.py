"""What `djactors sign-out` does: through the server where one is running, else in the database itself."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import trio

from djactors.config import SettingError, Settings
from djactors.domain.commands import SignedOut, SignOut
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.operations.tokens import sign
from djactors.store.database import Database
from djactors.store.engines import engine_at, is_url, shown

TIMEOUT = 10.0
"""Seconds in which the server must answer: a commit takes a few milliseconds."""

OWN_TOKEN_SECONDS = 60
"""The life of the token that the command signs for itself."""

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read. The right one has fifty."""


class NotSignedOutError(Exception):
    """The server did not do it; the message says why, and what to do."""


def through_server(settings: Settings, url: str, token: str | None, tenant_id: int, user_id: int) -> str:
    """Ask the server; the moment of the sign-out, as UTC text.

    Without a `token` the command signs one of a service for itself, with the secret of the settings.

    Raises:
        SettingError: there is neither a token nor a secret.
        NotSignedOutError: the server is not there, or refused.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotSignedOutError(f"--url: {url[:60]!r} is no address of a server: write it like http://127.0.0.1:3000")
    if token is None:
        try:
            token = sign(settings, tenant_id=tenant_id, role="service", ttl=OWN_TOKEN_SECONDS)
        except SettingError as error:
            raise SettingError(f"--token: is missing, and none can be signed here: {error}") from None
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        f"{url.rstrip('/')}/api/users/{user_id}/sign-out",
        data=json.dumps({"tenantId": tenant_id}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
            return str(json.loads(response.read(MAX_ANSWER))["signedOutAt"])
    except urllib.error.HTTPError as error:
        raise NotSignedOutError(f"{url} answered {error.code}: {_message(error.read(MAX_ANSWER))}") from None
    except urllib.error.URLError as error:
        raise NotSignedOutError(f"{url} cannot be reached: {error.reason}: is the server running there?") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise NotSignedOutError(f"{url} is no djactors server: its answer is another one") from None


def directly(path: str, tenant_id: int, user_id: int) -> str:
    """Write to the database, which no server may have open if it is a file; the moment of the sign-out, as UTC text.

    Raises:
        DatabaseLocked: a server holds it.
        NotSignedOutError: it is not there, or behind.
        MigrationError: it is another program's.
        StoreError: it cannot be written.
    """
    if not is_url(path) and not os.path.exists(path):
        raise NotSignedOutError(f"--database: {path} does not exist: name the file that the server uses")
    with engine_at(path).guard():
        behind = schema.inspect(path)
        if behind:
            raise NotSignedOutError(f"{shown(path)} is behind: run `djactors migrate --database {shown(path)}`")
        return trio.run(_record, path, SignOut(tenant_id, user_id))


async def _record(path: str, command: SignOut) -> str:
    async with await Database.open(path) as database:
        recorded = await Inbox(database).record([command])
    [outcome] = recorded.outcomes
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, SignedOut)
    return outcome.at


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "it is no djactors server, or one stands before it"
