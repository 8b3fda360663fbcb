"""People are found by name: by the beginning of each word, each once, as the list was when it was begun."""

import random
import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from djactors.domain import folding
from djactors.domain.commands import Introduce, Publish
from djactors.domain.errors import Code, Refused
from djactors.domain.events import NotificationRequested, UserUpserted
from djactors.domain.permissions import Person
from djactors.inbox import names, people, schema
from djactors.inbox.inbox import Inbox
from djactors.inbox.names import DELETED_AT_ONCE, FOLDED_AT_ONCE, LIST_LIFE, MAX_ENDED
from djactors.inbox.people import PeoplePage
from djactors.store import migrations
from djactors.store.database import Database
from djactors.store.sqlite import migrate
from djactors.store.sqlite.connection import SqliteConnection
from djactors.store.threads import InlineRunner
from tests.inbox.desk import MORNING, Desk

T, OTHER = 1, 2
NAMES = {
    1: "Anna Maria Ono",
    2: "José Marín",
    3: "Max Andersson",
    4: "สมชาย ใจดี",
    5: "Anna Andersson",
    6: "Фёдор Йод",
}


def call(user_id: int, name: str, tenant_id: int = T) -> UserUpserted:
    return UserUpserted(tenant_id=tenant_id, user_id=user_id, name=name, role="user")


def page(desk: Desk, query: str = "", before: str | None = None, limit: int = 100, tenant_id: int = T) -> PeoplePage:
    return people.page(
        desk.connection, tenant_id=tenant_id, query=query, before=before, limit=limit, now=desk.now.timestamp()
    )


def found(desk: Desk, query: str = "", limit: int = 100, tenant_id: int = T) -> list[int]:
    """The ids of all pages, in order."""
    ids, before = [], None
    while True:
        part = page(desk, query, before, limit, tenant_id)
        ids += [each.id for each in part.items]
        before = part.next_before
        if before is None:
            return ids


@pytest.fixture
def office(desk: Desk) -> Desk:
    for user_id, name in NAMES.items():
        desk.publish(call(user_id, name))
    desk.publish(call(1, "Anna of another tenant", OTHER))
    return desk


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [5, 1, 2, 3, 6, 4]),
        ("anna", [5, 1]),
        ("ANNA M", [1]),
        ("mar", [1, 2]),
        ("Marí", [1, 2]),
        ("jose", [2]),
        ("and", [3, 5]),
        ("an", [3, 5, 1]),
        ("ono", [1]),
        ("nna", []),
        ("anna  maria  ono ", [1]),
        ("anna maria ono x", []),
        ("федор", [6]),
        ("Ио", [6]),
        ("สม", [4]),
        ("ใจ", [4]),
        ("\U0010ffff", []),
        ("%", []),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_people_are_found_by_the_beginning_of_a_word(office: Desk, query: str, ids: list[int], limit: int):
    assert found(office, query, limit) == ids


def test_a_list_is_in_the_order_of_the_names(office: Desk):
    assert [NAMES[user_id] for user_id in found(office)] == [
        "Anna Andersson",
        "Anna Maria Ono",
        "José Marín",
        "Max Andersson",
        "Фёдор Йод",
        "สมชาย ใจดี",
    ]
    # By the text that was found: "andersson" of two people, then "anna maria ono".
    assert found(office, "an") == [3, 5, 1]


def test_everybody_who_is_known_is_found_however_they_became_known(desk: Desk):
    desk.publish(NotificationRequested(tenant_id=T, user_id=7, notification_type="note", priority="LOW", title="x"))
    desk.do(Introduce(T, Person(8, "user", "Mali Introduced")))
    assert found(desk, "user 7") == [7]
    assert found(desk, "intro") == [8]
    assert [each.name for each in page(desk).items] == ["Mali Introduced", "User 7"]


