"""Brings a tenant in beside those that are served: all SQL of that.

Rules:
  * The tenant must not be here before. Its row comes first and says `importing`; then its other rows come, parents
    before children, in bounded commits; the last commit takes the mark away. So nobody sees a half of a tenant, and no
    commit is a long one.
  * While a tenant is marked, every command about it is refused, and every read of it (`log.reach`, `accounts.account`).
    Whoever was connected in it, before it was here, is disconnected by the first commit.
  * What is done for all tenants leaves a marked one alone: the clock's statements pass over it, and expiry and purging
    wait, because they would take rows away that are still to be judged. So an import that stands still for an hour, or
    takes more than a day, is removed.
  * Rows are not believed to be the tenant's, because a token of one tenant may bring them. What points at nothing, or
    at what is another tenant's, is refused.
  * Ids are of the whole installation. The first commit has those be given out behind the highest one that will come,
    so that nobody else gets one of them meanwhile. An id that is somebody else's already is refused.
  * What is removed goes children first, and the engine does not look for what points at it: events have no index by
    tenant, so SQLite would look through those of all tenants when the tenant's own row goes.
  * What has arrived is read back and held to the manifest before it is served: by its checksums, as the one who sent it
    has counted them, and by the marks of its log.
  * A slice that was sent before is passed over, so that whoever got no answer sends it again.
  * Before several nodes begin, each must know what a marked tenant is: see `BeginImport.version`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.importing import (
    ABANDONED_AFTER,
    LONGEST,
    AbandonImport,
    BeginImport,
    FinishImport,
    Imported,
    ImportRows,
)
from djactors.domain.marks import Offset
from djactors.domain.times import utc_text
from djactors.inbox import following, log, moving, tenancy, walks
from djactors.inbox.names import INSERT_NAME, rows_of
from djactors.inbox.retention import UPSERT_PURGED
from djactors.inbox.tenancy import IDS_OF_ALL
from djactors.inbox.unit import UnitOfWork
from djactors.store.connection import Connection

MIGRATION = "0010_imports.compatible.sql"
"""What makes the table of imports."""

ROWS_OF_A_SLICE = 250
"""Rows in one commit: some 5 ms of the writer."""

PAUSE_BETWEEN_IDS = 100_000
"""Ids that are left out where sequences give them out. Another node may be given some between the look at a sequence
and the moment at which it is set, and must not be given these again."""

# By the primary keys.
SELECT_PLAN = "SELECT plan FROM imports WHERE tenant_id = ?"
SELECT_IMPORT = "SELECT plan, arrived, touched_at, begun_at FROM imports WHERE tenant_id = ?"
SELECT_IMPORTS = "SELECT tenant_id FROM imports ORDER BY tenant_id"
SELECT_STALE = "SELECT tenant_id FROM imports WHERE touched_at <= ? OR begun_at <= ? ORDER BY tenant_id LIMIT 1"
SELECT_OTHER_VERSIONS = "SELECT name, version FROM nodes WHERE seen_at > ? AND version <> ? ORDER BY name LIMIT 1"
INSERT_IMPORT = "INSERT INTO imports (tenant_id, plan, arrived, begun_at, touched_at) VALUES (?, ?, ?, ?, ?)"
UPDATE_IMPORT = "UPDATE imports SET arrived = ?, touched_at = ? WHERE tenant_id = ?"
UPDATE_ABANDONED = "UPDATE imports SET plan = '', arrived = ? WHERE tenant_id = ?"
DELETE_IMPORT = "DELETE FROM imports WHERE tenant_id = ?"
UPDATE_TENANT = "UPDATE tenants SET importing = false WHERE id = ?"
DELETE_TENANT = "DELETE FROM tenants WHERE id = ?"
SELECT_NAMES_VERSION = "SELECT names_version FROM tenants WHERE id = ?"
RESET_WALKS = "UPDATE expiry_walks SET next_id = first_id"

SELECT_WHOSE = "SELECT tenant_id FROM {} WHERE id = ?"

# The other tables point at their parents by the tenant and the id together, as their foreign keys say.
_PARENTS = {
    "comment_mentions": ("comment_id", "job_comments"),
    "notification_spells": ("notification_id", "notifications"),
}

# domain_events has no index by tenant: its rows are found by walking along the ids.
SELECT_EVENTS = "SELECT id, tenant_id FROM domain_events WHERE id > ? ORDER BY id LIMIT ?"
DELETE_EVENT = "DELETE FROM domain_events WHERE id = ?"

# Children first. Each is served by an index that begins with the tenant; spells and mentions are found by the parents.
_REMOVED = (
    ("suppressions", ("id",)),
    ("user_days", ("tenant_id", "user_id", "day")),
    ("notifications", ("id",)),
    ("changes", ("tenant_id", "seq")),
    ("job_comments", ("id",)),
    ("job_mutes", ("tenant_id", "job_id", "user_id")),
    ("job_watchers", ("tenant_id", "job_id", "user_id")),
    ("job_numbers", ("tenant_id", "year")),
    ("jobs", ("tenant_id", "id")),
    ("people_names", ("tenant_id", "part", "text", "user_id", "since")),
    ("users", ("tenant_id", "id")),
)

_CHILDREN = {
    "notifications": "DELETE FROM notification_spells WHERE notification_id = ?",
    "job_comments": "DELETE FROM comment_mentions WHERE comment_id = ?",
}


def plan_of(connection: Connection, tenant_id: int) -> str | None:
    """What was announced of a tenant that is being imported; None if it is not."""
    row = connection.execute(SELECT_PLAN, (tenant_id,)).fetchone()
    return None if row is None else row[0]


def has_arrived(connection: Connection, tenant_id: int, last: Offset) -> bool:
    """Whether a tenant is served whose log once ended with an offset."""
    if plan_of(connection, tenant_id) is not None or not tenancy.knows(connection, tenant_id):
        return False
    return log.holds(connection, tenant_id, last, log.reach(connection, tenant_id))


def under_way(connection: Connection) -> frozenset[int]:
    """The tenants that are being imported."""
    return frozenset(tenant_id for (tenant_id,) in connection.execute(SELECT_IMPORTS).fetchall())


def under_way_if_known(connection: Connection, behind: Collection[str]) -> frozenset[int]:
    """The same of a database that may be of an older version: `behind` are the migrations that it lacks."""
    return frozenset() if MIGRATION in behind else under_way(connection)


def begin(unit: UnitOfWork, command: BeginImport) -> Imported:
    """Put the tenant's own row down, and keep the ids free that will come.

    Raises:
        Refused: `conflict`; the tenant is here, or is being imported from another folder, or a node is too old.
    """
    connection, tenant_id = unit.connection, command.tenant_id
    unit.flush()
    found = connection.execute(SELECT_IMPORT, (tenant_id,)).fetchone()
    if found is not None:
        if found[0] != command.plan:
            raise Refused(
                Code.CONFLICT,
                f"tenant {tenant_id} is being imported from another folder: go on with that one, or abandon it",
            )
        return Imported(found[1])
    if tenancy.knows(connection, tenant_id):  # the batch may just have made it
        raise Refused(Code.CONFLICT, f"tenant {tenant_id} is here already: a tenant is imported where it is not yet")
    if connection.is_shared:
        lately = utc_text(unit.moment - moving.SEEN_WITHIN)
        other = connection.execute(SELECT_OTHER_VERSIONS, (lately, command.version)).fetchone()
        if other is not None:
            raise Refused(
                Code.CONFLICT, f"node {other[0]} is of version {other[1]}: upgrade all nodes, and import then"
            )
    _keep_free(unit, command)
    _insert(connection, "tenants", (*command.columns, "importing"), [(*command.row, True)])
    connection.insert(INSERT_IMPORT, [(tenant_id, command.plan, 1, unit.now, unit.now)])
    unit.began_import(tenant_id)
    unit.ended.add(tenant_id)
    unit.writes += 1
    return Imported(1)


def _keep_free(unit: UnitOfWork, command: BeginImport) -> None:
    connection = unit.connection
    given = moving.numbers_given(connection)
    behind = {kind: number for kind, number in command.highest.items() if number > given[kind]}
    if connection.is_shared:
        moving.go_on_behind(connection, {kind: number + PAUSE_BETWEEN_IDS for kind, number in behind.items()})
    else:
        connection.executemany(UPSERT_PURGED, list(behind.items()))
    unit.forget_ids()


def take_in(unit: UnitOfWork, command: ImportRows) -> Imported:
    """Put rows down behind those that are here.

    Raises:
        Refused: `not_found`, the import was not begun, or was abandoned; `conflict`, rows are missing before these, or
            an id is another tenant's; `invalid`, the tables do not take the rows.
    """
    connection, tenant_id = unit.connection, command.tenant_id
    arrived = _arrived(connection, tenant_id, command.plan)
    if command.first < arrived:
        return Imported(arrived)
    if command.first > arrived:
        raise Refused(Code.CONFLICT, f"first: {arrived} rows have arrived: go on with the next one")
    unit.flush()
    if command.table in IDS_OF_ALL:
        place = command.columns.index("id")
        taken = tenancy.first_taken(connection, command.table, [row[place] for row in command.rows])
        if taken is not None:
            raise Refused(
                Code.CONFLICT,
                f"{command.table}: the id {taken} is another tenant's: ids are of the whole installation, and clients "
                "know them, so they stay: import into a new database",
            )
    _require_parents(connection, command)
    # Before the rows: a part of them may have been written when the others are refused.
    unit.writes += 2 * len(command.rows)
    try:
        _insert(connection, command.table, command.columns, command.rows)
        connection.settle()
    except Exception as error:
        if connection.failure_of(error) is not None:
            raise
        [why, *_] = str(error).splitlines()
        raise Refused(
            Code.INVALID, f"{command.table}: a row is here already, or points at one that is not: {why}: export again"
        ) from error
    if command.table == "users":
        _fold_names(connection, command)
    arrived += len(command.rows)
    connection.executemany(UPDATE_IMPORT, [(arrived, unit.now, tenant_id)])
    return Imported(arrived)


def _require_parents(connection: Connection, command: ImportRows) -> None:
    if command.table not in _PARENTS:
        return
    column, parents = _PARENTS[command.table]
    place = command.columns.index(column)
    for id_ in dict.fromkeys([row[place] for row in command.rows]):
        whose = connection.execute(SELECT_WHOSE.format(parents), (id_,)).fetchone()
        if whose is None or whose[0] != command.tenant_id:
            raise Refused(Code.INVALID, f"{command.table}: {column} {id_} is none of the tenant's: export again")


def _fold_names(connection: Connection, command: ImportRows) -> None:
    version = connection.execute(SELECT_NAMES_VERSION, (command.tenant_id,)).fetchone()[0]
    id_, name = command.columns.index("id"), command.columns.index("name")
    for row in command.rows:
        connection.insert(INSERT_NAME, rows_of(command.tenant_id, row[id_], row[name], version))


def finish(unit: UnitOfWork, command: FinishImport) -> Imported:
    """Have the tenant be served.

    Raises:
        Refused: `not_found`, the import was not begun, or was abandoned; `conflict`, more has come since it was judged.
    """
    connection, tenant_id = unit.connection, command.tenant_id
    arrived = _arrived(connection, tenant_id, command.plan)
    if arrived != command.rows:
        raise Refused(Code.CONFLICT, f"{arrived} rows have arrived, and {command.rows} were judged: abandon the import")
    unit.flush()
    connection.executemany(UPDATE_TENANT, [(tenant_id,)])
    connection.executemany(DELETE_IMPORT, [(tenant_id,)])
    if not connection.is_shared:
        # What came in between has expired, or will, where no walk would come by any more.
        connection.executemany(RESET_WALKS, [()])
        known = {walk.first_id for walk in walks.all_walks(connection)}
        room = max(0, walks.MAX_WALKS - len(known))
        begins = [id_ for id_ in dict.fromkeys((1, *command.walks)) if id_ not in known][:room]
        connection.executemany(walks.INSERT_WALK, [(id_, id_) for id_ in begins])
    unit.ended_import(tenant_id)
    unit.ended.add(tenant_id)
    unit.wake_clock(following.next_due(connection))
    unit.writes += 1
    return Imported(arrived, done=True)


def abandon(unit: UnitOfWork, command: AbandonImport) -> Imported:
    """Remove a slice.

    Raises:
        Refused: `not_found`; the tenant is not being imported, or has neither stood still for long nor taken long.
    """
    connection, tenant_id = unit.connection, command.tenant_id
    row = connection.execute(SELECT_IMPORT, (tenant_id,)).fetchone()
    if row is None:
        raise not_found()
    still, long = _limits(unit.moment)
    if command.stale and row[2] > still and row[3] > long:
        raise not_found()
    unit.flush()
    # Whoever asks is not believed where to go on: events that were left out would stay for ever.
    looked, after = _remove_events(connection, command, 0 if row[0] else row[1])
    # Whoever sends it still is refused from now on, and an abandoned one is not gone on with.
    connection.executemany(UPDATE_ABANDONED, [(after, tenant_id)])
    left = command.limit - looked
    for table, key in _REMOVED:
        if left <= 0:
            break
        left -= _remove(connection, table, key, tenant_id, left)
    done = left > 0
    if done:
        connection.executemany(DELETE_IMPORT, [(tenant_id,)])
        connection.executemany(DELETE_TENANT, [(tenant_id,)])
        unit.ended_import(tenant_id)
    unit.forget_tenant(tenant_id)
    unit.writes += command.limit - left + 1
    return Imported(command.limit - left, done=done)


def _remove_events(connection: Connection, command: AbandonImport, after: int) -> tuple[int, int]:
    """How many rows behind an id were looked at, and behind which one to go on."""
    found = connection.execute(SELECT_EVENTS, (after, command.limit)).fetchall()
    gone = [(id_,) for id_, tenant_id in found if tenant_id == command.tenant_id]
    connection.executemany(DELETE_EVENT, gone)
    return len(found), found[-1][0] if found else after


def _remove(connection: Connection, table: str, key: Sequence[str], tenant_id: int, limit: int) -> int:
    found = connection.execute(
        f"SELECT {', '.join(key)} FROM {table} WHERE tenant_id = ? LIMIT ?", (tenant_id, limit)
    ).fetchall()
    if table in _CHILDREN:
        connection.executemany(_CHILDREN[table], found)
    where = " AND ".join(f"{column} = ?" for column in key)
    connection.executemany(f"DELETE FROM {table} WHERE {where}", found)
    return len(found)


def stale(connection: Connection, now: datetime) -> int | None:
    """A tenant whose import has stood still for long, or takes too long; None if there is none."""
    row = connection.execute(SELECT_STALE, _limits(now)).fetchone()
    return None if row is None else row[0]


def _limits(now: datetime) -> tuple[str, str]:
    """Up to when an import was touched that stands still, and begun that takes too long."""
    return utc_text(now - ABANDONED_AFTER), utc_text(now - LONGEST)


def _arrived(connection: Connection, tenant_id: int, plan: str) -> int:
    row = connection.execute(SELECT_IMPORT, (tenant_id,)).fetchone()
    if row is None or row[0] != plan:
        raise Refused(Code.NOT_FOUND, f"no such import of tenant {tenant_id} is under way: begin it anew")
    return int(row[1])


def _insert(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(columns))
    connection.insert(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
