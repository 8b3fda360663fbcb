"""Upgrades the database at the start of a server or by a command: says what it will do, copies, migrates, tells how far
it is, and can be stopped.

    plan ── lines for the person ── the copy ── the migrations, one after the other

A killed or stopped upgrade is taken up again by the next start. The database then has some of the migrations, each
wholly, so the plan is shorter, and it is copied as it is then; the copy of before stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import trio

from djactors.config import Settings
from djactors.domain.times import WALL_CLOCK
from djactors.inbox import schema
from djactors.store.engines import Place, engine_at, is_url
from djactors.store.errors import MigrationError, StoreError
from djactors.store.sqlite.keeping import require_room
from djactors.store.upgrading import COPY, COPY_BYTES_A_SECOND, Course, Plan, Step, steps_of
from djactors.telemetry import Telemetry

NO_COPY: Final = "none"
"""What the setting `upgrade_backup` says for no copy."""

LOOK_SECONDS: Final = 0.1
"""Between two looks of a server at how far the upgrade is, and whether to stop: nobody minds a tenth of a second."""

STATUS_SECONDS: Final = 1.0
"""Between two words to the service manager."""

FIRST_REPORT: Final = 2.0
"""Seconds before the first entry of the log about how far it is."""

REPORT_SECONDS: Final = 10.0
"""Between two entries of the log, so that the log of an hour has some hundreds."""


def plan(place: Place, upgrade_backup: str) -> Plan | None:
    """What an upgrade of this database will do; None if it needs none. Nothing is changed. Blocks.

    Args:
        place: where the database is; its guard is held.
        upgrade_backup: the setting of this name.

    Raises:
        MigrationError: the database is refused, or there is no room for the copy.
    """
    lacking = schema.to_upgrade(place)
    if not lacking:
        return None
    engine = engine_at(place)
    contents = engine.contents()
    steps = steps_of(lacking, engine.dialect, contents, engine.upgrade_costs)
    copy, left_out = None, None
    if is_url(place):
        left_out = "that of a PostgreSQL database is for pg_dump or your provider"
    elif upgrade_backup == NO_COPY:
        left_out = f"upgrade_backup is {NO_COPY}"
    else:
        file = Path(engine.name).resolve()
        folder = Path(upgrade_backup) if upgrade_backup else file.parent
        copy = folder / f"{file.name}.before-{lacking[0].number:04}"
        try:
            require_room(folder, contents.bytes)
        except MigrationError as error:
            raise MigrationError(f"{engine.name}: {error}, or do without it by --upgrade-backup {NO_COPY}") from None
        steps.insert(0, Step(COPY, contents.bytes / COPY_BYTES_A_SECOND))
    return Plan(engine.name, tuple(each.name for each in lacking), contents, tuple(steps), copy, left_out)


class Upgrade:
    """The upgrade of one plan.

    Args:
        place: where the database is; its guard is held.
        plan: what is done.
        now: the wall clock.
        token_bytes: a source of randomness.

    Attributes:
        course: how far it is. Its `stop` may be called on any thread.
        copied_to: where the copy is, once it is made.
    """

    def __init__(
        self,
        place: Place,
        plan: Plan,
        *,
        now: Callable[[], datetime] = WALL_CLOCK,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.plan = plan
        self.course = Course(plan.steps)
        self.copied_to: Path | None = None
        self._place = place
        self._now = now
        self._token_bytes = token_bytes

    def run(self, report: Callable[[Course], None] = lambda _: None) -> list[str]:
        """Do all of it. Blocks. Returns the names of what was applied. `report` is called every few milliseconds.

        Raises:
            UpgradeStopped: somebody asked for it; the next one goes on.
            MigrationError: it failed. What was applied before stays applied.
        """
        watcher = _Reporting(self.course, report)
        if self.plan.copy is not None:
            watcher.begins(COPY)
            self.copied_to = engine_at(self._place).copy(self.plan.copy, watcher.goes_on)
        return schema.apply(self._place, now=self._now, token_bytes=self._token_bytes, watcher=watcher)

    async def run_beside(self, stopping: Callable[[], bool], report: Callable[[Course], None]) -> list[str]:
        """Do all of it on a thread of its own, so that the event loop still hears signals.

        Args:
            stopping: asked often whether somebody wants it to stop.
            report: called on the Trio thread, every `LOOK_SECONDS`.

        Raises:
            UpgradeStopped, MigrationError: as `run`.
        """

        async def watch() -> None:
            try:
                while not stopping():
                    report(self.course)
                    await trio.sleep(LOOK_SECONDS)
            finally:
                # Somebody wants it to stop, or has cancelled all of this, or it is done.
                self.course.stop()

        if stopping():
            self.course.stop()
        applied: list[str] = []
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                applied = await trio.to_thread.run_sync(self.run)
            except (StoreError, OSError) as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return applied


class _Reporting:
    """Reports whenever something asks whether to go on."""

    def __init__(self, course: Course, report: Callable[[Course], None]) -> None:
        self._course = course
        self._report = report

    def begins(self, step: str) -> None:
        self._course.begins(step)
        self._report(self._course)

    def goes_on(self) -> bool:
        self._report(self._course)
        return self._course.goes_on()


class LongStart:
    """Tells the log and the service manager what a server does that does not serve yet.

    Args:
        log: told every `REPORT_SECONDS`, so that the log of an hour has some hundreds of entries.
        starting: told each time, so that the service manager waits longer.
    """

    def __init__(self, log: Callable[..., object], starting: Callable[[str], None]) -> None:
        self._log = log
        self._starting = starting
        self._next_starting = 0.0
        self._next_log: float | None = None

    def report(self, doing: object) -> None:
        """Say what is being done, unless that was said a moment ago."""
        now = trio.current_time()
        if now >= self._next_starting:
            self._next_starting = now + STATUS_SECONDS
            self._starting(str(doing))
        if self._next_log is None:
            # What is over soon needs no entry.
            self._next_log = now + FIRST_REPORT
        elif now >= self._next_log:
            self._next_log = now + REPORT_SECONDS
            self._log("starting", doing=str(doing))


async def bring_up_to_date(
    settings: Settings,
    telemetry: Telemetry,
    start: LongStart,
    stopping: Callable[[], bool],
    *,
    now: Callable[[], datetime],
    token_bytes: Callable[[int], bytes],
) -> list[str]:
    """Make the database, or upgrade it, for a server that starts and holds its guard. Returns what was applied.

    A new database is made at once. An older one is upgraded beside the event loop.

    Raises:
        UpgradeStopped: `stopping` said yes.
        MigrationError: the database is refused, or an upgrade failed.
    """
    place = settings.database
    planned = None
    if schema.to_upgrade(place):
        # To count the rows of a large database takes a while.
        planned = await trio.to_thread.run_sync(plan, place, settings.upgrade_backup)
    if planned is None:
        return schema.apply(place, now=now, token_bytes=token_bytes)
    for line in planned.lines():
        telemetry.log.warning("upgrading the database", plan=line)
    upgrade = Upgrade(place, planned, now=now, token_bytes=token_bytes)
    applied = await upgrade.run_beside(stopping, start.report)
    if upgrade.copied_to is not None:
        telemetry.log.info("the database of before is kept", copy=str(upgrade.copied_to))
    return applied
