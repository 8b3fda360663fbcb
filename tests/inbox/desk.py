"""What the tests record with: a connection, the recorder, and a clock that stands until it is moved."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from djactors.domain.commands import Change, Command, Outcome, Publish, Published, Recorded
from djactors.domain.errors import Refused
from djactors.domain.events import DomainEvent
from djactors.inbox import log
from djactors.inbox.log import Replay
from djactors.inbox.recorder import Recorder
from djactors.store.connection import Connection
from tests.engines import AnyConnection, begin, commit, dump, roll_back
from tests.offsets import offset_in

MORNING = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)
MORNING_TEXT = "2026-01-27T10:30:00.000000Z"


class Desk:
    """Records as the store does: a batch as a whole, and if that fails one by one."""

    def __init__(self, connection: AnyConnection, node: str = "desk") -> None:
        self.connection = connection
        self.now = MORNING
        self.recorder = Recorder(lambda: self.now, node=node)
        self.announced: list[Change] = []
        self.fell_back = 0

    def record(self, *commands: Command) -> Recorded:
        begin(self.connection)
        try:
            recorded = self.recorder.record(self.connection, commands)
            commit(self.connection)
        except Exception:
            self.recorder.forget()
            roll_back(self.connection)
            self.fell_back += 1
            recorded = self.record_each(*commands)
        else:
            self._note(recorded)
        return recorded

    def record_each(self, *commands: Command) -> Recorded:
        begin(self.connection)
        recorded = self.recorder.record_each(self.connection, commands)
        commit(self.connection)
        self._note(recorded)
        return recorded

    def do(self, command: Command) -> Outcome:
        """One command that must succeed."""
        (outcome,) = self.record(command).outcomes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def publish(self, event: DomainEvent, key: str | None = None) -> dict[str, Any]:
        """The answer to an event that must be taken."""
        outcome = self.do(Publish(event, key))
        assert isinstance(outcome, Published)
        return answer(outcome)

    def refusal(self, command: Command | DomainEvent) -> Refused:
        """Why a command is refused; nothing of it may be left behind."""
        before = self.dump()
        recorded = self.record(command if isinstance(command, Command) else Publish(command))
        (outcome,) = recorded.outcomes
        assert isinstance(outcome, Refused), outcome
        assert recorded.changes == {}
        assert recorded.unread == {}
        assert self.dump() == before
        return outcome

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found = self.connection.execute(sql, parameters).fetchall()
        self.connection.settle()
        return found

    def one(self, sql: str, *parameters: Any) -> Any:
        ((value,),) = self.rows(sql, *parameters)
        return value

    def dump(self) -> list[str]:
        return dump(self.connection)

    def since(self, tenant_id: int, user_id: int, seq: int = 0, limit: int = 1000) -> list[Change]:
        return changes_since(self.connection, tenant_id, user_id, seq, limit)

    def _note(self, recorded: Recorded) -> None:
        for changes in recorded.changes.values():
            self.announced += changes


def changes_since(connection: Connection, tenant_id: int, user_id: int, since: int, limit: int = 1000) -> list[Change]:
    """What the user may see of what happened after the change `since`, paged to the end, at most `limit` changes."""
    changes: list[Change] = []
    position = offset_in(connection, since, tenant_id)
    while len(changes) < limit:
        found = log.replay(connection, tenant_id, user_id, position, limit=limit - len(changes))
        assert isinstance(found, Replay), f"the log does not reach back to {position}"
        changes += found.changes
        position = found.position
        if position == found.last:
            break
    return changes


def served_by(step: str) -> str:
    """What serves a step of a query's plan: an index by its name, a primary key by its table's, or nothing."""
    match = re.search(r"(?:(\w+) USING (?:INTEGER )?PRIMARY KEY)|(?: INDEX (\w+))", step)
    return "" if match is None else match[1] or match[2]


def answer(outcome: object) -> dict[str, Any]:
    assert isinstance(outcome, Published), outcome
    decoded: dict[str, Any] = json.loads(outcome.answer)
    return decoded


def packets(changes: Sequence[Change]) -> list[tuple[int | None, str, Any]]:
    """Whom, what and the payload."""
    return [(change.user_id, change.name, json.loads(change.body)) for change in changes]
