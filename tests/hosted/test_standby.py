"""A synchronous standby is made as README says, and takes over without the loss of what was acknowledged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import trio

from bench.postgres import QUICK, PostgresServer, as_server_user, find_postgres, postgres_server
from djactors.inbox import schema
from djactors.store.errors import StoreError
from tests.environment.proxies import free_port
from tests.nodes.page import opened
from tests.nodes.servers import eventually, query, running_servers
from tests.operations.commands import findings, run
from tests.proxies.readme import blocks

PATIENCE = 30.0
SETTINGS = (*QUICK, "synchronous_commit=on")
ANN = 11


def until_it_answers(dsn: str, statement: str, answer: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                if connection.execute(statement.encode()).fetchone() == (answer,):
                    return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
        assert time.monotonic() < deadline, f"{statement} does not come to {answer!r}"
        time.sleep(0.05)


@contextmanager
def standby_of(primary: PostgresServer, primary_port: int, port: int) -> Iterator[Path]:
    """A standby that is made by README's command; the directory of its socket."""
    binaries = find_postgres()
    assert binaries is not None
    directory = Path(tempfile.mkdtemp(prefix="djactors-pg-", dir="/tmp"))
    try:
        privileges = as_server_user(directory)
        [command] = blocks("bash")
        command = (
            command.replace("host=db1.example", f"host={primary.directory} port={primary_port}")
            .replace("/var/lib/postgresql/15/main", str(directory / "data"))
            .replace("pg_basebackup", str(binaries / "pg_basebackup"))
        )
        done = subprocess.run([*privileges, "bash", "-euc", command], cwd=directory, check=False)
        assert done.returncode == 0
        options = [argument for setting in SETTINGS for argument in ("-c", setting)]
        with (directory / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    *privileges,
                    binaries / "postgres",
                    "-D",
                    directory / "data",
                    "-k",
                    directory,
                    "-p",
                    str(port),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
            )
        try:
            yield directory
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(PATIENCE)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def test_a_synchronous_standby_takes_over_without_the_loss_of_what_was_acknowledged() -> None:
    first, second = free_port(), free_port()
    with postgres_server("/tmp", SETTINGS, first) as primary:
        until_it_answers(primary.dsn, "SELECT 1", 1)
        with psycopg.connect(primary.dsn, autocommit=True) as connection:
            connection.execute("CREATE ROLE replicator LOGIN REPLICATION")
        with standby_of(primary, first, second) as directory:
            standby = f"host={directory} port={second} user=postgres dbname=postgres"
            with psycopg.connect(primary.dsn, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'db2'")
                connection.execute("SELECT pg_reload_conf()")
            until_it_answers(primary.dsn, "SELECT max(sync_state) FROM pg_stat_replication", "sync")
            hosts = f"{quote(str(primary.directory), safe='')}:{first},{quote(str(directory), safe='')}:{second}"
            url = f"postgresql://postgres@{hosts}/postgres"
            schema.apply(url)
            checked = run("check", "--database", url)
            assert list(findings(checked)) == ["durability"], (
                "the server of the tests keeps nothing over a power failure"
            )
            assert "db2 is synchronous, so a failover loses no acknowledged event" in checked.stdout
            async with running_servers(url, 1) as [node], opened(node.url, ANN) as page:
                for number in range(20):
                    await node.tell(ANN, f"before {number}")
                os.kill(primary.pid, signal.SIGQUIT)
                refused = 0
                with psycopg.connect(standby, autocommit=True) as connection:
                    connection.execute("SELECT pg_promote(wait => false)")
                    connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
                    connection.execute("SELECT pg_reload_conf()")

                async def told_again() -> bool:
                    nonlocal refused
                    try:
                        await node.tell(ANN, "after")
                    except StoreError:
                        refused += 1
                        await trio.sleep(0.05)
                        return False
                    return True

                await eventually(told_again)
                rows = await query(standby, "SELECT title FROM notifications ORDER BY seq")
                assert [title for (title,) in rows][:20] == [f"before {number}" for number in range(20)]
                assert rows[-1] == ("after",)
                await page.until(lambda page: page.titles[-1:] == ["after"])
                assert page.titles[:20] == [f"before {number}" for number in range(20)]
                assert not page.closed.is_set()
