"""Each command is answered with what `Ask` says: the one thing about the router's ref that types cannot prove."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_overloads, get_type_hints

import pytest
from trio.testing import wait_all_tasks_blocked

from djactors.actors.command_ref import Ask, PublishAll, Request, RouterMessage
from djactors.domain.commands import (
    Archive,
    Delete,
    EraseSlice,
    ExpireSlice,
    Introduce,
    MarkAllRead,
    MarkJobRead,
    MarkRead,
    MarkSeen,
    MarkUnread,
    MuteJob,
    NoteRoom,
    Publish,
    PurgeSlice,
    RaiseAlerts,
    SendSummaries,
    SignOut,
    Snooze,
    Unarchive,
    UnmuteJob,
    Unsnooze,
    WakeSnoozed,
)
from djactors.domain.events import JobCreated
from djactors.domain.importing import AbandonImport, BeginImport, FinishImport, ImportRows
from djactors.domain.permissions import Person
from tests.actors.house import note, running

NOTE = note(11)
MESSAGES = [
    NOTE,
    MarkRead(1, 11, 1),
    MarkAllRead(1, 11),
    MarkUnread(1, 11, 1),
    MarkSeen(1, 11),
    MarkJobRead(1, 11, 1),
    Archive(1, 11, 1),
    Unarchive(1, 11, 1),
    Snooze(1, 11, 1, datetime(2026, 1, 28, tzinfo=UTC)),
    Unsnooze(1, 11, 1),
    MuteJob(1, 11, 1),
    UnmuteJob(1, 11, 1),
    Delete(1, 11, 1),
    Introduce(1, Person(12, "user", "Jo")),
    SignOut(1, 11),
    EraseSlice(1, 11),
    BeginImport(77, "plan", ("id", "name", "created_at", "updated_at"), (77, "New", "x", "x"), {}, "1"),
    ImportRows(88, "plan", 0, "users", (), ()),
    FinishImport(88, "plan", 1),
    AbandonImport(88),
    RaiseAlerts(10),
    SendSummaries(10),
    WakeSnoozed(10),
    ExpireSlice(10),
    PurgeSlice("changes", timedelta(days=1), 10),
    NoteRoom(10, None, 10),
    PublishAll((NOTE, NOTE)),
]


def parts(kind: Any) -> tuple[Any, ...]:
    """The members of a union, or the one class."""
    return get_args(kind) if get_origin(kind) is not None else (kind,)


def overloads(protocol: type) -> list[Any]:
    """The overloads of a protocol's `__call__`, which leaves no function that knows them."""
    named = SimpleNamespace(__module__=protocol.__module__, __qualname__=f"{protocol.__name__}.__call__")
    found = get_overloads(named)  # type: ignore[arg-type]
    assert found
    return list(found)


def answers() -> dict[type, Any]:
    """What `Ask` says that each message is answered with."""
    hints = [get_type_hints(overload) for overload in overloads(Ask)]
    return {message: hint["return"] for hint in hints for message in parts(hint["message"])}


def test_there_is_an_answer_for_every_message_that_the_router_takes() -> None:
    assert set(answers()) == set(get_args(RouterMessage)) == {type(message) for message in MESSAGES}


def test_a_request_is_answered_as_an_ask_is() -> None:
    for overload in overloads(Request):
        hints = get_type_hints(overload)
        answer = get_args(get_args(hints["reply"])[0][0])[0]
        for message in parts(hints["message"]):
            assert answer is answers()[message]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
async def test_every_message_is_answered_as_its_type_says(path: Path, autojump_clock, message: Any) -> None:
    async with running(path) as house:
        await house.do(NOTE, Publish(JobCreated(tenant_id=1, title="x", requester_id=12)))
        if isinstance(message, (ImportRows, FinishImport, AbandonImport)):
            row = ("id", "name", "created_at", "updated_at"), (message.tenant_id, "New", "x", "x")
            await house.router.ask(BeginImport(message.tenant_id, "plan", *row, {}, "1"), timeout=60)
        outcome = await house.router.ask(message, timeout=60)
        await wait_all_tasks_blocked()
    wanted = answers()[type(message)]
    if get_origin(wanted) is list:
        [each] = get_args(wanted)
        assert isinstance(outcome, list)
        assert len(outcome) == len(message.commands)
        assert all(isinstance(one, each) for one in outcome)
    else:
        assert type(outcome) is wanted
