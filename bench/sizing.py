"""What an installation needs, by how many people use it: the table of `djactors.operations.sizing`, measured anew.

Disk: an inbox is kept for sixty days of virtual time, with its retention, once with notifications alone and once with
jobs alone. After thirty-seven days as much is purged as comes, except for the jobs and their comments.
Memory and descriptors: of a served process, with nobody connected and with some thousand users.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
import trio

from bench.driver import load_on
from bench.load.commands import Connect, Connected, Done, Flood, Know, Phase
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server
from bench.usage import descriptors, memory
from djactors.actors.retention import Keeping
from djactors.config import Settings
from djactors.domain.commands import Command, ExpireSlice, Publish, PurgeSlice, Sliced
from djactors.domain.events import (
    CommentAdded,
    JobApproved,
    JobCompleted,
    JobCreated,
    JobSubmitted,
    NotificationRequested,
)
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.operations.sizing import HEAD, Measured, rows
from djactors.store.database import Database

TENANT = 1
BEGINS = datetime(2026, 1, 5, 9, tzinfo=UTC)
DAYS = 60
SETTLED = 45
"""The day from which on all is purged at the pace at which it comes: 30 days, and 7 more."""

SLICE = 500
EVENTS_AT_ONCE = 500
TITLE = "DJ-2026-00042: banner for the spring campaign needs your approval"
TEXT = "Please have a look at the colours of the second draft; the customer wants them warmer than in the first one."
SETTLE_SECONDS = 1.0
WARM_USERS = 100
"""Who connect and are notified before anything is measured."""


async def _filled(database: Database) -> int:
    return (await database.room()).filled


async def _record(store: Inbox, commands: Sequence[Command]) -> None:
    for start in range(0, len(commands), EVENTS_AT_ONCE):
        rest = commands[start : start + EVENTS_AT_ONCE]
        while rest:
            outcomes = (await store.record(rest)).outcomes
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
            rest = rest[len(outcomes) :]


async def _retain(store: Inbox) -> None:
    """A round of retention, as `djactors.actors.retention` has it."""
    keeping = Keeping(Settings.history_days, Settings.event_days, Settings.suppression_days)
    await _slices(store, ExpireSlice(SLICE))
    for table, keep in keeping.plan():
        await _slices(store, PurgeSlice(table, keep, SLICE))


async def _slices(store: Inbox, command: ExpireSlice | PurgeSlice) -> None:
    while True:
        (outcome,) = (await store.record([command])).outcomes
        assert isinstance(outcome, Sliced), outcome
        if not outcome.more:
            return
        if isinstance(command, PurgeSlice):
            command = msgspec.structs.replace(command, after=outcome.after)


class Growth(msgspec.Struct, frozen=True):
    """Bytes of the file: `each` for one more in the first days, `held` for one a day in the end, `kept` for ever."""

    each: float
    held: float
    kept: float


async def _grow(path: Path, a_day: int, users: int, *, jobs: bool) -> Growth:
    now = BEGINS
    schema.apply(path)
    async with await Database.open(path) as database:
        store = Inbox(database, lambda: now)
        # Whoever is known already costs nothing more.
        await _record(store, [_note(user, 0, 0) for user in range(1, users + 1)])
        begun = await _filled(database)
        first = settled = 0
        for day in range(1, DAYS + 1):
            now += timedelta(days=1)
            for number in range(0, a_day, EVENTS_AT_ONCE):
                these = range(number, min(number + EVENTS_AT_ONCE, a_day))
                made = [
                    each
                    for n in these
                    for each in (_life(day, n, a_day, users) if jobs else [_note(n % users + 1, day, n)])
                ]
                await _record(store, made)
            if day == 1:
                first = await _filled(database) - begun
            await _retain(store)
            if day == SETTLED:
                settled = await _filled(database)
        full = await _filled(database)
    kept = max(0.0, (full - settled) / (DAYS - SETTLED) / a_day) if jobs else 0.0
    return Growth(first / a_day, (full - begun) / a_day - kept * DAYS, kept)


def _note(user: int, day: int, number: int) -> Publish:
    return Publish(
        NotificationRequested(
            tenant_id=TENANT,
            user_id=user,
            notification_type="announcement",
            priority="MEDIUM",
            title=TITLE,
            message=TEXT,
            data={"jobId": number},
        ),
        f"day-{day}-number-{number}-user-{user}",
    )


def _life(day: int, number: int, a_day: int, users: int) -> Iterator[Publish]:
    """The events of one job, as `EVENTS_A_JOB` counts them."""
    job = day * a_day + number + 1
    requester, assignee, approver = (((number + shift) % users) + 1 for shift in (0, 1, 2))
    created = JobCreated(
        tenant_id=TENANT,
        job_id=job,
        title=TITLE,
        requester_id=requester,
        assignee_id=assignee,
        approver_id=approver,
        watcher_ids=(requester, assignee),
    )
    for step, event in enumerate(
        (
            created,
            CommentAdded(tenant_id=TENANT, job_id=job, actor_id=requester, text=TEXT),
            CommentAdded(tenant_id=TENANT, job_id=job, actor_id=assignee, text=TEXT),
            JobSubmitted(tenant_id=TENANT, job_id=job, actor_id=assignee),
            JobApproved(tenant_id=TENANT, job_id=job, actor_id=approver),
            JobCompleted(tenant_id=TENANT, job_id=job, actor_id=assignee),
        )
    ):
        yield Publish(event, f"job-{job}-step-{step}")


class Served(msgspec.Struct, frozen=True):
    """What a server takes."""

    idle_mib: float
    user_kib: float
    idle_descriptors: int
    user_descriptors: float


def _serve(folder: Path, users: int, report: Report) -> Served:
    with djactors_server(folder) as target, load_on(target) as load:
        pid = target.processes["server"]
        load.ask(Know(WARM_USERS + users), Done)
        # What a server fills once, such as its caches, is full before anybody is counted.
        first = load.ask(Connect(1, WARM_USERS, 64, True, SETTLE_SECONDS), Connected)
        warm = Flood(event="notification.requested", producers=16, batch=1, seconds=5.0, count=2000)
        report.check("warming up", load.ask(warm, Phase).faults)
        before, opened = memory(pid).proportional, descriptors(pid)
        joined = load.ask(Connect(WARM_USERS + 1, users, 64, True, SETTLE_SECONDS), Connected)
        report.check("connecting", {**first.failures, **joined.failures})
        user_kib = (memory(pid).proportional - before) * 1024 / users
        each = (descriptors(pid) - opened) / users
    return Served(
        idle_mib=before - WARM_USERS * user_kib / 1024,
        user_kib=user_kib,
        idle_descriptors=round(opened - WARM_USERS * each),
        user_descriptors=each,
    )


@click.command()
@click.option("--users", type=click.IntRange(1), default=2000, help="Who connect.")
@click.option("--notifications", type=click.IntRange(1), default=2000, help="On each of sixty days.")
@click.option("--jobs", type=click.IntRange(1), default=200, help="On each of sixty days.")
@out_option
def sizing(users: int, notifications: int, jobs: int, out: Path) -> None:
    """What an installation needs: bytes a notification, disk a year, memory and descriptors a user."""
    settings = dict(click.get_current_context().params)
    with workplace(out, "sizing") as directory:
        report = Report("sizing", directory, settings)

        async def grow() -> tuple[Growth, Growth]:
            return (
                await _grow(directory / "notifications.db", notifications, 1000, jobs=False),
                await _grow(directory / "jobs.db", jobs, 1000, jobs=True),
            )

        notes, lives = trio.run(grow)
        served = _serve(directory / "served", users, report)
    measured = Measured(
        notification_bytes=notes.each,
        held_a_notification=notes.held,
        held_a_job=lives.held,
        kept_a_job=lives.kept,
        **msgspec.structs.asdict(served),
    )
    report.table(HEAD, rows(measured))
    figures = {name: round(getattr(measured, name), 1) for name in Measured.__slots__}
    report.table(["measured", ""], [[name, value] for name, value in figures.items()])
    report.figures = figures
    bars = {"bytes": {"a notification": notes.each, "kept a job": lives.kept}}
    report.finish(out, bar_plot("What is stored", report.foot, bars, ""))
