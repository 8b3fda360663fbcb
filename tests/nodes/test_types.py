"""Nodes of one database that notify by different types: whoever looks finds out that they differ, and which do."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from djactors.actors import registration
from djactors.config import Settings
from djactors.domain.notification_rules import BUILT_IN_RULES
from djactors.operations.diagnosis import diagnose
from tests.nodes.servers import Running, eventually, execute, query, running_servers
from tests.serving import SECRET, send_request

ADMIN = 99
WARNING = "another node has notification types that differ from this one's: `djactors top` and the log name them"


async def warnings_of(server: Running) -> list[str]:
    answer = await send_request(server.url, "GET", "/readyz")
    assert answer.status == 200
    return answer.json.get("warnings", [])


async def test_nodes_with_other_types_are_told_where_an_operator_looks(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "NOTE_SECONDS", 0.05)
    types = tmp_path / "types.toml"
    types.write_text("[job_completed]\nenabled = false\n")
    own = [{}, {"notification_types_file": str(types)}]
    async with running_servers(postgres_url, own=own) as (one, other):
        for each in (one, other):

            async def warns(each: Running = each) -> bool:
                return await warnings_of(each) == [WARNING]

            await eventually(warns)
        nodes = (await one.ask("GET", "/api/admin/actors", ADMIN, role="admin")).json["nodes"]
        tables = {node["name"]: node["types"] for node in nodes}
        assert list(tables.values()) == [BUILT_IN_RULES.digest, other.server.rules.digest]
        assert BUILT_IN_RULES.digest != other.server.rules.digest
        first, second = tables
        assert [entry["nodes"] for entry in differing(one)] == [[second]]
        assert [entry["nodes"] for entry in differing(other)] == [[first]]
        found = await types_by_check(postgres_url)
        assert found is not None
        assert f"{first} (table {tables[first]}) and {second} (table {tables[second]})" in found

        other.server.request_stop()
        await other.ended.wait()

        async def is_alone() -> bool:
            return await warnings_of(one) == []

        await eventually(is_alone)
        assert await types_by_check(postgres_url) is None
        assert one.entries[-1]["event"] == "all nodes have the same notification types"


async def test_a_node_of_a_version_that_does_not_say_its_types_is_no_concern(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "NOTE_SECONDS", 0.05)
    async with running_servers(postgres_url, 1) as (one,):
        await execute(
            postgres_url,
            """INSERT INTO nodes (name, started_at, seen_at, version, url, users, sockets)
            SELECT 'older', started_at, seen_at, '0.1', '', 0, 0 FROM nodes""",
        )
        seen = await query(postgres_url, "SELECT seen_at FROM nodes WHERE name <> 'older'")

        async def has_looked() -> bool:
            return await query(postgres_url, "SELECT seen_at FROM nodes WHERE name <> 'older'") > seen

        await eventually(has_looked)
        assert await warnings_of(one) == []
        assert await types_by_check(postgres_url) is None


def differing(server: Running) -> list[dict[str, object]]:
    return [entry for entry in server.entries if entry["event"] == "nodes with other notification types"]


async def types_by_check(url: str) -> str | None:
    """What `djactors check` says of the nodes' types."""

    def check() -> dict[str, str | None]:
        return dict(diagnose(Settings(jwt_secret=SECRET, database=url)))

    return (await trio.to_thread.run_sync(check))["notification types of the nodes"]
