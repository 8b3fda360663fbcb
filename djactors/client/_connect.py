"""How a program gets an `Inbox`."""

import random as randomness
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from djactors.client._api import TrioApi, checked_url
from djactors.client._exchange import RetryPolicy
from djactors.client._inbox import Inbox, may_renew
from djactors.client._tokens import Token, Tokens
from djactors.client.socketio import Event, OpenStream, RefusedError, SocketSettings
from djactors.client.socketio import connect as connect_socket
from djactors.domain.marks import BEGINNING, offset_of

_EXPIRING = "auth:expiring"

SHOWN = 40
"""Characters that a message shows of what is wrong."""


@asynccontextmanager
async def connect(
    url: str,
    token: Token,
    *,
    since: str | None = None,
    tenant_id: int | None = None,
    settings: SocketSettings | None = None,
    retries: RetryPolicy | None = None,
    ssl_context: ssl.SSLContext | None = None,
    open_stream: OpenStream | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    random: Callable[[], float] = randomness.random,
) -> AsyncIterator[Inbox]:
    """Connect to a user's inbox, and stay connected until the block is left.

    The block begins at once; `Inbox.wait_connected` waits for the server. On leaving, the client says good-bye, for at
    most `SocketSettings.close_timeout` seconds; if the block is cancelled, it hangs up at once.

    The way to the server is direct: an inbox uses no proxy of the environment (`HTTPS_PROXY` and the others), neither
    for the connection nor for `Inbox.list`. Where there is no direct way, `open_stream` and `transport` bring another.

    Args:
        url: the server's origin, such as `https://notify.example.com`.
        token: the user's token, or a function, plain or async, that returns a fresh one. The function is asked at the
            beginning, when the server warns that the token expires, and when it was refused. It may raise
            `djactors.client.socketio.TryAgainError`; anything else that it raises ends the block with that exception.
            All tokens must be of one person: a later one whose claims name another user or tenant than the first one
            ends the block with an `ApiError`, code `unauthorized`.
        since: the offset of the last item that was dealt with, or of a list: what happened behind it comes first.
            Without it, the inbox begins now.
        tenant_id: the tenant for which the token must be, if that is to be checked.
        settings: times and bounds of the connection.
        retries: how `Inbox.list` retries.
        ssl_context: for `https`; by default what the system trusts.
        open_stream, transport: another way to the server than the network, for the connection and for `Inbox.list`.
        random: gives numbers from 0 to 1 for the waits.

    Raises:
        ValueError, DjactorsError: an argument is wrong; the message names it.
    """
    base = checked_url(url)
    if since is not None and offset_of(since) is None:
        raise ValueError(
            f"since: {since[:SHOWN]!r} is no offset: give one as an item or a list has it, such as {BEGINNING}, or "
            "leave it out to begin now"
        )
    tokens = Tokens(token, of_one_person=True)
    fixed: dict[str, Any] = {} if tenant_id is None else {"tenantId": tenant_id}
    if since is not None:
        fixed["since"] = since
    warned = trio.Event()

    async def auth(refusal: RefusedError | None) -> dict[str, Any]:
        # The same token again says that there is no other one.
        return {**fixed, "token": await tokens.get(fresh=refusal is not None and may_renew(refusal))}

    def heard(event: Event) -> None:
        nonlocal warned
        if event.name == _EXPIRING and tokens.can_renew:
            warned.set()

    async def renew() -> None:
        nonlocal warned
        while True:
            await inbox.renew(warned)
            warned = trio.Event()

    api = TrioApi(
        base,
        tokens,
        retries or RetryPolicy(),
        random,
        ssl_context=ssl_context,
        transport=transport,
        # The connection knows no proxy, and a list that came by another way than the items would be a riddle.
        is_proxied=False,
    )
    try:
        async with connect_socket(
            base,
            auth=auth,
            settings=settings,
            ssl_context=ssl_context,
            open_stream=open_stream,
            random=random,
            heard=heard,
        ) as socket:
            inbox = Inbox(socket, tokens, api)
            socket.start_soon(renew)
            yield inbox
    finally:
        with trio.CancelScope(shield=True):
            await api.aclose()
