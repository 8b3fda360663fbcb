"""Whether an event costs more where there is more: more connected users, more stored notifications.
What a page of the inbox costs there, and one of the people who are found by name.

Each axis has two servers, a small and a large one, which take turns; only the ratio is the point. The large inbox is
made with bulk SQL before the server starts: notifications of many users, each with its change and its domain event,
most of them read. What a row of a long life has beside that (days, reads, deletions in the log) it lacks.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import fmean

import click

from bench.driver import Driver, load_on
from bench.load.commands import Answered, Ask, Connect, Connected, Done, Flood, Know, Phase
from bench.load.crowd import TENANT
from bench.plot import bar_plot
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_server
from djactors.inbox import schema
from djactors.store.sqlite.connection import SqliteConnection

PRODUCERS = 64
AT_ONCE = 64
OWNERS = 10_000
"""Users among whom the stored notifications are shared out."""

LISTENERS = 100
"""Connected users on the axis of rows."""

READ = 9
"""Of ten notifications, so many have been read."""

PAGES = {
    "inbox page": "/api/notifications?limit=20",
    "search without a match": "/api/notifications?query=nowhere",
    "count": "/api/notifications/unread-count",
    "people, all": "/api/people?limit=20",
    "people, one word": "/api/people?query=mar&limit=20",
    "people, nearly a name": "/api/people?query=marta%20mann&limit=20",
    "people, none": "/api/people?query=xyz&limit=20",
}

GIVEN_NAMES = ("Anna", "José", "Marta", "Mary", "Нина", "Фёдор", "Somchai", "สมชาย", "Ömer", "Zoë")
SURNAMES = ("Marquez", "Müller", "Mannheim", "Smith", "Jaidee", "Иванова", "Okafor", "Nguyễn", "Andersson")
"""Of what the names of people are made: with ten and nine, every word is that of thousands."""

_NOW = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', :age)"
_SERIES = "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :rows)"
FILL = (
    f"INSERT INTO tenants (id, name, created_at, updated_at) VALUES (:tenant, 'Bench', {_NOW}, {_NOW})",
    f"""WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :owners)
    INSERT INTO users (id, tenant_id, name, unread_count, created_at, updated_at)
    SELECT n, :tenant, 'User ' || n, 0, {_NOW}, {_NOW} FROM series""",
    f"""{_SERIES} INSERT INTO notifications (id, tenant_id, user_id, event_id, type, priority, title, message, data,
    is_read, read_at, created_at, expires_at, seq, mark)
    SELECT n, :tenant, 1 + n % :owners, n, 'bench', 'HIGH', 'Notice ' || n || ' for you',
    'The quick brown fox jumps over the lazy dog', '{{"n":' || n || '}}', n / :owners % 10 < :read,
    CASE WHEN n / :owners % 10 < :read THEN {_NOW} END, {_NOW},
    strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', :age, '+30 days'), n, n FROM series""",
    f"""{_SERIES} INSERT INTO changes (tenant_id, seq, user_id, kind, notification_id, mark, created_at)
    SELECT :tenant, n, 1 + n % :owners, 'new', n, n, {_NOW} FROM series""",
    f"""{_SERIES} INSERT INTO domain_events (id, tenant_id, type, actor_id, seq, occurred_at, received_at)
    SELECT n, :tenant, 'notification.requested', 1, n, {_NOW}, {_NOW} FROM series""",
    """UPDATE users SET unread_count = (SELECT count(*) FROM notifications WHERE tenant_id = :tenant
    AND user_id = users.id AND is_read = false AND removed_seq IS NULL)""",
)
BIG_TABLES = ("notifications", "changes", "domain_events")


def people(count: int) -> Iterator[tuple[int, int, str, str, str]]:
    """Rows of people beside the owners, with three words each; the last is a number, so that no two are alike."""
    for n in range(OWNERS + 1, count + 1):
        name = f"{GIVEN_NAMES[n % len(GIVEN_NAMES)]} {SURNAMES[n % len(SURNAMES)]} {n}"
        yield TENANT, n, name, "2026-01-27T10:30:00.000000Z", "2026-01-27T10:30:00.000000Z"


def fill(path: Path, rows: int, known: int = 0, *, days_old: int = 0) -> None:
    """Make a migrated database with so many stored notifications, and so many people who are known. The server folds
    their names when it starts. A notification expires when it is thirty days old.

    Indexes are made after the rows, which is many times as fast as keeping them up.
    """
    schema.apply(path)
    values = {"rows": rows, "tenant": TENANT, "owners": OWNERS, "read": READ, "age": f"-{days_old} days"}
    with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
        # Nothing is lost that could not be made again.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        marks = ", ".join("?" * len(BIG_TABLES))
        query = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL AND tbl_name IN ({marks})"
        indexes = connection.execute(query, BIG_TABLES).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        *inserts, count = FILL
        for statement in inserts:
            connection.execute(statement, values)
        for _, sql in indexes:
            connection.execute(sql)
        connection.execute(count, values)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO users (tenant_id, id, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?)", people(known)
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


