"""Where a PostgreSQL server is and how it is spoken to: the URL of the setting `database`.

A URL is libpq's own, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE`. What it leaves out is looked for as
libpq does it, for example the password in `~/.pgpass`. One parameter is this program's own: `prepared_statements=off`.
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from djactors.store.errors import PlaceRefused
from djactors.store.postgresql.url import without_password

__all__ = ["Conninfo"]


_PREPARED = "prepared_statements"

# Seconds until a server that does not answer is given up. A server in the next building answers within 0.1 s.
CONNECT_TIMEOUT = 5
# Milliseconds after which a connection is given up whose bytes the other side does not acknowledge. Without it, a
# connection to a machine that has lost its power is given up after a quarter of an hour.
TCP_USER_TIMEOUT = 5000
# The same for a connection on which nothing is under way: seconds until the first question, and between two.
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 2, "keepalives_count": 3}


@dataclass(frozen=True, slots=True)
class Conninfo:
    """What a URL says.

    Attributes:
        shown: the URL without its password, for messages.
        parameters: what libpq is given.
        prepares: whether statements may be prepared. A pooler that gives each transaction another connection must have
            support for that.
    """

    shown: str
    parameters: dict[str, Any]
    prepares: bool

    @classmethod
    def of(cls, url: str) -> "Conninfo":
        """Read a URL.

        Raises:
            PlaceRefused: it is none. The message shows no password.
        """
        rest, prepares = _without_ours(url)
        shown = without_password(url)
        try:
            said = conninfo_to_dict(rest)
        except psycopg.Error:
            # What libpq says of it may hold a piece of the password.
            raise PlaceRefused(
                f"{shown} is no URL of a PostgreSQL database: write it like postgresql://USER:PASSWORD@HOST:5432/NAME, "
                "and special characters in a password as %-escapes"
            ) from None
        defaults: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT,
            "tcp_user_timeout": TCP_USER_TIMEOUT,
            "application_name": "djactors",
            "client_encoding": "UTF8",
            **KEEPALIVES,
        }
        if "," in str(said.get("host", "")):
            # Of several servers the one is meant that takes writes, whichever that is now.
            defaults["target_session_attrs"] = "read-write"
        return cls(shown, defaults | said, prepares)


def _without_ours(url: str) -> tuple[str, bool]:
    head, mark, query = url.partition("?")
    ours = {f"{_PREPARED}=on": True, f"{_PREPARED}=off": False}
    prepares = True
    kept = []
    for part in query.split("&"):
        if part in ours:
            prepares = ours[part]
        elif part:
            kept.append(part)
    return head + (mark + "&".join(kept) if kept else ""), prepares