def test_a_name_that_changes_is_found_in_the_same_commit_and_the_old_one_no_longer(office: Desk):
    office.record(Publish(call(1, "Berta Baum")), Publish(call(3, "Max Müller")), Publish(call(1, "Zoë Baum")))
    assert found(office, "zoe") == [1]
    assert found(office, "berta") == found(office, "anna m") == []
    assert found(office, "mull") == [3]


def test_a_refused_or_undone_command_leaves_no_name_behind(office: Desk):
    before = office.rows("SELECT * FROM people_names ORDER BY 1, 2, 3, 4, 5")
    office.connection.execute("BEGIN")
    office.recorder.record(office.connection, [Publish(call(1, "Gone")), Publish(call(99, "Gone"))])
    office.connection.execute("ROLLBACK")
    office.recorder.forget()
    assert office.rows("SELECT * FROM people_names ORDER BY 1, 2, 3, 4, 5") == before
    assert office.one("SELECT names_version FROM tenants WHERE id = ?", T) == 0


def test_a_name_that_stays_writes_no_row(office: Desk):
    before = office.rows("SELECT * FROM people_names")
    office.publish(call(1, NAMES[1]))
    assert office.rows("SELECT * FROM people_names") == before


@pytest.mark.parametrize("query", ["", "a", "b"])
@pytest.mark.parametrize("seed", range(6))
def test_nobody_is_twice_on_a_list_and_nobody_missing_while_names_change(desk: Desk, query: str, seed: int):
    dice = random.Random(seed)

    def any_name() -> str:
        return " ".join(dice.choice("abc") + dice.choice("abc") for _ in range(dice.randint(1, 4)))

    for user_id in range(1, 41):
        desk.publish(call(user_id, any_name()))
    began = set(found(desk, query))
    ids: list[int] = []
    before = None
    while True:
        part = page(desk, query, before, limit=3)
        ids += [each.id for each in part.items]
        before = part.next_before
        if before is None:
            break
        for _ in range(6):
            desk.publish(call(dice.randint(1, 40), any_name()))
        desk.publish(call(dice.randint(41, 60), any_name()))
        desk.now += timedelta(seconds=dice.randint(0, 120))
    assert len(ids) == len(set(ids))
    assert {user_id for user_id in ids if user_id <= 40} >= began - often_renamed(desk)
    # And a list that is begun now shows the names of now.
    stored = desk.rows("SELECT id, name FROM users WHERE tenant_id = ?", T)
    now = {id_ for id_, name in stored if not query or any(word.startswith(query) for word in name.split())}
    assert sorted(found(desk, query, limit=7)) == sorted(now)


def often_renamed(desk: Desk) -> set[int]:
    """Those whose name changed more often than is kept."""
    rows = desk.rows("SELECT user_id FROM people_names WHERE part = 0 GROUP BY user_id HAVING count(*) > ?", MAX_ENDED)
    return {user_id for (user_id,) in rows}


def test_earlier_names_are_deleted_once_no_list_needs_them(desk: Desk):
    for number in range(20):
        desk.publish(call(1, f"Anna {number}"))
    assert desk.one("SELECT count(*) FROM people_names WHERE part = 0") == MAX_ENDED + 1
    for user_id in range(2, 40):
        desk.publish(call(user_id, "Ben One"))
        desk.publish(call(user_id, "Ben Two"))
    desk.now += LIST_LIFE + timedelta(seconds=1)
    rows = desk.one("SELECT count(*) FROM people_names WHERE ended_at IS NOT NULL")
    while rows:
        desk.publish(call(2, f"Ben {rows}"))
        left = desk.one("SELECT count(*) FROM people_names WHERE ended_at < ?", "2026-01-27T11:00")
        assert left <= max(0, rows - DELETED_AT_ONCE // 2)
        rows = left
    assert sorted(found(desk, "ben")) == list(range(2, 40))


HALF = urlsafe_b64encode(b'[1, 0, "1", "b", "b\\ud800", 0]').decode()
BAD = [HALF, "x", "e30", "WzEsMiwzXQ", "ą", "=" * 5, "bnVsbA"]


@pytest.mark.parametrize("before", BAD)
def test_a_place_that_is_none_is_refused(office: Desk, before: str):
    with pytest.raises(Refused, match="before: is not the nextBefore") as refused:
        page(office, before=before)
    assert refused.value.code is Code.INVALID


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("text", "b\0", "another query"),
        ("text", "b" * 65, "another query"),
        ("text", "a", "another query"),
        ("user_id", -1, "another query"),
        ("version", 2**63, "another query"),
        ("wanted", "c", "another query"),
        ("rules", "0 1.1", "too long ago"),
        ("begun", 1, "too long ago"),
        ("begun", 2**52, "too long ago"),
    ],
)
def test_a_forged_place_is_refused(desk: Desk, field: str, value: object, reason: str):
    place = people.Place(int(desk.now.timestamp()), 0, folding.RULES, "b", "b", 0)
    before = people._before(msgspec.structs.replace(place, **{field: value}))
    with pytest.raises(Refused, match=reason):
        page(desk, "b", before)


