"""Clients of a djactors server: an inbox for Trio programs, and what backends publish with.

A user's inbox, live, in a complete program::

    import sys

    import trio

    from djactors.client import Notification, Reset, connect


    async def main(url: str, token: str) -> None:
        async with connect(url, token) as inbox:
            async for item in inbox:
                match item:
                    case Notification(id=number, title=title):
                        print(title)
                        print("unread:", (await inbox.read(number)).count)
                    case Reset():
                        print("load the list:", len((await inbox.list()).items))


    if __name__ == "__main__":
        trio.run(main, sys.argv[1], sys.argv[2])

How an inbox behaves:

- **Items.** The iterator yields one struct for each thing that happens, in the order of the log: `Notification`,
  `UnreadCount`, `Read` and the others in `InboxItem`, and `Connected` and `Disconnected` for the connection. An event
  of a newer server is an `OtherEvent`.
- **Nothing missed, nothing twice.** After a broken connection and after a restart of the server, the inbox goes on
  behind the last item that it received. A program that must do the same over its own restarts keeps the `offset` of
  each item that it has dealt with, and gives it to `connect` as `since`. If the server cannot tell what was missed, a
  `Reset` comes: forget what you have, and load the list with `Inbox.list`. What follows may be in the list already.
- **Commands.** `read`, `delete`, `archive`, `snooze` and the others are acknowledged when they are durable. A command
  about one notification or job is repeated if the connection breaks, because that changes nothing. `read_all` and the
  others that are about everything up to now raise `UnreachableError` instead.
- **Tokens.** Give a function instead of a token, and the inbox renews it when the server warns, and when it was
  refused. With a plain token, answer `TokenExpiring` with `Inbox.refresh`. A token that the server has not taken is not
  used, and a token that names another person than the first one is refused before it is sent.
- **Backpressure, reconnection, cancellation.** As in `djactors.client.socketio`, with the same `SocketSettings`. A
  program that does not take its items in time loses its connection and no item.
- **The end.** The iterator and the commands raise `ApiError` if the server refuses the token for good, and another
  `DjactorsError` if the client has given up.

Times are aware `datetime`s or seconds, sizes are bytes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from djactors.client._connect import connect
    from djactors.client._errors import ApiError, DjactorsError, UnreachableError
    from djactors.client._events import prepared
    from djactors.client._exchange import RetryPolicy
    from djactors.client._inbox import COMMAND_SECONDS, Inbox
    from djactors.client._notifications import (
        ApprovalStatus,
        Archived,
        Connected,
        Counts,
        Deleted,
        Disconnected,
        InboxItem,
        JobAssignment,
        JobChange,
        JobMuted,
        JobUnmuted,
        ListedNotification,
        NewComment,
        Notification,
        OtherEvent,
        Page,
        Presence,
        Read,
        Reset,
        Seen,
        Snoozed,
        TokenExpiring,
        Unarchived,
        Unread,
        UnreadCount,
        Unsnoozed,
        event_name,
    )
    from djactors.client._publishing import Client, Notified, Published, Suppressed, TrioClient
    from djactors.client._signing import signed_by
    from djactors.client._tokens import BlockingToken, Token

if not TYPE_CHECKING:
    # Imported when they are asked for, so that a program that wants only `socketio` imports no HTTP client.
    _NAMES = {
        "_connect": ("connect",),
        "_errors": ("ApiError", "DjactorsError", "UnreachableError"),
        "_events": ("prepared",),
        "_exchange": ("RetryPolicy",),
        "_inbox": ("COMMAND_SECONDS", "Inbox"),
        "_publishing": ("Client", "Notified", "Published", "Suppressed", "TrioClient"),
        "_signing": ("signed_by",),
        "_tokens": ("BlockingToken", "Token"),
    }
    _HOMES = {name: home for home, names in _NAMES.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # All others are items.
        home = _HOMES.get(name, "_notifications")
        return getattr(import_module(f"{__name__}.{home}"), name)


__all__ = [
    "COMMAND_SECONDS",
    "ApiError",
    "ApprovalStatus",
    "Archived",
    "BlockingToken",
    "Client",
    "Connected",
    "Counts",
    "Deleted",
    "Disconnected",
    "DjactorsError",
    "Inbox",
    "InboxItem",
    "JobAssignment",
    "JobChange",
    "JobMuted",
    "JobUnmuted",
    "ListedNotification",
    "NewComment",
    "Notification",
    "Notified",
    "OtherEvent",
    "Page",
    "Presence",
    "Published",
    "Read",
    "Reset",
    "RetryPolicy",
    "Seen",
    "Snoozed",
    "Suppressed",
    "Token",
    "TokenExpiring",
    "TrioClient",
    "Unarchived",
    "UnreachableError",
    "Unread",
    "UnreadCount",
    "Unsnoozed",
    "connect",
    "event_name",
    "prepared",
    "signed_by",
]
