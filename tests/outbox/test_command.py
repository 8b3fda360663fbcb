"""`djactors outbox`: what it sends to a served process, what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio

from djactors.domain.events import JobAssigned, NotificationRequested
from djactors.outbox import Delivered, Outbox, Runner, opener_of
from tests.operations.commands import complaint, run
from tests.outbox.recording import Server
from tests.project.examples import example_of
from tests.serving import SECRET, make_token, service_token, serving

PATIENCE = 60
NEWS = NotificationRequested(tenant_id=1, user_id=2, notification_type="news", priority="LOW", title="a")
NOWHERE = ("--url", "http://127.0.0.1:1", "--token", "x")


@pytest.fixture
def application(tmp_path: Path) -> str:
    path = str(tmp_path / "app.db")
    with closing(sqlite3.connect(path)) as connection:
        Outbox().create(connection)
    return path


def add(path: str, *events: Any) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for event in events:
            Outbox().add(connection, event)


async def test_each_event_that_was_committed_is_one_notification(
    tmp_path: Path, application: str, postgres_url: str
) -> None:
    # The server is another process, so this one may block.
    def once(database: str, *more: str) -> str:
        result = run("outbox", "--database", database, "--url", server.url, "--once", *more)
        assert result.exit_code == 0, result.output
        return result.stdout

    def example(*_: Any) -> list[str]:
        printed: list[str] = []
        program: dict[str, Any] = {"__name__": "example", "print": lambda *words: printed.append(str(words))}
        exec(compile(example_of("djactors.outbox"), "<example>", "exec"), program)
        program["main"](str(tmp_path / "example.db"), server.url, service_token(1))
        return printed

    async with serving(tmp_path) as server:
        add(application, NEWS, JobAssigned(tenant_id=1, job_id=99, assignee_id=2))
        with closing(sqlite3.connect(application)) as connection:
            before = connection.execute("SELECT * FROM djactors_outbox ORDER BY id").fetchall()
        assert once(application) == "sent: 2, held: 0\n"
        # As if the program had ended after the server's answer, before it was written down.
        with closing(sqlite3.connect(application)) as connection, connection:
            connection.executemany(f"INSERT INTO djactors_outbox VALUES ({', '.join('?' * 8)})", before)
            Outbox().add(connection, JobAssigned(tenant_id=1, job_id=7, assignee_id=2, id=before[0][2]))
        said = once(application)
        assert said == "sent: 2, held: 1\n", "another event under an id that was used is never taken"
        assert once(postgres_url, "--create") == "sent: 0, held: 0\n"
        assert example() == ["('sent:', 1)"]
        answer = await server.request(
            "GET", "/api/notifications/unread-count", token=make_token(tenant_id=1, user_id=2)
        )
        assert answer.json["count"] == 3
    shown = run("outbox", "--database", application, "--held").stdout.splitlines()
    assert shown[:2] == ["waiting: 0", "held: 1"]
    assert "idempotency_key_reused: " in shown[2]
    assert "job.assigned" in shown[2]
    result = run("outbox", "--database", application, *NOWHERE, "--release", "--held")
    assert result.stdout.splitlines()[0] == "1 events will be sent again"
    assert "waiting: 1, the first one since" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_waits_for_a_server_that_is_away_and_ends_with_a_signal(
    application: str, number: signal.Signals
) -> None:
    add(application, NEWS)
    command = [sys.executable, "-m", "djactors.cli", "outbox", "--database", application, "--url", "http://127.0.0.1:1"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "JWT_SECRET": SECRET}
    )
    try:
        assert process.stderr is not None
        with trio.fail_after(PATIENCE):
            assert "1 events wait" in await trio.to_thread.run_sync(process.stderr.readline)
            process.send_signal(number)
            output, rest = await trio.to_thread.run_sync(process.communicate)
    finally:
        process.kill()
    assert (process.returncode, output) == (0, "")
    assert "Traceback" not in rest


def test_what_could_not_be_sent_is_told(application: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(application, NEWS)
    monkeypatch.setattr("djactors.outbox._runner.REQUEST_SECONDS", 0.1)
    result = run("outbox", "--database", application, *NOWHERE, "--once")
    assert result.stdout == "sent: 0, held: 0\n"
    assert complaint(result).startswith("djactors: the rest waits: no answer within 0.1 s")


def test_who_interrupts_it_before_all_was_sent_is_told(application: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(outbox: Outbox, connection: Any, client: Any) -> Delivered:
        signal.raise_signal(signal.SIGINT)
        return Delivered(sent=3, more=True)

    monkeypatch.setattr(Outbox, "deliver", interrupted)
    result = run("outbox", "--database", application, *NOWHERE, "--once")
    assert result.stdout == "sent: 3, held: 0\n"
    assert complaint(result) == "djactors: interrupted: the rest waits"


def test_a_proxy_that_cannot_be_used_is_told_by_its_variable(application: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("socks://u:secret@127.0.0.1:1080", "http://u:secret@"):
        monkeypatch.setenv("ALL_PROXY", value)
        monkeypatch.delenv("NO_PROXY", raising=False)
        told = complaint(run("outbox", "--database", application, *NOWHERE, "--once"))
        assert told.startswith("djactors: ALL_PROXY: is no address of a proxy: write it like http://")
        assert "secret" not in told


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--database", "gone.db", *NOWHERE), 1, "--database: gone.db: there is no such file"),
        (("--database", "postgresql://nobody@127.0.0.1:1/x", *NOWHERE), 1, "Connection refused"),
        (
            ("--database", "postgresql://u:secret@[x/y", *NOWHERE),
            1,
            "--database: is no URL of PostgreSQL: write it like",
        ),
        (("--database", "app.db"), 2, "give the server's --url"),
        (("--database", "app.db", "--url", "http://127.0.0.1:1"), 1, "--token: is not given, and none can be signed"),
        (
            ("--database", "app.db", *NOWHERE, "--table", "other"),
            1,
            "no such table: other: --create makes the table other",
        ),
        (("--database", "none.db", *NOWHERE), 1, "--database: file is not a database\n"),
        (("--database", "app.db", *NOWHERE, "--table", "x.other"), 1, "no such table: x.other: --create makes"),
        (("--database", "app.db", *NOWHERE, "--table", "x.other", "--create"), 1, 'unknown database "x"\n'),
        (("--database", "app.db", *NOWHERE, "--table", "a b"), 1, "table: 'a b': write a name"),
        (("--database", "app.db", *NOWHERE, "--ca", "none.pem"), 1, "--ca: none.pem cannot be read"),
        (NOWHERE, 2, "Missing option '--database'"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    application: str, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, said: str
) -> None:
    monkeypatch.chdir(Path(application).parent)
    Path("none.db").write_text("This is a text, and it is longer than the head of a database. " * 10)
    assert said in complaint(run("outbox", *arguments, secret=None), code) + "\n"


def test_a_missing_table_is_named_on_postgresql_and_no_other_trouble_is_taken_for_it(postgres_url: str) -> None:
    def said(*more: str) -> str:
        return complaint(run("outbox", "--database", postgres_url, *NOWHERE, "--held", *more))

    assert said().endswith(": --create makes the table djactors_outbox")
    assert "--create" not in said("--table", "gone.events", "--create")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE djactors_outbox (id INTEGER)")
    assert "--create" not in said()


def test_a_locked_file_is_called_so_by_the_command_and_in_the_log(
    application: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("djactors.outbox._opening.BUSY_SECONDS", 0.0)
    meaning = "another program has a transaction open in this file, and has not ended it while this one waited"
    with closing(sqlite3.connect(application)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for more in ((), ("--create", "--table", "other"), ("--once",), ("--held",), ("--release",)):
            said = complaint(run("outbox", "--database", application, *NOWHERE, *more))
            assert said == f"djactors: --database: database is locked: {meaning}"
        opener = opener_of(application)
        runner = Runner(opener.connect, Server(), errors=opener.errors)
        runner.stop.wait = lambda seconds: runner.stop.set() or True  # type: ignore[method-assign,func-returns-value]
        runner.run()
    assert f"database is locked: {meaning}; what waits is kept and tried again" in caplog.text
