"""A database that is set up as Supabase's is: what works there, and what README says of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from djactors.inbox import schema
from djactors.operations.moving import move
from djactors.store.errors import StoreError
from tests.environment.hosted import OWNER, OWNERS_PASSWORD, PASSWORD, Hosted, hosted_postgres
from tests.moving.conftest import filled as filled  # noqa: PLC0414
from tests.moving.conftest import house as house  # noqa: PLC0414
from tests.moving.conftest import text_of
from tests.moving.test_moving import no_report
from tests.nodes.page import opened
from tests.nodes.servers import listening, running_servers
from tests.operations.commands import complaint, findings, run
from tests.proxies.readme import blocks

ANN = 11


@pytest.fixture(scope="module")
def service() -> Iterator[Hosted]:
    with hosted_postgres() as service:
        yield service


@pytest.fixture
def hosted(service: Hosted) -> Iterator[Hosted]:
    """With the role and the schema that README has the customer make, which are gone afterwards."""
    [statements] = blocks("sql")
    service.as_owner(statements.replace("change-me", PASSWORD))
    yield service
    with psycopg.connect(service.superuser, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'djactors'")
        connection.execute("DROP SCHEMA djactors CASCADE")
        connection.execute(f"REVOKE djactors FROM {OWNER}".encode())
        connection.execute("DROP OWNED BY djactors")
        connection.execute("DROP ROLE djactors")


def of_the_service(hosted: Hosted, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(hosted.superuser, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooler"])
def test_the_commands_work_with_a_plain_role_and_verified_tls(hosted: Hosted, pooled: bool) -> None:
    url = hosted.url("djactors", PASSWORD, pooled=pooled)
    done = run("migrate", "--database", url)
    assert done.exit_code == 0, done.output
    assert run("migrate", "--database", url, "--check").exit_code == 0
    # The service of the tests keeps nothing over a power failure, and has no standby.
    assert list(findings(run("check", "--database", url))) == ["durability"]
    assert of_the_service(hosted, "SELECT DISTINCT schemaname FROM pg_tables WHERE tableowner = 'djactors'") == [
        ("djactors",)
    ]
    [(superuser, bypasses)] = of_the_service(
        hosted, "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = 'djactors'"
    )
    assert not superuser
    assert not bypasses


def test_a_server_that_is_not_the_right_one_is_refused(hosted: Hosted, tmp_path: Path) -> None:
    other = tmp_path / "other.crt"
    shutil.copy(hosted.authority, other)
    url = hosted.url("djactors", PASSWORD)
    for wrong, reason in (
        (url.replace("@localhost", "@127.0.0.1"), "does not match host name"),
        (url.replace(str(hosted.authority), str(tmp_path / "none.crt")), "does not exist"),
        (url.replace("verify-full", "disable"), "no encryption"),
    ):
        assert reason in complaint(run("migrate", "--database", wrong))


async def test_a_node_that_is_connected_directly_and_one_behind_the_pooler_serve_together(hosted: Hosted) -> None:
    schema.apply(direct := hosted.url("djactors", PASSWORD))
    pooled = hosted.url("djactors", PASSWORD, pooled=True)
    async with running_servers(direct, 1) as [one], running_servers(pooled, 1) as [other]:
        await listening(one)
        async with opened(one.url, ANN) as here, opened(other.url, ANN) as there:
            await one.tell(ANN, "by the direct one")
            await there.until(lambda page: page.titles == ["by the direct one"])
            await other.tell(ANN, "by the other one")
            for page in (here, there):
                await page.until(lambda page: page.titles == ["by the direct one", "by the other one"])
        # A pooler that gives each transaction another connection passes no notifications on.
        assert await other.metric("djactors_listening") == 0


def test_an_installation_is_carried_there_and_back_by_the_pooler(hosted: Hosted, house: Path, tmp_path: Path) -> None:
    pooled = hosted.url("djactors", PASSWORD, pooled=True)
    move(house, pooled, no_report)
    back = tmp_path / "back.db"
    move(hosted.url("djactors", PASSWORD), back, no_report)
    assert text_of(back) == text_of(house)


def test_what_is_not_ours_is_neither_seen_nor_touched_and_web_clients_see_nothing_of_ours(hosted: Hosted) -> None:
    before = of_the_service(hosted, "SELECT * FROM public.todos ORDER BY id")
    rules = of_the_service(hosted, "SELECT polname, polrelid::regclass::text FROM pg_policy")
    schema.apply(hosted.url("djactors", PASSWORD))
    assert of_the_service(hosted, "SELECT * FROM public.todos ORDER BY id") == before
    assert of_the_service(hosted, "SELECT polname, polrelid::regclass::text FROM pg_policy") == rules
    with (
        psycopg.connect(hosted.url("djactors", PASSWORD), autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM public.todos")
    for role in ("anon", "authenticated"):
        with psycopg.connect(hosted.superuser, autocommit=True) as connection:
            connection.execute(f"SET ROLE {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT pid_key FROM djactors.meta")


def test_tables_are_not_made_beside_those_of_an_application(hosted: Hosted) -> None:
    """Whoever takes the owner's role and no schema of its own would have them read by everybody on the web."""
    for pooled in (False, True):
        with pytest.raises(StoreError, match="the schema public has tables of another program: name an empty database"):
            schema.apply(hosted.url(OWNER, OWNERS_PASSWORD, pooled=pooled))
    url = f"{hosted.url(OWNER, OWNERS_PASSWORD)}&options=-csearch_path%3Dnone"
    assert re.search("no schema of its search path exists", complaint(run("migrate", "--database", url)))
