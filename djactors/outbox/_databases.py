"""What a connection of somebody else's program is: which database, how parameters are written, whether a transaction is
open. Drivers are told by the package that their classes come from, so that none of them is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from djactors.client import DjactorsError

Style: TypeAlias = Literal["qmark", "format", "numeric_dollar"]
"""How a driver wants parameters: `?`, `%s` or `$1`. The first two are names of PEP 249, the third is SQLAlchemy's."""

Engine: TypeAlias = Literal["sqlite", "postgresql", "other"]
"""Which SQL. `other` is a database that only Django's ORM has made the table in: rows are read and deleted there by
plain SQL, and nothing keeps two runners apart."""

_DRIVERS: Final[Mapping[str, tuple[Engine, Style]]] = {
    "sqlite3": ("sqlite", "qmark"),
    "psycopg": ("postgresql", "format"),
    "psycopg2": ("postgresql", "format"),
}
_WITHOUT = frozenset({0, 4})
"""What libpq calls a connection without a transaction: `PQTRANS_IDLE`, and `PQTRANS_UNKNOWN` for one that is closed,
of which the driver itself says so as soon as it is used."""


_SQLITE_ERROR: Final = 1
_LOCKED: Final = frozenset({5, 6})
"""What SQLite calls `SQLITE_BUSY` and `SQLITE_LOCKED`. Who uses PostgreSQL need not have Python's sqlite3."""

_UNDEFINED_TABLE: Final = "42P01"


class OutboxError(DjactorsError):
    """The outbox cannot be used like this; the message says what to do instead."""


@dataclass(frozen=True)
class Database:
    """A connection, and how to talk to it.

    Attributes:
        connection: has `cursor`, `commit` and `rollback`.
        engine: which SQL.
        style: how parameters are written.
    """

    connection: Any
    engine: Engine
    style: Style

    def sql(self, text: str) -> str:
        """A statement whose parameters are written `?`, as this driver wants it."""
        return styled(text, self.style)

    def has_transaction(self) -> bool | None:
        """Whether a transaction is open; None where the driver has one open all the time, whatever is in it."""
        if _is_django(self.connection):
            return True if self.connection.in_atomic_block else None if self.begins_by_itself() else False
        if self.engine == "sqlite":
            return None if _autocommit(self.connection) is False else bool(self.connection.in_transaction)
        return int(self.connection.info.transaction_status) not in _WITHOUT

    def begins_by_itself(self) -> bool:
        """Whether a statement outside a transaction begins one, as PEP 249 has it."""
        if _is_django(self.connection):
            return not self.connection.get_autocommit()
        if self.engine == "sqlite":
            autocommit = _autocommit(self.connection)
            return self.connection.isolation_level is not None if autocommit is None else not autocommit
        return not self.connection.autocommit

    def begin(self, cursor: Any) -> None:
        """Begin a transaction that writes, if the next statement would not."""
        if not self.begins_by_itself():
            cursor.execute("BEGIN IMMEDIATE" if self.engine == "sqlite" else "BEGIN")


def styled(text: str, style: Style) -> str:
    """A statement of ours whose parameters are written `?`, in the style of a driver."""
    if style == "qmark":
        return text
    first, *rest = text.split("?")
    marks = ("%s" if style == "format" else f"${number}" for number in range(1, len(rest) + 1))
    return first + "".join(mark + part for mark, part in zip(marks, rest, strict=True))


def database_of(given: Any) -> Database:
    """The database of a connection or of a cursor.

    Raises:
        OutboxError: it is neither, or of a driver that is not known.
    """
    connection = _connection_of(given)
    if _is_django(connection):
        engines: dict[str, Engine] = {"sqlite": "sqlite", "postgresql": "postgresql"}
        return Database(connection, engines.get(connection.vendor, "other"), "format")
    for package in _packages_of(connection):
        if package in _DRIVERS and not inspect.iscoroutinefunction(getattr(connection, "commit", None)):
            return Database(connection, *_DRIVERS[package])
    name = f"{type(given).__module__}.{type(given).__qualname__}"
    raise OutboxError(
        f"connection: {name} is not known: give a connection or cursor of sqlite3, psycopg, psycopg2 or Django, or "
        "execute what `Outbox.insert` returns"
    )


def sentence_of(error: Exception) -> str:
    """What a driver says of an error, in one line, and what that means where the driver does not say it."""
    said = " ".join(str(error).split()) or type(error).__name__
    if _sqlite_code(error) in _LOCKED:
        said += ": another program has a transaction open in this file, and has not ended it while this one waited"
    return said


def is_of_missing_table(error: Exception) -> bool:
    """Whether a driver says that there is no such table."""
    return getattr(error, "sqlstate", None) == _UNDEFINED_TABLE or (
        _sqlite_code(error) == _SQLITE_ERROR and str(error).startswith("no such table: ")
    )


def _sqlite_code(error: Exception) -> int | None:
    """The primary result code of SQLite."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def cursor_of(given: Any) -> Any:
    """The cursor that was given, or a new one of the connection that was given."""
    return given if _is_cursor(given) else _driver_connection(given).cursor()


def _connection_of(given: Any) -> Any:
    if _is_cursor(given):
        # Django's cursors call it `db`, and pass every other name on to the driver's cursor.
        found = getattr(given, "db", None) if "django" in _packages_of(given) else getattr(given, "connection", None)
        return _driver_connection(found)
    return _driver_connection(given)


def _driver_connection(given: Any) -> Any:
    """The driver's own connection: SQLAlchemy's pool wraps it."""
    return getattr(given, "dbapi_connection", None) or given


def _is_cursor(given: Any) -> bool:
    return hasattr(given, "fetchone") and not hasattr(given, "commit")


def _autocommit(connection: Any) -> bool | None:
    """`sqlite3.Connection.autocommit` of Python 3.12; None where `isolation_level` decides."""
    found = getattr(connection, "autocommit", None)
    return found if isinstance(found, bool) else None


def _is_django(connection: Any) -> bool:
    return "django" in _packages_of(connection) and hasattr(connection, "vendor")


def _packages_of(value: Any) -> Iterator[str]:
    return (kind.__module__.partition(".")[0] for kind in type(value).__mro__)