@click.command()
@click.option("--users", type=(int, int), default=(100, 10_000), help="Connected users, few and many.")
@click.option("--rows", type=(int, int), default=(10_000, 5_000_000), help="Stored notifications, few and many.")
@click.option("--people", "known", type=(int, int), default=(10_000, 100_000), help="Known people, few and many.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Turns of each server.")
@click.option("--seconds", type=click.FloatRange(0.05), default=2.0, help="Of a turn.")
@click.option("--requests", type=click.IntRange(1), default=300, help="Of each kind of page, in a turn.")
@out_option
def scale(
    users: tuple[int, int],
    rows: tuple[int, int],
    known: tuple[int, int],
    rounds: int,
    seconds: float,
    requests: int,
    out: Path,
) -> None:
    """Cost of an event by connected users and by stored notifications, and of a page of the inbox and of people.

    Making five million rows takes a minute or two and four GB in --out for as long as it runs; with fewer it says less.
    """
    settings = dict(click.get_current_context().params)
    single = Flood(event="notification.requested", producers=PRODUCERS, batch=1, seconds=seconds)
    with workplace(out, "scale") as directory:
        report = Report("scale", directory, settings)
        by_users = _users(report, directory, users, rounds, single)
        by_rows, pages = _rows(report, directory, rows, known, rounds, single, requests)
    table, bars = [], {}
    for key, found in (("users_ratio", by_users), ("rows_ratio", by_rows)):
        costs = {label: [cpu_us(phase) for phase in phases] for label, phases in found.items()}
        few, many = costs.values()
        report.figures[key] = fmean(many) / fmean(few)
        for label, cpu in costs.items():
            rates = [phase.posted / phase.use.seconds for phase in found[label]]
            table.append([label, fmean(cpu), f"{min(cpu):.0f} … {max(cpu):.0f}", fmean(rates)])
            bars[label] = {"CPU µs an event": fmean(cpu)}
            report.figures[label] = [report.phase(label, phase) for phase in found[label]]
        table.append(["  ratio", report.figures[key], None, None])
    report.table(["", "CPU µs/event", "rounds", "events/s"], table)
    report.table(
        ["", "CPU µs/request", "mean ms"],
        [
            [
                label,
                fmean(each.use.total * 1e6 / len(each.seconds) for each in answers),
                fmean(fmean(each.seconds) for each in answers) * 1e3,
            ]
            for label, answers in pages.items()
        ],
    )
    report.figures["pages"] = {
        label: fmean(each.use.total * 1e6 / len(each.seconds) for each in answers) for label, answers in pages.items()
    }
    report.finish(out, bar_plot("CPU for each durable, delivered event", report.foot, bars, "µs"))


def _users(
    report: Report, directory: Path, counts: tuple[int, int], rounds: int, flood: Flood
) -> dict[str, list[Phase]]:
    """The axis of connected users."""
    with ExitStack() as stack:
        drivers: dict[str, Driver] = {}
        for count in counts:
            target = stack.enter_context(djactors_server(directory / f"users-{count}"))
            driver = drivers[f"{count:,} users"] = stack.enter_context(load_on(target))
            driver.ask(Know(count), Done)
            report.check(f"connecting {count}", driver.ask(Connect(1, count, AT_ONCE), Connected).failures)
        return _turns(drivers, rounds, flood)


def _rows(
    report: Report,
    directory: Path,
    counts: tuple[int, int],
    known: tuple[int, int],
    rounds: int,
    flood: Flood,
    requests: int,
) -> tuple[dict[str, list[Phase]], dict[str, list[Answered]]]:
    """The axis of stored notifications."""
    pages: dict[str, list[Answered]] = {}
    with ExitStack() as stack:
        drivers: dict[str, Driver] = {}
        for count, known_here in zip(counts, known, strict=True):
            place = directory / f"rows-{count}"
            place.mkdir()
            began = time.monotonic()
            fill(place / "full.db", count, known_here)
            size = (place / "full.db").stat().st_size / 2**20
            click.echo(f"{count:,} notifications: {size:.0f} MiB, made in {time.monotonic() - began:.0f} s")
            target = stack.enter_context(djactors_server(place, database=place / "full.db"))
            driver = drivers[f"{count:,} rows"] = stack.enter_context(load_on(target))
            connected = driver.ask(Connect(1, min(LISTENERS, OWNERS), AT_ONCE), Connected)
            report.check(f"connecting at {count} rows", connected.failures)
        click.echo()
        phases = _turns(drivers, rounds, flood)
        for turn in range(rounds):
            for label, driver in drivers.items():
                for page, path in PAGES.items():
                    ask = Ask(path, 1 + turn, requests)
                    pages.setdefault(f"{page}, {label}", []).append(driver.ask(ask, Answered))
    return phases, pages


def _turns(drivers: dict[str, Driver], rounds: int, flood: Flood) -> dict[str, list[Phase]]:
    """A B A B …; the first turn of each warms up."""
    found: dict[str, list[Phase]] = {label: [] for label in drivers}
    for turn in range(-1, rounds):
        for label, driver in drivers.items():
            phase = driver.ask(flood, Phase)
            if turn >= 0:
                found[label].append(phase)
    return found
