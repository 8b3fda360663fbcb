"""The throw-away PostgreSQL is real, private to the test session, and leaves nothing behind."""

import os
import re
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bench import postgres
from bench.postgres import OLDEST_MAJOR, QUICK, PostgresMissing, postgres_server, running_postgres


def test_the_session_has_a_real_server_of_a_supported_version(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        row = connection.execute("SELECT current_setting('server_version_num')::int").fetchone()
        assert row is not None
        assert row[0] // 10_000 >= OLDEST_MAJOR


def test_the_server_listens_on_no_network_address(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_leaving_the_context_ends_the_server_and_removes_its_directory() -> None:
    with running_postgres() as dsn:
        directory = Path(str(conninfo_to_dict(dsn)["host"]))
        pid = int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not directory.exists()


def test_a_server_that_is_started_in_the_background_still_ends_by_sigint() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with postgres_server("/tmp", QUICK) as server:
            status = Path(f"/proc/{server.pid}/status").read_text()
    finally:
        signal.signal(signal.SIGINT, before)
    [caught] = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert int(caught, 16) & 1 << signal.SIGINT - 1


def test_a_server_that_cannot_start_shows_its_own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "QUICK", ["no_such_setting=1"])
    with pytest.raises(RuntimeError, match="no_such_setting"), running_postgres():
        pass


def test_a_missing_server_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PACKAGED_SERVERS", Path("/nonexistent"))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PostgresMissing, match="python -m tests --prepare"), running_postgres():
        pass


def test_an_old_server_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binaries = tmp_path / "9" / "bin"
    binaries.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (binaries / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n")
        (binaries / name).chmod(0o755)
    monkeypatch.setattr(postgres, "PACKAGED_SERVERS", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert postgres.find_postgres() is None
