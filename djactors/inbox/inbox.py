"""The durable inbox, as the layers above see it: commands go in, snapshots come out. It knows no actors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from djactors.domain.accounts import Account
from djactors.domain.jobs import JobView, Status
from djactors.domain.marks import Offset
from djactors.domain.notifications import NULL, InboxItem
from djactors.domain.room import Size
from djactors.inbox import (
    accounts,
    copies,
    importing,
    job_lists,
    log,
    mutes,
    names,
    pages,
    people,
    room,
    schema,
    threads,
)
from djactors.inbox.arrival import Arrival
from djactors.inbox.job_lists import JobPage, SuppressionPage
from djactors.inbox.log import Astray, Replay
from djactors.inbox.pages import ALL, Snapshot, StoredNotification, Wanted
from djactors.inbox.parcels import Columns
from djactors.inbox.people import PeoplePage
from djactors.inbox.recorder import Recording
from djactors.inbox.tenancy import Part, Row
from djactors.inbox.threads import Thread
from djactors.store.connection import Alike, Connection
from djactors.store.room import Room
from djactors.store.threads import Work
from djactors.store.turns import Turn

T = TypeVar("T")


class Page(msgspec.Struct, frozen=True):
    """A page of an inbox, newest first, from one snapshot. The fields are those of `pages.InboxPage`."""

    items: list[InboxItem]
    next_before: int | None
    unread: int
    at: Offset
    follows: bool
    unseen: int


class Inbox(Recording):
    """The inbox of all tenants in one database. `Recording` has the writing half; the reading half is here.

    A caller names the offset that the reader was `told` last, and the answer says whether the snapshot has this offset
    in its past. A yes is certain, because the answer is read from the same snapshot. A no is certain as well, because a
    read sees everything that was told before the read was asked for. If the reads of the store may lag, the writer is
    asked again after a no.

    Tenants are read for in turn, and so are the users of a tenant. A user's actor has a turn of its own beside the
    user's requests, so that a user who sends many requests still gets live what is new. Every read raises
    `StoreCrowded` if too many requests of one user wait already.
    """

    async def snapshot(
        self, tenant_id: int, user_id: int, told: Offset | None = None, *, requested: bool = False
    ) -> Snapshot:
        """A user's unread count, and the tenant's newest change in the same snapshot.

        `requested` says that a request asks for it, and not the user's actor.
        """
        if told is None:
            alike = Alike(pages.snapshots, (tenant_id, user_id))
            return await self._database.read(alike, _turn(tenant_id, user_id, requested=requested))
        work = partial(pages.snapshot, tenant_id=tenant_id, user_id=user_id, told=told)
        return await self._read(work, _turn(tenant_id, user_id, requested=requested), lambda state: state.follows)

    async def page(
        self,
        tenant_id: int,
        user_id: int,
        *,
        limit: int,
        before: int | None = None,
        wanted: Wanted = ALL,
        told: Offset | None = None,
    ) -> Page:
        """A page of a user's inbox: the `limit` newest notifications older than the id `before`; see `pages.page`."""
        work = partial(
            pages.page,
            tenant_id=tenant_id,
            user_id=user_id,
            limit=limit,
            before=before,
            wanted=wanted,
            told=told,
        )
        page = await self._read(work, _turn(tenant_id, user_id), lambda page: page.follows)
        items = [_item(row) for row in page.items]
        return Page(items, page.next_before, page.unread, page.at, page.follows, page.unseen)

    async def replay(
        self,
        tenant_id: int,
        user_id: int,
        since: Offset,
        *,
        until: Offset | None = None,
        told: Offset | None = None,
        limit: int,
        at_most: int | None = None,
        make: Callable[[Replay], T],
        requested: bool = False,
    ) -> T | Astray:
        """A part of the log as the user sees it, or why the log does not lead on from `since`; see `log.replay`.

        `make` says what is made of it, on the reader's thread: the loop need not wait for that. `requested` says that a
        request asks for it, and not the user's actor.
        """

        def work(connection: Connection) -> T | Astray:
            found = log.replay(
                connection, tenant_id, user_id, since, until=until, told=told, limit=limit, at_most=at_most
            )
            return found if isinstance(found, Astray) else make(found)

        turn = _turn(tenant_id, user_id, requested=requested)
        return await self._read(work, turn, lambda found: not isinstance(found, Astray))

    async def reclaim_space(self) -> int:
        """Give some of the file's free pages back to the file system. Returns how many pages are left to give.

        Raises:
            StoreError: the database could not be written.
        """
        return await self._database.reclaim_space()

    async def overwrite(self) -> bool:
        """Leave nothing in the database's files of what was erased; see `Database.overwrite`."""
        return await self._database.overwrite()

    async def job(self, tenant_id: int, reader_id: int, job_id: int) -> JobView | None:
        """One job of the tenant, or None. `reader_id` is the user who asks, here and in `jobs` and `suppressions`."""
        work = partial(job_lists.job, tenant_id=tenant_id, job_id=job_id)
        return await self._database.read(work, _turn(tenant_id, reader_id))

    async def jobs(
        self,
        tenant_id: int,
        reader_id: int,
        *,
        assignee_id: int | None,
        status: Status | None,
        before: int | None,
        limit: int,
        told: Offset | None = None,
    ) -> JobPage:
        """The `limit` newest jobs with an id below `before`, of one assignee or all, in one state or all."""
        work = partial(
            job_lists.page,
            tenant_id=tenant_id,
            assignee_id=assignee_id,
            status=status,
            before=before,
            limit=limit,
            told=told,
        )
        return await self._read(work, _turn(tenant_id, reader_id), lambda page: page.follows)

    async def thread(
        self, tenant_id: int, reader_id: int, job_id: int, *, before: int | None, limit: int, told: Offset | None = None
    ) -> Thread:
        """The `limit` newest comments on a job with an id below `before`."""
        work = partial(threads.page, tenant_id=tenant_id, job_id=job_id, before=before, limit=limit, told=told)
        return await self._read(work, _turn(tenant_id, reader_id), lambda page: page.follows)

    async def is_muted(self, tenant_id: int, user_id: int, job_id: int) -> bool | None:
        """Whether a user has muted a job; None if the tenant has no such job."""
        work = partial(mutes.is_muted, tenant_id=tenant_id, user_id=user_id, job_id=job_id)
        return await self._database.read(work, _turn(tenant_id, user_id))

    async def suppressions(
        self, tenant_id: int, reader_id: int, user_id: int, *, before: int | None, limit: int
    ) -> SuppressionPage:
        """Why a user was not notified: the `limit` newest suppressions with an id below `before`."""
        work = partial(job_lists.suppressions, tenant_id=tenant_id, user_id=user_id, before=before, limit=limit)
        return await self._database.read(work, _turn(tenant_id, reader_id))

    async def people(self, tenant_id: int, reader_id: int, *, query: str, before: str | None, limit: int) -> PeoplePage:
        """People of the tenant whose name, or a word of it, begins with the query; see `people.page`.

        Raises:
            Refused: `before` is of another list, or too old.
        """
        work = partial(
            people.page, tenant_id=tenant_id, query=query, before=before, limit=limit, now=self._now().timestamp()
        )
        return await self._database.read(work, _turn(tenant_id, reader_id))

    async def names(self, tenant_id: int, user_ids: Collection[int]) -> dict[int, str]:
        """The names of those among these users whom the tenant knows."""
        return await self._database.read(partial(people.names_of, tenant_id=tenant_id, user_ids=user_ids))

    async def fold_names(self, report: Callable[[str], None] = lambda _: None) -> int:
        """Fold the names of a database from before, a slice in each commit, unless that was done.

        Nobody is found by name before this has ended. `report` is told how far it is. Returns the number of slices:
        100,000 people are 200, some 5 s.

        Raises:
            StoreError: the database could not be written; what was folded is folded again next time.
        """
        if await self._database.read(names.are_folded):
            return 0
        slices = 0
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            after = await self._database.write(partial(names.fold_slice, after=after))
            slices += 1
            if after is not None:
                report(f"folding names, so that people are found by them: {slices * names.FOLDED_AT_ONCE} so far")
        return slices

    async def account(self, tenant_id: int, user_id: int) -> Account:
        """What the tenant says of a user beyond the user's token."""
        return await self._database.read(partial(accounts.account, tenant_id=tenant_id, user_id=user_id))

    async def meta(self) -> pages.Meta:
        """What belongs to this database alone, such as the key of its pids."""
        return await self._database.read(pages.meta)

    async def room(self) -> Room:
        """How much room the database takes, and how much is left.

        Raises:
            StoreError: the database could not be read.
        """
        return await self._database.room()

    async def sizes(self) -> tuple[list[Size], str | None]:
        """How large the database was on earlier days, and when the admins were told last of what is left."""
        return await self._database.read(room.record)

    async def copied_at(self) -> float | None:
        """Of what moment the newest checked copy of the database is, as seconds since 1970; None if none is known.

        Raises:
            StoreError: the database could not be read.
        """
        return await self._database.read(partial(copies.newest, noted=self._database.engine.copied))

    async def last_seen(self) -> str | None:
        """The time of the newest event or notification; None if there is none."""
        return await self._database.read(pages.last_seen)

    async def parcel_columns(self) -> Columns:
        """What the tables are like that a tenant is handed over in. It takes some 20 ms of a reader."""
        return await self._database.read(_columns)

    async def unpack(self, columns: Columns, part: Part, tenant_id: int, lines: Sequence[bytes]) -> list[Row]:
        """The rows of a tenant in some lines. A reader judges them, because that takes longer than a turn of the loop.

        Raises:
            ParcelError: one of them is not what an export writes.
        """
        return await self._database.read(
            lambda _: [tuple(columns.record(part, tenant_id, line).values()) for line in lines]
        )

    async def import_plan(self, tenant_id: int) -> str | None:
        """What was announced of a tenant that is being imported; None if it is not."""
        return await self._database.read(partial(importing.plan_of, tenant_id=tenant_id))

    async def has_arrived(self, tenant_id: int, last: Offset) -> bool:
        """Whether a tenant is served whose log once ended with an offset."""
        return await self._database.read(partial(importing.has_arrived, tenant_id=tenant_id, last=last))

    async def stale_import(self) -> int | None:
        """A tenant whose import has stood still for long, or takes too long, if there is one."""
        return await self._database.read(partial(importing.stale, now=self._now()))

    async def judge_arrival(self, arrival: Arrival) -> bool:
        """Judge a slice of what has arrived of a tenant. Returns whether everything is judged, and right.

        Raises:
            ParcelError: it is not what was sent.
        """
        return await self._database.read(arrival.judge_more)

    async def _read(self, work: Work[T], turn: Turn, is_yes: Callable[[T], bool]) -> T:
        """Read with a reader. If the answer is no and reads may lag, read again with the writer."""
        found = await self._database.read(work, turn)
        if is_yes(found) or not self._database.reads_may_lag:
            return found
        return await self._database.write(work)


def _columns(_: Connection) -> Columns:
    blueprint = schema.blueprint()
    try:
        return Columns(blueprint)
    finally:
        blueprint.close()


def _turn(tenant_id: int, user_id: int, *, requested: bool = True) -> Turn:
    """Whose turn a read is: a user's, or that of the user's actor."""
    return tenant_id, user_id if requested else -user_id


def _item(row: StoredNotification) -> InboxItem:
    return InboxItem(
        id=row.id,
        type=row.type,
        priority=row.priority,
        title=row.title,
        message=row.message,
        data=NULL if row.data is None else msgspec.Raw(row.data.encode()),
        created_at=row.created_at,
        is_read=row.is_read,
        read_at=row.read_at,
        replaces=msgspec.UNSET if row.replaces is None else row.replaces,
        snoozed_until=msgspec.UNSET if row.snoozed_until is None else row.snoozed_until,
    )
