"""What `djactors erase` does: erases a person, through the server where one is running, else in the database itself.

Either way it is done in pieces, and may be interrupted: the same command, run again, does the rest.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import trio

from djactors.config import Settings
from djactors.domain.commands import Erased, EraseSlice, Swept
from djactors.domain.erasure import stand_in
from djactors.domain.errors import Code, Refused
from djactors.domain.notification_rules import BUILT_IN_RULES, Rules
from djactors.domain.times import from_text, utc_text
from djactors.inbox.inbox import Inbox
from djactors.operations.asking import NotDoneError, ask
from djactors.operations.signing_out import alone
from djactors.store.database import Database
from djactors.store.engines import is_url, shown
from djactors.store.errors import StoreError

NOT_FOUND = 404
"""The status of an answer about somebody who is not known."""

TIMEOUT = 600.0
"""Seconds in which the server must answer. A piece takes two seconds, and with the last one the whole file is written
anew."""

REMAINS: Mapping[str, str] = {
    "users": "a row with the name {stand_in!r}, for which no token is worth anything: jobs and comments point at it",
    "jobs": "the number of the user where the person was requester, assignee, approver or manager: the work is the "
    "tenant's; the titles of jobs, without the person's names",
    "job_comments": "where and when the person commented, without the text",
    "domain_events": "what happened to which job and when, with the number of the user, until it is purged",
}
"""What an erasure leaves, by table, and why."""

NO_BACKUPS_TOLD = (
    "every backup and copy of the database that was made before {at} still holds the person: delete it, or run this "
    "command again after one is put back; until when they are kept is not known here"
)
BACKUPS_TOLD = (
    "every backup and copy of the database that was made before {at} still holds the person until it is deleted, by "
    "{until} at the latest as they are kept for {days} days; run this command again after one is put back"
)
BACKEND = (
    "have your backend send nothing more of the person: a `user.upserted` or a text that names them is stored again"
)
LOGS = "the server's own log and those of proxies name users by number and may have addresses: they are not changed"


class Receipt(msgspec.Struct, frozen=True, rename="camel"):
    """What was erased, for the person who asked for it.

    Attributes:
        place: the server or the database.
        erased: how many rows were deleted, emptied or reworded, by table.
        overwritten: whether nothing of it is left in the bytes of the database's files.
        remains: what is left, and why.
        notes: what else the reader has to know.
    """

    tenant_id: int
    user_id: int
    erased_at: str
    place: str
    erased: dict[str, int]
    overwritten: bool
    remains: dict[str, str]
    notes: list[str]


class Progressed(msgspec.Struct, frozen=True):
    """A piece is done; `rows` were erased so far."""

    rows: int

    def __str__(self) -> str:
        return f"erasing: {self.rows} rows so far"


Report = Callable[[Progressed], None]


class Plan(msgspec.Struct, frozen=True):
    """Whom to erase, and how.

    Attributes:
        names: other names of the person.
        overwrite: whether to write the database's file anew at the end.
        backup_days: for how many days backups are kept; None if that is not told.
    """

    tenant_id: int
    user_id: int
    names: tuple[str, ...] = ()
    overwrite: bool = True
    backup_days: int | None = None


class _Tally:
    """Adds up pieces."""

    def __init__(self, plan: Plan, place: str, report: Report) -> None:
        self._plan = plan
        self._place = place
        self._report = report
        self._rows: Counter[str] = Counter()
        self._namesake = False

    def add(self, rows: Mapping[str, int], *, namesake: bool) -> None:
        self._rows.update(rows)
        self._namesake |= namesake
        self._report(Progressed(self._rows.total()))

    def receipt(self, at: str, *, overwritten: bool, problem: str | None) -> Receipt:
        plan = self._plan
        name = stand_in(plan.user_id)
        return Receipt(
            plan.tenant_id,
            plan.user_id,
            at,
            self._place,
            dict(sorted(self._rows.items())),
            overwritten,
            {table: why.format(stand_in=name) for table, why in REMAINS.items()},
            [_backups(at, plan.backup_days), BACKEND, LOGS, *self._more(overwritten=overwritten, problem=problem)],
        )

    def _more(self, *, overwritten: bool, problem: str | None) -> list[str]:
        notes = []
        if self._namesake:
            notes.append(
                "somebody else in the tenant has the same name, so it was left in what others wrote: nobody can tell "
                "who was meant; to take it out there as well, run this command again with --also-called"
            )
        if not overwritten:
            why = f" ({problem})" if problem else ""
            notes.append(
                f"old bytes may be left in the database's files{why}: on SQLite run this command again, without "
                "--no-overwrite; on PostgreSQL run VACUUM FULL and archive no old write-ahead log"
            )
        return notes


def through_server(
    settings: Settings,
    url: str,
    token: str | None,
    plan: Plan,
    report: Report,
    ssl_context: ssl.SSLContext | None = None,
) -> Receipt:
    """Have the server erase a person.

    Raises:
        SettingError: there is neither a token nor a secret.
        NotDoneError: the server is not there, or refused.
    """
    tally = _Tally(plan, url, report)
    path = f"/api/users/{plan.user_id}/erase"
    body: dict[str, Any] = {"tenantId": plan.tenant_id, "overwrite": plan.overwrite}
    if plan.names:
        body["names"] = plan.names
    while True:
        try:
            answer = ask(settings, url, token, path, body, TIMEOUT, ssl_context=ssl_context)
        except NotDoneError as error:
            if "after" not in body and error.status == NOT_FOUND:
                who = f"user {plan.user_id} of tenant {plan.tenant_id}"
                raise NotDoneError(f"--user: there is no {who}, or --url is no server: {error}") from None
            if "after" not in body:
                raise
            raise NotDoneError(f"{error}; the person is erased in part: run the same command again") from None
        try:
            piece = msgspec.convert(answer, Piece)
        except msgspec.ValidationError:
            raise NotDoneError(f"{url} is no djactors server: its answer is another one") from None
        tally.add(piece.erased, namesake=piece.namesake)
        if piece.after is None:
            return tally.receipt(piece.at, overwritten=bool(piece.overwritten), problem=piece.problem)
        body["after"] = piece.after


class Piece(msgspec.Struct, frozen=True):
    """The server's answer; see the route."""

    at: str
    erased: dict[str, int]
    after: str | None
    namesake: bool
    overwritten: bool | None = None
    problem: str | None = None


