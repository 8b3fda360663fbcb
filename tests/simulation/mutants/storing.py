"""Deliberate bugs of what is stored and acknowledged."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from djactors.domain.commands import Counted, OwnCommand, Published, Recorded
from djactors.inbox import alerts, recorder
from djactors.inbox.inbox import Inbox
from djactors.inbox.recorder import Recorder
from djactors.store.errors import StoreUnavailable
from djactors.store.sqlite import lock, migrate
from djactors.store.sqlite.connections import Writer
from djactors.store.sqlite.lock import DatabaseLock
from djactors.store.threads import Call
from tests.simulation.instead import instead


def acknowledge_before_sync() -> AbstractContextManager[None]:
    """The writer leaves the sync to the system, which does it some time later."""
    original = Writer.open

    def open_(self: Writer) -> None:
        original(self)
        self._connection.execute("PRAGMA synchronous = OFF")

    return instead(Writer, "open", open_)


def leave_the_log_as_it_is_found() -> AbstractContextManager[None]:
    """A start believes that what it finds in the log is on the disk."""

    def secure_log(*_: Any) -> None:
        pass

    return instead(migrate, "_secure_log", secure_log)


def acknowledge_before_commit() -> AbstractContextManager[None]:
    """What was written is answered, and committed with what is written next."""

    def commit(self: Writer, call: Call[Any]) -> None:
        connection: sqlite3.Connection = self._connection
        if connection.in_transaction:
            connection.execute("COMMIT")
        version = self._begin()
        try:
            call.value = call.work(connection)
        except Exception as error:
            self._roll_back()
            call.error = error
        self._version = version

    return instead(Writer, "_commit", commit)


def answer_a_retry_with_less() -> AbstractContextManager[None]:
    """After a restart a retry is answered without the notifications that it made."""
    original = recorder._stored_answer

    def stored_answer(*args: Any) -> tuple[int, str, bytes] | None:
        found = original(*args)
        if found is None:
            return None
        answer = msgspec.json.decode(found[2])
        return found[0], found[1], msgspec.json.encode({**answer, "notifications": []})

    return instead(recorder, "_stored_answer", stored_answer)


def remember_what_was_rolled_back() -> AbstractContextManager[None]:
    """The writer goes on from numbers and counts of a commit that failed."""

    def forget(_: Recorder) -> None:
        pass

    return instead(Recorder, "forget", forget)


def answer_before_the_batch_is_done() -> AbstractContextManager[None]:
    """What failed with the batch is answered as if it had been recorded."""
    original = Inbox.record

    async def record(self: Inbox, commands: Sequence[Any], *args: Any) -> Any:
        try:
            recorded = await original(self, commands, *args)
        except StoreUnavailable:
            return Recorded([Published(0, b"{}") for _ in commands], {}, {})
        return recorded

    return instead(Inbox, "record", record)


def alert_twice() -> AbstractContextManager[None]:
    """The clock publishes each alert again in the same commit."""
    original = alerts._publish

    def publish(*args: Any) -> None:
        original(*args)
        original(*args)

    return instead(alerts, "_publish", publish)


def answer_a_command_that_failed() -> AbstractContextManager[None]:
    """What a person did to a notification is answered, although its commit has failed."""
    original = Inbox.record

    async def record(self: Inbox, commands: Sequence[Any], *args: Any) -> Any:
        try:
            recorded = await original(self, commands, *args)
        except StoreUnavailable:
            if not all(isinstance(command, OwnCommand) for command in commands):
                raise
            return Recorded([Counted(0, 0) for _ in commands], {}, {})
        return recorded

    return instead(Inbox, "record", record)


def forget_a_key() -> AbstractContextManager[None]:
    """A retry is recorded once more."""
    original = recorder._publish

    def publish(unit: Any, command: Any) -> Any:
        place = command.event.tenant_id, command.sender, command.key
        if command.key is not None and recorder._stored_answer(unit, place) is not None:
            command = msgspec.structs.replace(command, key=None)
        return original(unit, command)

    return instead(recorder, "_publish", publish)


def take_a_key_for_any_tenants() -> AbstractContextManager[None]:
    """A backend of all tenants cannot use a key in one of them that it has used in another."""
    statement = """SELECT id, fingerprint, answer FROM domain_events
        WHERE ? IS NOT NULL AND sender = ? AND idempotency_key = ?"""
    return instead(recorder, "SELECT_KEY", statement)


def let_go_of_the_lock_early() -> AbstractContextManager[None]:
    """The database's lock is given back once it was found free."""
    original = DatabaseLock.hold_database

    def hold_database(self: DatabaseLock) -> None:
        original(self)
        for descriptor in (self._fd, self._file):
            if descriptor is not None:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        if self._identity is not None:
            lock._held.discard(self._identity)

    return instead(DatabaseLock, "hold_database", hold_database)
