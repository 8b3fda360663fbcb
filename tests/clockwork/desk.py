"""What the tests record with: a connection, the recorder, and a clock that stands until it is moved."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from djactors.domain.commands import (
    Change,
    Command,
    Outcome,
    Publish,
    Published,
    RaiseAlerts,
    Recorded,
    SendSummaries,
    Sliced,
)
from djactors.domain.events import (
    DomainEvent,
    JobAssigned,
    JobCompleted,
    JobCreated,
    JobDeadlineChanged,
    NotificationRequested,
    Priority,
)
from djactors.domain.limits import Limits
from djactors.inbox import pages
from djactors.inbox.recorder import Recorder
from tests.engines import AnyConnection, begin, commit, roll_back
from tests.inbox.desk import changes_since

MORNING = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)
T = 1
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


class Desk:
    """Records as the store does, and looks at what came of it as its users do."""

    def __init__(self, connection: AnyConnection, node: str = "desk") -> None:
        self.node = node
        self.connection = connection
        self.now = MORNING
        self.limits = Limits()
        self.recorded: list[Recorded] = []

    def record(self, *commands: Command) -> Recorded:
        """One commit."""
        recorder = Recorder(lambda: self.now, self.limits, node=self.node)
        begin(self.connection)
        try:
            recorded = recorder.record(self.connection, commands)
        except BaseException:
            roll_back(self.connection)
            raise
        commit(self.connection)
        self.recorded.append(recorded)
        return recorded

    def do(self, command: Command) -> Outcome:
        """One command that must succeed."""
        (outcome,) = self.record(command).outcomes
        assert not isinstance(outcome, Exception), outcome
        return outcome

    def publish(self, *events: DomainEvent) -> list[dict[str, Any]]:
        """The answers to events of one commit, which must be taken."""
        outcomes = self.record(*map(Publish, events)).outcomes
        assert all(isinstance(outcome, Published) for outcome in outcomes), outcomes
        return [json.loads(outcome.answer) for outcome in outcomes if isinstance(outcome, Published)]

    def slice(self, command: Command) -> Sliced:
        outcome = self.do(command)
        assert isinstance(outcome, Sliced)
        return outcome

    def alert(self, limit: int = 100) -> Sliced:
        return self.slice(RaiseAlerts(limit))

    def summarize(self, limit: int = 100) -> Sliced:
        return self.slice(SendSummaries(limit))

    def inbox(self, user_id: int, tenant_id: int = T) -> list[pages.StoredNotification]:
        """The whole inbox, newest first; the badge must be right."""
        page = pages.page(self.connection, tenant_id, user_id, limit=100_000)
        assert page.unread == sum(not item.is_read for item in page.items)
        return page.items

    def types(self, user_id: int, tenant_id: int = T) -> list[str]:
        """The types in an inbox, oldest first."""
        return [item.type for item in reversed(self.inbox(user_id, tenant_id))]

    def changes(self, user_id: int, since: int = 0) -> list[tuple[str, Any]]:
        """What the user saw, of their own."""
        changes = changes_since(self.connection, T, user_id, since, 100_000)
        return [(change.name, json.loads(change.body)) for change in changes if change.user_id is not None]

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found = self.connection.execute(sql, parameters).fetchall()
        self.connection.settle()
        return found

    def one(self, sql: str, *parameters: Any) -> Any:
        ((value,),) = self.rows(sql, *parameters)
        return value


def note(user_id: int, priority: Priority = "LOW", tenant_id: int = T, title: str = "Hello") -> NotificationRequested:
    return NotificationRequested(
        tenant_id=tenant_id, user_id=user_id, notification_type="note", priority=priority, title=title
    )


def job(
    deadline: datetime | None = None,
    assignee_id: int | None = 11,
    manager_id: int | None = 12,
    requester_id: int = 10,
    job_id: int | None = None,
) -> JobCreated:
    return JobCreated(
        tenant_id=T,
        title="Banner Design",
        requester_id=requester_id,
        assignee_id=assignee_id,
        manager_id=manager_id,
        deadline=deadline,
        job_id=job_id,
    )


def moved(job_id: int, deadline: datetime | None) -> JobDeadlineChanged:
    return JobDeadlineChanged(tenant_id=T, job_id=job_id, deadline=deadline)


def assigned(job_id: int, assignee_id: int) -> JobAssigned:
    return JobAssigned(tenant_id=T, job_id=job_id, assignee_id=assignee_id)


def completed(job_id: int) -> JobCompleted:
    return JobCompleted(tenant_id=T, job_id=job_id)


def bodies(changes: list[Change]) -> list[Any]:
    return [msgspec.json.decode(change.body) for change in changes]
