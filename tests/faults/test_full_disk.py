"""Row 4: a disk without room, a quota that is used up, and a start on either."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from djactors.inbox import schema
from djactors.operations.backing_up import back_up
from djactors.operations.restoring import restore
from djactors.store.errors import StoreUnavailable
from djactors.store.sqlite import copying
from tests.faults.backend import ENVIRONMENT, TENANT, USER, Backend
from tests.faults.commands import PATIENCE, command, refusal
from tests.faults.strace import tampering
from tests.serving import ServedProcess, make_token, serving

PIECE = 2**20
TOKEN = make_token(tenant_id=TENANT, user_id=USER)


def fill(disk: Path) -> Path:
    """Take all the room there is; removing the file gives it back."""
    filler = disk / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (PIECE, 4096, 1):
            with suppress(OSError):
                while True:
                    os.write(file, bytes(size))
    finally:
        os.close(file)
    return filler


async def unready(server: ServedProcess) -> str:
    """Why it is not ready."""
    answer = await server.request("GET", "/readyz")
    assert answer.status == 503, answer.body
    message: str = answer.json["error"]["message"]
    return message


async def ready(server: ServedProcess) -> None:
    """Wait until it says that it is well again, by itself."""
    with trio.fail_after(PATIENCE):
        while (await server.request("GET", "/readyz")).status != 200:
            await trio.sleep(0.05)


async def test_row_4_a_full_disk_refuses_writes_answers_reads_and_heals(small_disk: Path) -> None:
    backend = Backend()
    async with serving(small_disk, environment=ENVIRONMENT) as server:
        for _ in range(3):
            assert await backend.post(server) == 201
        for _ in range(2):
            filler = fill(small_disk)
            # What the log has room for already is still taken.
            assert await backend.post_until(server, 503) == 503
            assert await backend.post(server) == 503
            assert "the disk is full" in await unready(server)
            assert (await server.request("GET", "/healthz")).status == 200
            page = await server.request("GET", "/api/notifications?limit=1", token=TOKEN)
            assert (page.status, page.json["unreadCount"]) == (200, len(backend.acknowledged))
            filler.unlink()
            assert await backend.post(server) == 201
            await ready(server)
        fill(small_disk)
        assert await backend.post_until(server, 503) == 503
        assert await server.stop() == 0
    (small_disk / "filler").unlink()
    async with serving(small_disk, environment=ENVIRONMENT) as server:
        await backend.post_again(server)
        assert await server.stop() == 0
    assert "Traceback" not in server.errors.read_text()
    backend.judge(server.database)


async def test_row_4_killed_on_a_full_disk_it_starts_again_when_there_is_room(small_disk: Path) -> None:
    backend = Backend()
    async with serving(small_disk, environment=ENVIRONMENT) as server:
        filler = fill(small_disk)
        assert await backend.post_until(server, 503) == 503
        server.kill()
        await server.process.wait()
    # It may serve or refuse; what it may not do is to lose anything.
    with suppress(AssertionError):
        async with serving(small_disk, environment=ENVIRONMENT) as server:
            assert (await server.request("GET", "/healthz")).status == 200
            assert await server.stop() == 0
    filler.unlink()
    async with serving(small_disk, environment=ENVIRONMENT) as server:
        await backend.post_again(server)
        assert await server.stop() == 0
    backend.judge(server.database)


async def test_row_4_a_new_database_on_a_full_disk_is_refused_with_the_mend(small_disk: Path, tmp_path: Path) -> None:
    filler = fill(small_disk)
    database = small_disk / "inbox.db"
    for name in ("serve", "migrate"):
        line = refusal(await command(name, "--database", database, folder=tmp_path))
        assert str(database) in line
        assert "the disk is full: free some space and start again" in line
    filler.unlink()
    assert (await command("migrate", "--database", database, folder=tmp_path)).returncode == 0


def test_row_4_a_disk_that_fills_under_a_copy_is_left_as_it_was(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGES_OF_A_STEP", 4)
    monkeypatch.setattr(copying, "COPY_CACHE", 16)
    database = tmp_path / "inbox.db"
    schema.apply(database)

    def fill_it(_: object) -> None:
        fill(small_disk)

    with pytest.raises(StoreUnavailable, match=r"the disk is full .* so nothing was kept: free some space"):
        back_up(database, small_disk / "copy.db", fill_it)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    copy = back_up(database, small_disk / "copy.db", lambda _: None).copy
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        restore(copy, small_disk / "inbox.db", fill_it)
    assert sorted(path.name for path in small_disk.iterdir()) == ["copy.db", "filler", "inbox.db.lock"]
    (small_disk / "filler").unlink()
    restore(copy, small_disk / "inbox.db", lambda _: None)


@pytest.mark.usefixtures("tracing")
@pytest.mark.parametrize("error", ["EDQUOT", "ENOSPC"])
async def test_row_4_a_quota_is_as_a_full_disk(tmp_path: Path, error: str) -> None:
    backend = Backend()
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        assert await backend.post(server) == 201
        async with tampering(server, "pwrite64", f"error={error}:when=9+"):
            assert await backend.post(server) == 503
            assert "is full" in await unready(server)
            page = await server.request("GET", "/api/notifications", token=TOKEN)
            assert (page.status, page.json["unreadCount"]) == (200, 1)
        assert await backend.post(server) == 201
        await ready(server)
        await backend.post_again(server)
        assert await server.stop() == 0
    backend.judge(server.database)
