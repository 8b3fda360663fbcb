"""A whole installation is carried to another database and back, and nothing of it is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from djactors.domain.commands import Publish
from djactors.domain.events import NotificationRequested
from djactors.inbox import walks
from djactors.inbox.moving import LEFT_BEHIND
from djactors.operations.moving import Step, move
from tests.engines import open_connection
from tests.inbox.desk import Desk
from tests.moving.conftest import fill, query, rows_of, text_of


def no_report(_: Step) -> None:
    """Nobody looks."""


def note(title: str = "Hello") -> Publish:
    return Publish(
        NotificationRequested(tenant_id=1, user_id=1, notification_type="note", priority="CRITICAL", title=title)
    )


def test_every_table_has_rows_to_carry(house: Path) -> None:
    assert {name for name, rows in rows_of(house).items() if not rows} == LEFT_BEHIND | {"imports"}


def test_there_and_back_the_file_is_the_same(house: Path, url: str, tmp_path: Path) -> None:
    steps: list[Step] = []
    there = move(house, url, steps.append)
    assert there.rows == sum(len(rows) for rows in rows_of(house).values())
    assert there.tables == len(rows_of(house)) - len(LEFT_BEHIND)
    assert [step.doing for step in steps] == sorted(step.doing for step in steps)
    assert {str(step).rpartition(" ")[0].rpartition("(")[2] for step in steps} >= {"0", "100"}
    assert {step.total for step in steps} == {there.rows}
    back = tmp_path / "back.db"
    move(url, back, no_report)
    assert text_of(back) == text_of(house)
    assert back.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.db", "back.db.lock", "house.db", "house.db.lock"]


def test_from_one_to_another_of_the_same_engine(house: Path, urls: Callable[[], str], tmp_path: Path) -> None:
    move(house, tmp_path / "other.db", no_report)
    assert text_of(tmp_path / "other.db") == text_of(house)
    one, other = urls(), urls()
    move(house, one, no_report)
    move(one, other, no_report)
    assert rows_of(one) == rows_of(other)


def test_nothing_is_carried_that_was_not_there(tmp_path: Path, url: str, path: Path) -> None:
    moved = move(path, url, no_report)
    assert moved.rows == len(rows_of(path)["schema_migrations"]) + 2
    move(url, tmp_path / "back.db", no_report)
    assert text_of(tmp_path / "back.db") == text_of(path)


def test_ids_go_on_behind_the_highest_that_was_ever_given(house: Path, url: str, tmp_path: Path) -> None:
    with open_connection(house) as connection:
        connection.execute("DELETE FROM suppressions")
        connection.execute("INSERT INTO counters VALUES ('suppressions', 7000) ON CONFLICT DO UPDATE SET value = 7000")
        [(highest,)] = connection.execute("SELECT max(id) FROM notifications")
    move(house, url, no_report)
    assert query(url, "SELECT nextval('notifications_ids'), nextval('suppressions_ids')") == [(highest + 1, 7001)]
    query(url, "SELECT setval('job_comments_ids', 9000)")
    back = tmp_path / "back.db"
    move(url, back, no_report)
    with open_connection(back) as connection:
        counters = dict(connection.execute("SELECT name, value FROM counters").fetchall())
    assert (counters["notifications"], counters["suppressions"], counters["job_comments"]) == (highest + 1, 7001, 9000)


def test_both_sides_go_on_with_the_same_log_and_keys(house: Path, url: str) -> None:
    move(house, url, no_report)
    for place in (house, url):
        with open_connection(place) as connection:
            desk = Desk(connection)
            desk.now = datetime(2027, 1, 1, tzinfo=UTC)
            before = desk.one("SELECT max(seq) FROM changes WHERE tenant_id = 1")
            [(key, answer, fingerprint)] = desk.rows(
                "SELECT idempotency_key, answer, fingerprint FROM domain_events WHERE idempotency_key IS NOT NULL "
                "ORDER BY id DESC LIMIT 1"
            )
            assert key
            assert answer
            assert fingerprint
            desk.do(note())
            assert desk.one("SELECT max(seq) FROM changes WHERE tenant_id = 1") == before + 1
    marks = [
        open_and_ask(place, "SELECT seq, mark FROM changes WHERE tenant_id = 1 ORDER BY seq DESC LIMIT 1")
        for place in (house, url)
    ]
    # The mark is over all that clients saw of the past; the payload of the new change has the same id on both.
    assert marks[0] == marks[1]


def open_and_ask(place: str | Path, statement: str) -> object:
    with open_connection(place) as connection:
        return connection.execute(statement).fetchone()


@pytest.mark.parametrize("seed", range(2, 4))
def test_what_was_written_on_postgresql_is_carried_to_a_file(url: str, tmp_path: Path, path: Path, seed: int) -> None:
    move(path, url, no_report)
    with open_connection(url) as connection:
        fill(Desk(connection), seed, 60)
    back = tmp_path / "back.db"
    move(url, back, no_report)
    there, here = rows_of(url), rows_of(back)
    for name in there:
        if name not in ("counters", "expiry_walks"):
            assert repr(here[name]) == repr(there[name]).replace("False", "0").replace("True", "1"), name


def test_where_ids_do_not_rise_with_time_a_walk_begins(url: str, tmp_path: Path, path: Path) -> None:
    move(path, url, no_report)
    with open_connection(url) as connection:
        desk = Desk(connection)
        for hours in (0, 48, 24, 25, 23, 72):
            desk.now = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=hours)
            desk.do(note())
        ids = [id_ for (id_,) in desk.rows("SELECT id FROM notifications ORDER BY id")]
    back = tmp_path / "back.db"
    move(url, back, no_report)
    with open_connection(back) as connection:
        found = walks.all_walks(connection)
    assert [walk.first_id for walk in found] == [1, ids[2], ids[4]]
    assert [walk.next_id for walk in found] == [1, ids[2], ids[4]]
