"""The commands as an operator runs them, beside a server and with signals."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.backups.conftest import files, tell
from tests.moving.conftest import text_of
from tests.operations.commands import complaint, run
from tests.serving import SECRET, ServedProcess, serving

COMMAND = (sys.executable, "-m", "djactors.cli")
PATIENCE = 60
PADDING = 16 * 2**20
"""So many bytes that a copy takes some steps."""


def pad(house: Path) -> None:
    with closing(sqlite3.connect(house)) as connection:
        last = "(SELECT max(id) FROM domain_events)"
        connection.execute(f"UPDATE domain_events SET answer = ? WHERE id = {last}", ("x" * PADDING,))
        connection.commit()


def begin(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, "JWT_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. It makes its whole process polite, so it has one of its own."""
    with begin(*arguments) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def stop_at(process: subprocess.Popen[str], part: Path) -> None:
    """Stop a command in its tracks once it has begun to write."""
    end = time.monotonic() + PATIENCE
    while not part.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
    process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_told_to_end_leaves_nothing(house: Path, tmp_path: Path, how: signal.Signals) -> None:
    pad(house)
    with begin("backup", tmp_path / "copy.db", "--database", house) as process:
        stop_at(process, tmp_path / "copy.db.partial")
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("djactors: interrupted: there is no copy, and no part of one")
    assert files(tmp_path) == ["var"]


def test_a_backup_that_was_killed_is_run_again(house: Path, tmp_path: Path) -> None:
    pad(house)
    folder = tmp_path / "copies"
    folder.mkdir()
    with begin("backup", folder, "--database", house) as process:
        stop_at(process, folder / "house.partial")
        process.kill()
    assert "house.partial" in files(folder)
    assert done("backup", folder, "--database", house).returncode == 0
    [name] = files(folder)
    assert text_of(folder / name) == text_of(house)


def test_a_restore_that_is_told_to_end_leaves_all_as_it_was(house: Path, tmp_path: Path) -> None:
    pad(house)
    copy = tmp_path / "copy.db"
    assert done("backup", copy, "--database", house).returncode == 0
    tell(house, "newer")
    before = text_of(house)
    with begin("restore", copy, "--database", house, "--over-newer") as process:
        stop_at(process, house.with_name("house.db.restoring"))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("djactors: interrupted: the database is as it was")
    assert text_of(house) == before
    assert files(house.parent) == ["house.db", "house.db.copied", "house.db.lock"]


async def test_beside_a_server(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with serving(tmp_path) as server:
        for number in range(20):
            await _post(server, f"in the copy {number}")
        made = await _run("backup", copy, "--database", server.database)
        assert made.returncode == 0, made.stderr
        assert b"and checked:" in made.stdout
        await _post(server, "lost")
        refused = await _run("restore", copy, "--database", server.database, "--over-newer")
        assert refused.returncode == 1
        assert f"is in use by process {server.process.pid}".encode() in refused.stderr
        assert await server.stop() == 0
    refused = await _run("restore", copy, "--database", server.database)
    assert refused.returncode == 1
    assert b"tenant 1 (Tenant 1): 1 change, 1 notification, from " in refused.stdout
    assert b"to lose that, say --over-newer" in refused.stderr
    restored = await _run("restore", copy, "--database", server.database, "--over-newer")
    assert restored.returncode == 0
    assert b"this is lost:" in restored.stdout
    assert run("check", "--database", str(server.database), secret="0Jx-Zp7q1mWcYv2RkT9sLd4BnH6fGa8E").exit_code == 0
    async with serving(tmp_path) as server:
        await _post(server, "again")
        assert await server.stop() == 0


def test_wrong_arguments_are_named(house: Path, tmp_path: Path) -> None:
    assert "--keep" in complaint(run("backup", str(tmp_path), "--keep", "0"), code=2)
    refused = done("backup", tmp_path / "copy.db", "--keep", "3", "--database", house)
    assert refused.returncode == 1
    assert refused.stderr.startswith("djactors: --keep: ")
    assert "is no folder that is there" in refused.stderr
    missing = complaint(run("restore", str(tmp_path / "copy.db"), "--database", str(house)))
    assert "name a copy that `djactors backup` has made" in missing


def test_what_is_no_database_is_told_with_the_mend(house: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no database\n" * 100)
    said = complaint(run("backup", str(tmp_path / "copy.db"), "--database", str(text)))
    assert said.startswith(f"djactors: {text} is damaged, or no database (")
    assert said.endswith(": find out where with `djactors check`, or name another file")
    said = complaint(run("restore", str(text), "--database", str(house)))
    assert said.startswith(f"djactors: {text} is damaged, or no database (")
    assert said.endswith(": restore another copy")


async def _post(server: ServedProcess, title: str) -> None:
    event = {"tenantId": 1, "userId": 7, "notificationType": "note", "priority": "LOW", "title": title}
    answer = await server.publish({"type": "notification.requested", **event})
    assert answer.status == 201, answer.body


async def _run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            [*COMMAND, *map(str, arguments)],
            env={**os.environ, "JWT_SECRET": SECRET},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
