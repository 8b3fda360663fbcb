"""Rows 1 and 2: a server is killed behind any of its writes, or the power fails at any moment of its life, and what
was not synced is dropped or torn."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
import trio

from tests.faults import power
from tests.faults.backend import ENVIRONMENT, TENANT, Backend
from tests.history import History, Ledger, judge
from tests.history.records import Answered, Sent
from tests.serving import SERVE, serving

PATIENCE = 30
POSTS = 16
LOSSES = 120
"""Moments at which the power fails."""

STEPS_BETWEEN_KILLS = 3
"""A page of the log is two writes, so that each kind of step has its kills."""

pytestmark = pytest.mark.usefixtures("tracing")


def losses(recording: power.Recording, backend: Backend, folder: Path, *, syncs: bool = True) -> Iterator[str]:
    """What is wrong after each loss of power, by the same dice each time."""
    dice = Random(20)
    for number in range(LOSSES):
        until = dice.randrange(first_answer(recording), len(recording.steps)) + 1
        database = folder / f"{number}.db"
        recording.after_power_loss(until, dice, database, syncs=syncs)
        yield from faults(recording, backend, until, database)


def kills(recording: power.Recording, backend: Backend, folder: Path) -> Iterator[str]:
    """What is wrong after each kill from the first answer on."""
    database, copy = folder / "killed.db", folder / "copy.db"
    for until in recording.after_kills(first_answer(recording), STEPS_BETWEEN_KILLS, database):
        # SQLite moves the log into what it opens.
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)
        for suffix in ("", "-wal"):
            if (file := database.with_name(database.name + suffix)).exists():
                shutil.copyfile(file, copy.with_name(copy.name + suffix))
        yield from faults(recording, backend, until, copy)
        with closing(sqlite3.connect(copy)) as connection:
            (stored,) = connection.execute("SELECT count(*) FROM domain_events").fetchone()
        answered = len(recording.acknowledged(until))
        if stored > answered + 1:
            yield f"after {until} steps: {stored} events, {answered} of them answered, and one was under way"


def first_answer(recording: power.Recording) -> int:
    return next(place for place, step in enumerate(recording.steps) if isinstance(step, power.Acknowledged))


def faults(recording: power.Recording, backend: Backend, until: int, database: Path) -> Iterator[str]:
    """What is wrong with a database that was left after so many steps."""
    keys = {answer["eventId"]: key for key, answer in backend.acknowledged.items()}
    history = History(Sent(TENANT, key, event) for key, event in backend.sent.items())
    for event_id in sorted(recording.acknowledged(until)):
        history.add(Answered(TENANT, keys[event_id], 201, backend.acknowledged[keys[event_id]]))
    try:
        with closing(sqlite3.connect(database)) as connection:
            [(verdict,)] = connection.execute("PRAGMA integrity_check").fetchall()
        findings = [] if verdict != "ok" else judge(history, Ledger.read(database))
    except (sqlite3.DatabaseError, ValueError) as error:
        verdict, findings = str(error), []
    if verdict != "ok" or findings:
        yield f"after {until} steps of {len(recording.steps)}: {verdict} {findings}"


def events_without_the_log(database: Path) -> int:
    """How many events the database itself has. It may be in the middle of a change, and then has none."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?immutable=1", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM domain_events").fetchone()
    except sqlite3.DatabaseError:
        return 0
    return int(count)


async def test_row_1_and_2_a_kill_behind_any_write_and_a_loss_of_power_lose_nothing_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    trace = tmp_path / "trace"
    # Not the server's parent, so that signals reach the server.
    strace = ("strace", "-D", "-f", "-y", "-xx", "-s", str(power.LONGEST), "-e", f"trace={power.CALLS}", "-o")
    backend = Backend()
    async with serving(tmp_path, environment=ENVIRONMENT, command=(*strace, str(trace), *SERVE)) as server:
        for _ in range(POSTS // 2):
            assert await backend.post(server) == 201
        # A writer that has nothing to do moves the log into the database; then the log is written from its start.
        with trio.fail_after(PATIENCE):
            while events_without_the_log(server.database) < POSTS // 2:
                await trio.sleep(0.01)
        for _ in range(POSTS - POSTS // 2):
            assert await backend.post(server) == 201
        assert await server.stop() == 0
    backend.judge(server.database)
    recording = await trio.to_thread.run_sync(power.Recording.read, trace, server.database)
    assert recording.acknowledged(len(recording.steps)) == {one["eventId"] for one in backend.acknowledged.values()}

    (tmp_path / "killed").mkdir()
    assert await trio.to_thread.run_sync(lambda: list(kills(recording, backend, tmp_path / "killed"))) == []

    (tmp_path / "lost").mkdir()
    assert await trio.to_thread.run_sync(lambda: list(losses(recording, backend, tmp_path / "lost"))) == []

    # A server that never synced would be found out.
    (tmp_path / "canary").mkdir()
    assert await trio.to_thread.run_sync(lambda: list(losses(recording, backend, tmp_path / "canary", syncs=False)))