def test_a_list_cannot_be_read_on_for_ever(office: Desk):
    before = page(office, limit=2).next_before
    office.now += LIST_LIFE
    assert page(office, before=before).items
    office.now += timedelta(seconds=2)
    with pytest.raises(Refused, match="before: its list was begun too long ago"):
        page(office, before=before)


async def test_a_database_from_before_is_folded_in_slices(tmp_path: Path):
    path = tmp_path / "inbox.db"
    earlier = [each for each in migrations.read_migrations(schema.migrations_directory()) if each.number <= 3]
    migrate.apply(path, migrations.Schema(earlier, lambda c: c.execute("INSERT INTO meta VALUES (1, 'k', '')")))
    count = 2 * FOLDED_AT_ONCE + 1
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (?, 'T', '', '')", [(T,), (OTHER,)]
        )
        connection.executemany(
            "INSERT INTO users (tenant_id, id, name, created_at, updated_at) VALUES (?, ?, ?, '', '')",
            [(OTHER if n % 2 else T, n, f"Élodie {n}") for n in range(count)],
        )
    assert schema.apply(path)[0] == "0004_people.sql"
    async with await Database.open(path, threads=InlineRunner) as database:
        store = Inbox(database, lambda: MORNING)
        assert await store.fold_names() == 4
        assert await store.fold_names() == 0
        assert [each.id for each in (await store.people(T, 1, query="elodie 1000", before=None, limit=5)).items] == [
            1000
        ]
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT part, count(*) FROM people_names GROUP BY part").fetchall()
        assert rows == [(0, count), (1, 2 * count)]
        # Names that were folded by other rules are folded again, and none is there twice.
        connection.execute("UPDATE meta SET names_folded = '0 1.1'")
        connection.execute("UPDATE people_names SET text = upper(text)")
        connection.commit()
    async with await Database.open(path, threads=InlineRunner) as database:
        assert await Inbox(database, lambda: MORNING).fold_names() == 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT part, count(*) FROM people_names GROUP BY part").fetchall() == rows
        assert connection.execute("SELECT count(*) FROM people_names WHERE text GLOB 'e*'").fetchone() == (2 * count,)


# Plans

PEOPLE = 100_000
PARAMETERS = ("tenant", "part", "text", "id", "above", "version", "wanted", "limit")
RANGE = "n USING PRIMARY KEY (tenant_id=? AND part=? AND (text,user_id)>(?,?)"
PERSON = "u USING PRIMARY KEY (tenant_id=? AND id=?)"
ONCE = "o USING INDEX idx_people_names_user (tenant_id=? AND user_id=? AND text>? AND text<?)"
STEPS = {
    "people": [f"SEARCH {RANGE})", f"SEARCH {PERSON}"],
    "people_found": [
        f"SEARCH {RANGE} AND text<?)",
        "CORRELATED SCALAR SUBQUERY 1",
        f"SEARCH {ONCE}",
        f"SEARCH {PERSON}",
    ],
    "people_last": [f"SEARCH {RANGE})", "CORRELATED SCALAR SUBQUERY 1", f"SEARCH {ONCE}", f"SEARCH {PERSON}"],
}


