"""The commands on a PostgreSQL database, which several servers may have open at once."""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg
import pytest
import trio

from tests.operations.commands import complaint, findings, run
from tests.serving import make_token, serving

pytestmark = pytest.mark.usefixtures("own_folder")

WHO = ("--tenant", "1", "--user", "7")


@pytest.fixture
def secret_url(postgres_url: str) -> str:
    """A URL with a password, which this server does not ask for."""
    return postgres_url.replace("postgres@", "postgres:geheim@")


def test_a_database_is_migrated_and_looked_at(secret_url: str, postgres_url: str) -> None:
    where = ("--database", secret_url)
    wrong = findings(run("check", *where))
    assert list(wrong) == ["durability", "schema version"]
    assert f"run `djactors migrate --database {postgres_url}`" in wrong["schema version"]
    assert f"is behind: run `djactors migrate --database {postgres_url}`" in complaint(
        run("migrate", *where, "--check")
    )
    assert "is behind by 0001_initial.sql" in complaint(run("inbox", *WHO, *where))
    assert "is behind: run" in complaint(run("sign-out", *WHO, *where))
    done = run("migrate", *where)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == f"{postgres_url} is up to date"
    assert run("migrate", *where, "--check").stdout == f"{postgres_url} is up to date\n"
    result = run("check", *where)
    assert list(findings(result)) == ["durability"], "the server of the tests keeps nothing over a power failure"
    assert "ok   times" in result.stdout
    for said in (done, result):
        assert "geheim" not in said.output


def test_rows_without_a_tenant_are_found(postgres_url: str) -> None:
    where = ("--database", postgres_url)
    assert run("migrate", *where).exit_code == 0
    assert "ok   database integrity" in run("check", *where).stdout
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "INSERT INTO changes (tenant_id, seq, kind, mark, created_at) VALUES (9, 1, 'job_updated', 1, 'never')"
        )
    assert "has rows of changes without a tenant" in findings(run("check", *where))["database integrity"]


def test_what_cannot_be_served_is_told_in_one_line(postgres_url: str) -> None:
    nowhere = postgres_url.replace("postgres@%2F", "postgres:geheim@%2Fnowhere%2F")
    for command in (("migrate",), ("serve", "--port", "0"), ("inbox", *WHO), ("sign-out", *WHO)):
        said = complaint(run(*command, "--database", nowhere))
        assert "cannot be connected to: see that the server runs there" in said
        assert "geheim" not in said
    assert list(findings(run("check", "--database", nowhere))) == ["database"]
    assert "DJACTORS_DATABASE: " in complaint(run("check", "--database", "postgresql://a:b%zz@c/x"))


async def test_two_servers_and_the_commands_have_the_database_at_once(tmp_path: Path, postgres_url: str) -> None:
    token = make_token(tenant_id=1, user_id=7, now=1_790_000_000, ttl=10**9)
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    environment = {"DJACTORS_DATABASE": postgres_url}
    async with serving(one, environment=environment) as first, serving(other, environment=environment) as second:
        await first.introduce(1, 7)
        posted = await second.publish({"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7})
        assert posted.status == 201, posted.body
        for server in (first, second):
            answer = await server.request("GET", "/api/notifications", token=token)
            assert [item["title"] for item in answer.json["items"]] == ["Job 5 assigned to you"]
            assert (await server.request("GET", "/readyz")).status == 200
        shown = await trio.to_thread.run_sync(lambda: run("inbox", *WHO, "--database", postgres_url))
        assert "Job 5 assigned to you" in shown.stdout
        out = await trio.to_thread.run_sync(lambda: run("sign-out", *WHO, "--database", postgres_url))
        assert out.stdout.startswith("user 7 of tenant 1 is signed out")
        assert await first.stop() == 0
        assert await second.stop() == 0


async def test_the_demo_can_have_a_database_that_stays(tmp_path: Path, postgres_url: str) -> None:
    command = (sys.executable, "-m", "djactors.cli", "demo", "--database", postgres_url)
    async with serving(tmp_path, command=command) as server:
        assert (await server.request("GET", "/healthz")).status == 200
        assert await server.stop() == 0
    shown = await trio.to_thread.run_sync(
        lambda: run("inbox", "--tenant", "1", "--user", "2", "--database", postgres_url)
    )
    assert shown.stdout.startswith("Somchai Designer in Demo Studio at ")
