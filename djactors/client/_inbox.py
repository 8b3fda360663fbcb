"""A user's inbox, live: what happens in it as an iterator, and what the user does with it as methods."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlencode

import msgspec
import trio

from djactors.client._api import TrioApi
from djactors.client._errors import ApiError, DjactorsError, UnreachableError
from djactors.client._exchange import Request, api_error_in, converted, decoded
from djactors.client._notifications import (
    Connected,
    Counts,
    Disconnected,
    InboxItem,
    Page,
    item_of,
)
from djactors.client._tokens import SomebodyElsesError, Tokens
from djactors.client.socketio import (
    AckTimeoutError,
    ConnectFailed,
    ConnectFailedError,
    ConnectionLostError,
    Event,
    RefusedError,
    Socket,
    SocketError,
    TryAgainError,
)
from djactors.client.socketio import Connected as SocketConnected

COMMAND_SECONDS = 15.0
"""How long a command waits unless told otherwise: a reconnection after a restart of the server fits in."""

RENEW_AGAIN_SECONDS = 5.0
"""Between two attempts at a fresh token while the old one is about to expire. The server warns minutes before."""

_MENDS: Mapping[str, str] = {
    "token_missing": "give a token of the user",
    "token_expired": "the token has expired: sign in again, or make a new one with `djactors token`",
    "token_invalid": "the token is signed with another secret, is of another issuer or tenant, or is not valid yet: "
    "the server's log says which; make one with the server's JWT_SECRET, such as by `djactors token`",
    "token_revoked": "the user was signed out since the token was made: sign in again",
    "user_deactivated": "the user is deactivated: ask an admin",
}
"""What to do about a CONNECT that was refused: the contract has the server say no more than the code."""

_RENEWABLE = frozenset({"token_expired", "token_invalid", "token_missing", "token_revoked"})
"""Codes of refusals against which another token may help."""


class _Refreshed(msgspec.Struct, rename="camel"):
    expires_at: datetime


_counts = msgspec.json.Decoder(Counts)
_page = msgspec.json.Decoder(Page)


class Inbox:
    """One user's inbox. Made by `connect`; `djactors.client` tells how it behaves.

    Every command returns the counts after it. Show those of `UnreadCount` all the same: a newer one may have been given
    out by the time that a command returns. A command may raise `ApiError` (the server refused), `UnreachableError` (no
    answer within `timeout` seconds), or another `DjactorsError` (the inbox is at its end). If the connection breaks
    before the answer, a command about one notification or job is repeated, since that changes nothing. A command about
    everything up to now is not, since there may be more by then: it raises `UnreachableError`. Cancelled, a command may
    have been carried out.
    """

    def __init__(self, socket: Socket, tokens: Tokens, api: TrioApi) -> None:
        self._socket, self._tokens, self._api = socket, tokens, api

    @property
    def is_connected(self) -> bool:
        """Whether the server has let this client in."""
        return self._socket.is_connected

    @property
    def transport(self) -> str | None:
        """`websocket` or `polling`, None without a connection."""
        return None if self._socket.transport is None else str(self._socket.transport)

    async def wait_connected(self) -> None:
        """Wait until the server has let this client in.

        Raises:
            DjactorsError: the inbox is at its end.
        """
        try:
            await self._socket.wait_connected()
        except SocketError as error:
            raise _ours(error) from None

    def start_soon(self, task: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run a task for as long as the block lasts. What it raises ends the block with that exception."""
        self._socket.start_soon(task, *args)

    # What happens

    def __aiter__(self) -> Self:
        """What happens, in the order of the log."""
        return self

    async def __anext__(self) -> InboxItem:
        """The next item. Cancelling this loses none.

        Raises:
            ApiError: the server refuses the token, and there is no other one.
            DjactorsError: the inbox is at its end for another reason.
        """
        try:
            item = await anext(self._socket)
        except SocketError as error:
            raise _ours(error) from None
        match item:
            case Event(name=name, args=args):
                # The offset is the last argument of each event.
                offset = args[1] if len(args) > 1 and isinstance(args[1], str) else None
                return item_of(name, args[0] if args else None, offset)
            case SocketConnected(transport=transport):
                return Connected(transport=transport)
            case ConnectFailed(reason=reason, detail=detail, retry_in=retry_in, attempt=attempt):
                return Disconnected(reason=str(reason), detail=detail, retry_in=retry_in, attempt=attempt)
            case gone:
                return Disconnected(reason=str(gone.reason), detail=gone.detail, retry_in=gone.retry_in)

    # What the user does

    async def read(self, notification_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Mark one notification as read."""
        return await self._one("read", notification_id, timeout)

    async def read_all(self, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Mark everything in the inbox itself as read."""
        return await self._command("notification:read-all", {}, timeout, repeated=False)

    async def unread(self, notification_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Mark one notification as unread again."""
        return await self._one("unread", notification_id, timeout)

    async def seen(self, up_to: int | None = None, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Mark everything as seen, or everything up to one notification."""
        payload = {} if up_to is None else {"upTo": up_to}
        return await self._command("notification:seen", payload, timeout, repeated=up_to is not None)

    async def archive(self, notification_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Put one notification into the archive."""
        return await self._one("archive", notification_id, timeout)

    async def unarchive(self, notification_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Take one notification out of the archive."""
        return await self._one("unarchive", notification_id, timeout)

    async def snooze(self, notification_id: int, until: datetime, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Let one notification come back at a moment in the future, before it expires.

        Raises:
            ValueError: `until` has no time zone.
        """
        if until.utcoffset() is None:
            raise ValueError("until: has no time zone: give it one, such as datetime.UTC")
        return await self._one("snooze", notification_id, timeout, until=until.isoformat())

    async def unsnooze(self, notification_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Bring a snoozed notification back now."""
        return await self._one("unsnooze", notification_id, timeout)

    async def delete(self, notification_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Delete one notification."""
        return await self._one("delete", notification_id, timeout)

    async def mute_job(self, job_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Hear of a job only what concerns this user alone."""
        return await self._command("job:mute", {"jobId": job_id}, timeout)

    async def unmute_job(self, job_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Hear of a job as before."""
        return await self._command("job:unmute", {"jobId": job_id}, timeout)

    async def read_job(self, job_id: int, *, timeout: float = COMMAND_SECONDS) -> Counts:
        """Mark everything as read that the inbox has of a job."""
        return await self._command("job:read-notifications", {"jobId": job_id}, timeout, repeated=False)

    async def watch_people(self, *, timeout: float = COMMAND_SECONDS) -> None:
        """Have `Presence` told on this connection. It ends with the connection: ask again after each `Connected`."""
        await self._ask("people:watch", {}, timeout)

    async def unwatch_people(self, *, timeout: float = COMMAND_SECONDS) -> None:
        """Have `Presence` told no longer."""
        await self._ask("people:unwatch", {}, timeout)

    async def refresh(self, token: str, *, timeout: float = COMMAND_SECONDS) -> datetime:
        """Go on with another token of the same user; return when it expires. A `token` function does this by itself.

        The new token is in use once the server has taken it. If the server refuses it, does not answer in time, or this
        is cancelled, the former token stays in use, for connections and for `list`. That is also the token of a
        connection that is made while this waits: the server let it in before, and whose it is, is certain. Only if the
        server refuses the former token then, since it has expired meanwhile, is the new one shown instead.

        Raises:
            ApiError: the server refuses the token, or it says of itself that it is another person's.
        """
        token = self._tokens.checked(token)
        with self._tokens.offering(token):
            answer = await self._ask("auth:refresh", {"token": token}, timeout)
            self._tokens.replace(token)
        return converted(answer, _Refreshed).expires_at

    async def list(
        self,
        *,
        view: str = "inbox",
        unread: bool | None = None,
        type: str | None = None,  # noqa: A002 - the field's own name
        priority: str | None = None,
        job: int | None = None,
        query: str | None = None,
        limit: int = 20,
        before: int | None = None,
    ) -> Page:
        """Load a page of the list over HTTP, newest first.

        Args:
            view: `inbox`, `archived` or `snoozed`.
            unread: only what is unread.
            type, priority, job, query: only what has these.
            limit: from 1 to 100.
            before: the `next_before` of the page before.

        Raises:
            ApiError: the server refused.
            UnreachableError: no answer came in time.
            DjactorsError: what answered is no djactors.
        """
        asked = {"view": view, "type": type, "priority": priority, "job": job, "query": query}
        fields = {name: value for name, value in asked.items() if value is not None}
        fields |= {"limit": limit} | ({} if before is None else {"before": before})
        if unread is not None:
            fields["unread"] = "true" if unread else "false"
        answer = await self._api.ask(Request("GET", f"/api/notifications?{urlencode(fields)}"))
        return decoded(_page, answer)

    # The connection, for `connect`

    async def renew(self, expiring: trio.Event) -> None:
        """Hand in a fresh token once the server has warned."""
        await expiring.wait()
        while True:
            try:
                await self.refresh(await self._tokens.make())
            except SomebodyElsesError:
                # The function is wrong, and would show this person's inbox to another one.
                raise
            except (TryAgainError, DjactorsError):
                # Until the token expires there is time; then the connection ends, and the next CONNECT asks again.
                await trio.sleep(RENEW_AGAIN_SECONDS)
            else:
                return

    # Inside

    async def _one(self, verb: str, notification_id: int, timeout: float, **more: Any) -> Counts:
        return await self._command(f"notification:{verb}", {"notificationId": notification_id, **more}, timeout)

    async def _command(self, name: str, payload: Mapping[str, Any], timeout: float, *, repeated: bool = True) -> Counts:
        return converted(await self._ask(name, payload, timeout, repeated=repeated), Counts)

    async def _ask(
        self, name: str, payload: Mapping[str, Any], timeout: float, *, repeated: bool = True
    ) -> Mapping[str, Any]:
        deadline = trio.current_time() + timeout
        is_repeated = False
        while True:
            try:
                args = await self._socket.call(name, payload, timeout=max(0.0, deadline - trio.current_time()))
            except ConnectionLostError as lost:
                if not repeated:
                    raise UnreachableError(str(lost)) from None
                is_repeated = True
                continue
            except SocketError as error:
                raise _ours(error) from None
            answer = args[0] if args and isinstance(args[0], dict) else {"error": {"code": "internal"}}
            refusal = api_error_in(answer)
            if refusal is None:
                return answer
            if is_repeated and name == "notification:delete" and refusal.code == "not_found":
                # The attempt that got no answer has deleted it.
                counted = await self._api.ask(Request("GET", "/api/notifications/unread-count"))
                return msgspec.structs.asdict(decoded(_counts, counted))
            raise refusal


def refusal_code(refusal: RefusedError) -> str:
    """The code in the data of a refused CONNECT."""
    data = refusal.data
    return str(data.get("code", "unauthorized")) if isinstance(data, dict) else "unauthorized"


def may_renew(refusal: RefusedError) -> bool:
    """Whether another token may help."""
    return refusal_code(refusal) in _RENEWABLE


def _ours(error: SocketError) -> DjactorsError:
    match error:
        case RefusedError():
            code = refusal_code(error)
            mend = _MENDS.get(code)
            return ApiError(code, error.message if mend is None else f"{error.message}: {mend}")
        case AckTimeoutError() | ConnectFailedError():
            return UnreachableError(str(error))
        case _:
            return DjactorsError(str(error))