def plans_of(connection: sqlite3.Connection) -> Mapping[str, list[str]]:
    values = dict.fromkeys(PARAMETERS)
    return {
        name: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        for name, sql in people.HOT_QUERIES.items()
    }


@pytest.fixture(scope="module")
def crowd(migrated: Path) -> Iterator[sqlite3.Connection]:
    """100,000 people, nearly all in one tenant, many of whose names have two words that begin alike."""
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)) as connection:
        with closing(sqlite3.connect(migrated)) as source:
            source.backup(connection)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (?, 'T', '', '')", [(T,), (OTHER,)]
        )
        dice = random.Random(1)
        connection.executemany(
            "INSERT INTO users (tenant_id, id, name, created_at, updated_at) VALUES (?, ?, ?, '', '')",
            [
                (T if n % 100 else OTHER, n, f"Mar{dice.choice('abcd')} Marquez {dice.randrange(10**6)} Mara")
                for n in range(1, PEOPLE + 1)
            ],
        )
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            after = names.fold_slice(connection, after)
        connection.execute("COMMIT")
        yield connection


def test_every_query_uses_its_index_at_100_000_people(migrated: Path, crowd: sqlite3.Connection):
    with closing(sqlite3.connect(migrated)) as connection:
        assert plans_of(connection) == STEPS
    assert plans_of(crowd) == STEPS
    crowd.execute("ANALYZE")
    assert plans_of(crowd) == STEPS
    crowd.execute("DROP TABLE sqlite_stat1")


@pytest.mark.parametrize("query", ["", "m", "mar", "marquez", "mara marquez 1", "1", "zzz"])
def test_a_page_looks_at_few_rows_however_many_people_there_are(crowd: sqlite3.Connection, query: str):
    """Counted in steps of SQLite's machine, which do not depend on how fast this one is."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    before = None
    for _ in range(3):
        steps = 0
        crowd.set_progress_handler(count, 100)
        part = people.page(crowd, tenant_id=T, query=query, before=before, limit=100, now=0)
        crowd.set_progress_handler(None, 0)
        assert steps * 100 < 60_000
        before = part.next_before
        if before is None:
            break


@pytest.mark.parametrize("name", people.HOT_QUERIES)
def test_the_queries_run_on_postgres_in_the_order_of_bytes(postgres: psycopg.Connection, name: str):
    sql = people.HOT_QUERIES[name]
    for parameter in PARAMETERS:
        sql = sql.replace(f":{parameter}", f"%({parameter})s")
    rows = [*names.rows_of(T, 1, "Zoe a", 0), *names.rows_of(T, 2, "a Ωmega", 0), *names.rows_of(T, 3, "a_b", 0)]
    postgres.execute("INSERT INTO tenants (id, name, created_at, updated_at) VALUES (1, 'T', '', '')")
    for user_id in (1, 2, 3):
        postgres.execute(
            "INSERT INTO users (tenant_id, id, name, created_at, updated_at) VALUES (1, %s, 'x', '', '')", [user_id]
        )
    with postgres.cursor() as cursor:
        cursor.executemany(names.INSERT_NAME.replace("?", "%s").encode(), rows)
    part = names.WHOLE if name == "people" else names.WORDS
    values = {"tenant": T, "part": part, "text": "", "id": 0, "above": "b", "version": 0, "wanted": "a", "limit": 10}
    shown = postgres.execute(sql.encode(), values).fetchall()
    texts = [row[0] for row in shown]
    assert texts == sorted(texts)
    assert [row[1] for row in shown][:3] == ([2, 3, 1] if name == "people" else [1, 2, 3])
