"""Sorts PostgreSQL's errors by what the caller should do about them (`djactors.store.errors`), by their SQLSTATE.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import psycopg

from djactors.store.errors import StoreDamaged, StoreError, StoreUnavailable

__all__ = [
    "READ_ONLY",
    "NotConnected",
    "is_conflict",
    "is_connection_lost",
    "is_duplicate",
    "is_prepared_elsewhere",
    "storage_failure",
    "told",
]

READ_ONLY = "25006"

_NOT_CONNECTED = (
    "it cannot be connected to: see that the server runs there and takes connections, and that the user, the password "
    "and the name of the database are right"
)

# Another transaction was in the way, and the same work may succeed when it is run again.
_CONFLICTS = {
    "40001": "other nodes changed the same rows",
    "40P01": "it and another node waited for each other's rows",
    "55P03": "another node holds the rows",
}
_DUPLICATE = "23505"
# A pooler gave the transaction another connection than the one on which the statement was prepared.
_PREPARED_ELSEWHERE = frozenset({"26000", "42P05"})

_DAMAGED = frozenset({"XX001", "XX002", "58030", "58P01"})

# Errors and, with two characters, classes of errors that pass, or that somebody else can mend while the program runs.
_HEALS = {
    "08": "the connection to the database was lost",
    "57P": "the database is stopping, starting or was told to end the connection",
    "57014": "a statement took too long, or somebody cancelled it",
    "25P03": "this process stood still in the middle of a transaction, and the database ended the connection",
    "25P04": "a transaction took too long, and the database ended the connection",
    READ_ONLY: "the database is read-only, because it is a standby or its disk is full: name the primary server",
    "53100": "the disk of the database is full: free some space",
    "53200": "the database is out of memory",
    "53300": "the database has no connection left: raise its max_connections, or stop other clients",
    "53": "the database is out of resources",
    "28": "the database refuses this user or the password: correct them",
    "3D000": "there is no such database: create it, or correct its name",
    "42501": "this user may not do that: grant the user the rights of the tables' owner",
}
# Behind these the connection is of no use any more.
_ENDS = ("08", "57P", "25P03", "25P04", READ_ONLY, "28", "3D000")


class NotConnected(psycopg.OperationalError):
    """The server is not there, or it refused the connection. Which of the two, libpq tells in words only."""


def is_conflict(error: Exception) -> bool:
    """Whether the same work may succeed when it is run again."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _CONFLICTS


def is_duplicate(error: Exception) -> bool:
    """Whether a row is there already. Another node may have made it after this one looked."""
    return isinstance(error, psycopg.Error) and error.sqlstate == _DUPLICATE


def is_prepared_elsewhere(error: Exception) -> bool:
    """Whether a pooler stands between that does not keep prepared statements apart."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _PREPARED_ELSEWHERE


def is_connection_lost(error: Exception) -> bool:
    """Whether another connection is needed."""
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        # It comes from libpq and not from the server: there is nobody at the other end.
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_ENDS)


def storage_failure(error: Exception) -> StoreError | None:
    """Sort an error. None means that the statement was wrong and not the database."""
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if isinstance(error, NotConnected):
        return StoreUnavailable(f"{_NOT_CONNECTED}: {told(error)}")
    if state is None:
        return StoreUnavailable(f"{_HEALS['08']}: {told(error)}") if is_connection_lost(error) else None
    if state in _DAMAGED:
        return StoreDamaged(f"the database is damaged: look at its log, and restore a backup: {told(error)} ({state})")
    heals = [_HEALS[code] for code in (state, state[:3], state[:2]) if code in _HEALS]
    reason = _CONFLICTS.get(state) or next(iter(heals), None)
    return None if reason is None else StoreUnavailable(f"{reason}: {told(error)} ({state})")


def told(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
