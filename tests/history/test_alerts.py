"""The rule about deadlines, on both kinds of database: a good story, and every way to break it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.history.alerts import judge_alerts

TABLES = (
    "CREATE TABLE jobs (tenant_id BIGINT, id BIGINT, deadline TEXT)",
    "CREATE TABLE domain_events (tenant_id BIGINT, job_id BIGINT, type TEXT)",
    "CREATE TABLE notifications (tenant_id BIGINT, user_id BIGINT, job_id BIGINT, type TEXT)",
)
FIRST = 1001
NOW, DAY_AHEAD = "2026-01-27T10:30:00.000000Z", "2026-01-28T10:30:00.000000Z"
PAST, SOON, LATER = "2026-01-27T10:29:00.000000Z", "2026-01-28T10:29:00.000000Z", "2026-01-29T10:30:00.000000Z"
WARNED, OVERDUE = "sla_alert_24h", "sla_alert_overdue"


def job(id_: int, deadline: str, *alerts: str, told: int = 1) -> list[str]:
    statements = [f"INSERT INTO jobs VALUES (1, {id_}, '{deadline}')"]
    for alert in alerts:
        statements.append(f"INSERT INTO domain_events VALUES (1, {id_}, '{alert}')")
        statements += [f"INSERT INTO notifications VALUES (1, 7, {id_}, '{alert}')"] * told
    return statements


GOOD = [
    *job(1, PAST),
    *job(FIRST, PAST, OVERDUE),
    *job(FIRST + 1, PAST, WARNED, OVERDUE),
    *job(FIRST + 2, SOON, WARNED),
    *job(FIRST + 3, LATER),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[list[str]], Path | str]:
    """Makes a database with these rows, and says where it is."""

    def write(statements: list[str]) -> Path | str:
        if request.param == "sqlite":
            path = tmp_path / "alerts.db"
            with closing(sqlite3.connect(path)) as connection, connection:
                for statement in (*TABLES, *statements):
                    connection.execute(statement)
            return path
        url: str = request.getfixturevalue("postgres_url")
        with psycopg.connect(url) as server:
            for statement in (*TABLES, *statements):
                server.execute(statement.encode())
        return url

    return write


def found(place: Path | str) -> list[str]:
    return [finding.text for finding in judge_alerts(place, FIRST, NOW, must_warn_before=DAY_AHEAD)]


def test_alerts_that_were_sent_once_each_are_fine(written: Callable[[list[str]], Path | str]) -> None:
    assert found(written(GOOD)) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (job(2000, SOON, WARNED, WARNED), "was warned of 2 times"),
        (job(2000, PAST, OVERDUE, OVERDUE), "overdue 2 times"),
        (job(2000, PAST, WARNED), "nobody was told until"),
        (job(2000, SOON), "nobody was warned until"),
        (job(2000, SOON, WARNED, told=2), "was sent 2 times to user 7"),
    ],
)
def test_whatever_is_wrong_is_found(written: Callable[[list[str]], Path | str], wrong: list[str], said: str) -> None:
    assert any(said in text for text in found(written([*GOOD, *wrong])))
