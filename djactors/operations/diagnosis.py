"""What `djactors check` looks at: configuration, secrets, descriptors and database. It only reads, so a running server
is not disturbed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from djactors.config import SettingError, Settings, exposed_secrets, load_rules, weak_secrets
from djactors.domain.room import LOW_BYTES, left, outlook
from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.edge import tls_files
from djactors.edge.keys import exposed_keys, load_keys
from djactors.inbox import copies, nodes, room, schema, tenancy
from djactors.net import descriptor_shortage
from djactors.operations.sizing import amount, memory_of_machine, memory_shortage
from djactors.steady_clock import TOLERANCE
from djactors.store.engines import engine_at, is_url, shown
from djactors.store.errors import MigrationError, StoreBroken
from djactors.store.sqlite.integrity import damage
from djactors.store.sqlite.lock import missing_database

MIN_FREE_BYTES = LOW_BYTES
"""With fewer free bytes than this, the disk counts as nearly full."""

VERDICTS = 5
"""How many of the things that are wrong with a damaged file are shown."""

Finding = tuple[str, str | None]
"""What was looked at, and what is wrong with it, or None if it is well."""


def diagnose(
    settings: Settings,
    file: str | None = None,
    now: Callable[[], datetime] = WALL_CLOCK,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Finding]:
    """Look at everything. What is wrong with it is reported and never raised.

    Args:
        settings: as the server would have them.
        file: the TOML file that they were read from, if any.
        now: the wall clock.
        report: told again and again what takes long.
    """
    yield "configuration", None
    yield "keys", _keys(settings)
    yield "secrets", exposed_secrets(file) or exposed_keys(settings)
    yield _notification_types(settings)
    if settings.tls_cert or settings.tls_key:
        yield "certificate", tls_files.finding(settings, now())
    yield "descriptors", _descriptors(settings)
    yield "memory", memory_shortage(settings.max_connections, memory_of_machine())
    if is_url(settings.database):
        # The driver is an extra, and whoever uses a file does without it.
        from djactors.store.postgresql import diagnosis

        reachable = True
        for finding in diagnosis.diagnose(settings.database):
            yield finding
            reachable = reachable and finding[0] != "database"
        if reachable:
            yield from _contents(settings.database, settings.database_limit, now, report)
        return
    path = Path(settings.database)
    yield "free space", _free_space(path)
    if (missing := missing_database(path)) is not None:
        yield "database", f"{path}: {missing}"
        return
    if not os.path.exists(path):
        yield "database", f"{path} does not exist: `djactors migrate --database {path}` or `serve` creates it"
        return
    if not os.path.isfile(path):
        yield "database", f"{path} is not a file: name another one"
        return
    yield "database rights", None if os.access(path, os.R_OK | os.W_OK) else f"{path} cannot be read and written"
    yield from _contents(str(path), settings.database_limit, now, report)


def _contents(place: str, limit: int, now: Callable[[], datetime], report: Callable[[str], None]) -> Iterator[Finding]:
    """Look at what is in the database."""
    try:
        behind = schema.inspect(place)
    except MigrationError as error:
        # What is not one of our databases has no integrity to check.
        yield "schema version", str(error)
        return
    mend = f"behind by {', '.join(behind)}: run `djactors migrate --database {shown(place)}`"
    yield "schema version", mend if behind else None
    if not is_url(place):
        yield "database integrity", _integrity(Path(place), report)
    elif not behind:
        yield "database integrity", _references(place)
    if not behind:
        yield "times", _times(place, now())
        yield "disk growth", _growth(place, limit, now())
        if is_url(place):
            yield "notification types of the nodes", _types_of_nodes(place, now())
        yield _last_backup(place)


def _keys(settings: Settings) -> str | None:
    try:
        load_keys(settings)
    except SettingError as error:
        return str(error)
    return weak_secrets(settings)


def _notification_types(settings: Settings) -> Finding:
    """Whether the types of notifications are right. Nodes that have the same ones show the same table."""
    try:
        rules = load_rules(settings)
    except SettingError as error:
        return "notification types", str(error)
    return f"notification types (table {rules.digest})", None


def _types_of_nodes(place: str, now: datetime) -> str | None:
    """Whether all nodes at work have the same ones. They may have some from Python, of which this command knows
    nothing."""
    try:
        with engine_at(place).reading() as connection:
            tables = nodes.by_types(nodes.nodes_listed(connection), now)
    except StoreBroken as error:
        return str(error)
    if len(tables) < 2:
        return None
    told = " and ".join(f"{', '.join(names)} (table {table})" for table, names in tables.items())
    return f"they differ between {told}: give all nodes the same notification types, and start them anew"


def _descriptors(settings: Settings) -> str | None:
    # The server raises its limit; this command's own is of no interest.
    shortage = descriptor_shortage(settings.max_connections, raised=True)
    return None if shortage is None else f"{shortage}, or lower DJACTORS_MAX_CONNECTIONS"


def _free_space(path: Path) -> str | None:
    folder = path.absolute().parent
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist: create it"
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"{folder} cannot be looked at: {error.strerror}"
    if free < MIN_FREE_BYTES:
        return f"{free // 2**20} MiB are free beside {path}: at least {MIN_FREE_BYTES // 2**20} MiB are wanted"
    return None


def _growth(place: str, limit: int, now: datetime) -> str | None:
    """Whether the disk or the limit will be used up soon, or nearly is, by the sizes that the server has noted. It is
    what the server warns of."""
    engine = engine_at(place)
    try:
        with engine.reading() as connection:
            there = engine.room(connection)
            sizes, _ = room.record(connection)
    except StoreBroken as error:
        return str(error)
    found = outlook(sizes, there.filled, left(there.taken, there.free, limit), now)
    if found.concern is None or found.free is None:
        return None
    is_limited = found.free != there.free
    if found.growth is None and not is_limited:
        # Too little room on the disk of a file is a finding of its own.
        return None
    grows = found.growth is not None and found.growth > 0
    grew = f"it grew by {amount(found.growth or 0)} a day lately, and " if grows else ""
    of_limit, mend = (
        (" of DJACTORS_DATABASE_LIMIT", "raise it if the disk or the plan allows more")
        if is_limited
        else ("", "have a larger disk")
    )
    return (
        f"{found.concern}: {grew}{amount(found.free)}{of_limit} are left: {mend}, or keep less (DJACTORS_HISTORY_DAYS, "
        "DJACTORS_EVENT_DAYS)"
    )


def _last_backup(place: str) -> Finding:
    """Of what moment the newest copy is. That nobody knows of one is no finding: there are other ways to copy."""
    engine = engine_at(place)
    try:
        with engine.reading() as connection:
            at = copies.newest(connection, engine.copied)
    except StoreBroken as error:
        return "last backup", str(error)
    return f"last backup ({'none is known' if at is None else utc_text(datetime.fromtimestamp(at, UTC))})", None


def _integrity(path: Path, report: Callable[[str], None]) -> str | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            looking = "looking at each page of the database"
            found = damage(connection, "integrity_check", VERDICTS, at_work=lambda: report(looking))
            if found is not None:
                return f"{path} is damaged in {_damaged_tables(connection)} ({found}): restore a backup"
            orphans = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        return f"{path} is damaged ({error}): restore a backup"
    return None if orphans is None else f"{path} has rows of {orphans[0]} that point nowhere: restore a backup"


def _references(place: str) -> str | None:
    """Look for what PostgreSQL is not asked to check with each row."""
    try:
        with engine_at(place).reading() as connection:
            found = tenancy.without_tenant(connection)
    except StoreBroken as error:
        return str(error)
    if found is None:
        return None
    return f"{shown(place)} has rows of {found} without a tenant, which djactors never writes: restore a backup"


def _damaged_tables(connection: sqlite3.Connection) -> str:
    names = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    ]
    found = [name for name in names if damage(connection, "integrity_check", 1, name) is not None]
    return f"the table {', '.join(found)}" if found else "no table, but elsewhere"


STAMPED = (
    ("domain events", "SELECT count(*), max(received_at) FROM domain_events WHERE received_at > ?"),
    ("changes", "SELECT count(*), max(created_at) FROM changes WHERE created_at > ?"),
    ("notifications", "SELECT count(*), max(created_at) FROM notifications WHERE created_at > ?"),
    (
        "notifications that left the inbox as expired",
        "SELECT count(*), max(removed_at) FROM notifications WHERE removed_at > ? AND removed_reason = 'expired'",
    ),
)
"""What is counted with a time in the future. No index serves these queries, but the look at the integrity reads all
rows as well."""


def _times(place: str, now: datetime) -> str | None:
    """Find rows that were written by a wall clock that was ahead of today's."""
    latest = utc_text(now + timedelta(seconds=TOLERANCE))
    try:
        with engine_at(place).reading() as connection:
            found = [(what, *connection.execute(query, (latest,)).fetchone()) for what, query in STAMPED]
    except StoreBroken as error:
        return str(error)
    ahead = [f"{count} {what} (up to {newest})" for what, count, newest in found if count]
    if not ahead:
        return None
    return (
        f"{', '.join(ahead)} have times in the future: the wall clock was ahead when they were written, or it is "
        f"behind now ({utc_text(now)}): see that a time server sets it; what expired too early is still shown by "
        "`djactors inbox --at SEQ`"
    )