def directly(path: str, plan: Plan, report: Report, rules: Rules = BUILT_IN_RULES) -> Receipt:
    """Erase a person from the database, which no server may have open if it is a file.

    `rules` are those by which the notifications were worded.

    Raises:
        DatabaseLocked: a server holds it.
        NotDoneError: it is not there, or behind, or the tenant has no such user.
        MigrationError: it is another program's.
        StoreError: it cannot be written.
    """
    with alone(path):
        return trio.run(_erase, path, plan, _Tally(plan, shown(path), report), rules)


async def _erase(path: str, plan: Plan, tally: _Tally, rules: Rules) -> Receipt:
    async with await Database.open(path) as database:
        inbox = Inbox(database, rules=rules)
        erased = await _slice(inbox, plan, Swept())
        tally.add(erased.rows, namesake=erased.namesake)
        while erased.after is not None:
            erased = await _slice(inbox, plan, erased.after)
            tally.add(erased.rows, namesake=erased.namesake)
        overwritten, problem = False, None
        if plan.overwrite and not is_url(path):
            try:
                overwritten = await inbox.overwrite()
            except StoreError as error:
                problem = str(error)
        return tally.receipt(erased.at, overwritten=overwritten, problem=problem)


async def _slice(inbox: Inbox, plan: Plan, after: Swept) -> Erased:
    command = EraseSlice(plan.tenant_id, plan.user_id, plan.names, after=after)
    [outcome] = (await inbox.record([command])).outcomes
    if isinstance(outcome, Refused) and outcome.code is not Code.NOT_FOUND:
        raise NotDoneError(f"--tenant: {outcome.message}")
    if isinstance(outcome, Refused):
        raise NotDoneError(f"--user: tenant {plan.tenant_id} has no user {plan.user_id}")
    if isinstance(outcome, Exception):
        raise outcome
    assert isinstance(outcome, Erased)
    return outcome


def _backups(at: str, days: int | None) -> str:
    if days is None:
        return NO_BACKUPS_TOLD.format(at=at)
    until: datetime = from_text(at) + timedelta(days=days)
    return BACKUPS_TOLD.format(at=at, until=utc_text(until), days=days)
