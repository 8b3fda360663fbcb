"""The file of keys is read again when it changes; a wrong one changes nothing. Under a virtual clock."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from djactors.config import Settings
from djactors.edge.auth import Authenticator, Unauthorized, authenticator
from djactors.edge.key_file import KeyFile
from djactors.edge.watched_files import POLL_SECONDS
from djactors.operations.tokens import sign
from djactors.telemetry import Telemetry, make_logger
from tests.edge.test_auth import NOW
from tests.edge.test_keys import OTHER, SECRET, key_file, oct_key


async def inline(function: Any, *args: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return function(*args)


class Watched:
    """A file of keys that is looked after."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = Path(settings.jwt_keys_file)
        self.door: Authenticator = authenticator(settings, lambda: datetime.fromtimestamp(NOW, UTC))
        self.log = io.StringIO()
        self.dropped: list[Collection[str]] = []
        telemetry = Telemetry(make_logger("json", "info", self.log))
        self.file = KeyFile(settings, self.door, self._drop, telemetry, inline)

    async def _drop(self, keys: Collection[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.dropped.append(keys)

    def put(self, *keys: Any) -> None:
        """As a deployment does: a new file in the place of the old one."""
        self.put_text(json.dumps({"keys": keys}))

    def put_text(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    def takes(self, token: str) -> bool:
        try:
            return self.door.identify(token).role == "service"
        except Unauthorized:
            return False

    @property
    def entries(self) -> list[Any]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@asynccontextmanager
async def watched(folder: Path, *keys: Any) -> AsyncIterator[Watched]:
    house = Watched(key_file(folder, *keys))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: house.file.run(task_status=task_status))
        yield house
        nursery.cancel_scope.cancel()


async def test_a15_a_changed_file_is_taken_within_a_second_and_dropped_keys_end_sockets(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with watched(tmp_path, oct_key(SECRET, kid="old")) as house:
        old = sign(house.settings, role="service", now=NOW)
        [name] = house.door.keys.names
        await trio.sleep(1)
        assert house.takes(old)
        house.put(oct_key(SECRET, kid="old"), oct_key(OTHER, kid="new"))
        await trio.sleep(1)
        assert house.takes(old)
        assert house.dropped == []
        house.put(oct_key(OTHER, kid="new"))
        await trio.sleep(1)
        assert not house.takes(old)
        assert house.takes(sign(house.settings, role="service", now=NOW))
        assert house.dropped == [{name}]
        assert [entry["event"] for entry in house.entries] == ["new keys", "new keys"]
        assert house.entries[0]["keys"] == ["kid 'old'", "kid 'new'"]
        assert SECRET not in house.log.getvalue()


async def test_a15_a_wrong_new_file_keeps_the_old_keys_and_says_so_once(tmp_path: Path, autojump_clock: object) -> None:
    async with watched(tmp_path, oct_key(SECRET, kid="old")) as house:
        old = sign(house.settings, role="service", now=NOW)
        for number, wrong in enumerate(['{"keys":[{"kty":"oc', "", '{"keys":[]}'], 1):
            house.put_text(wrong)
            await trio.sleep(10)
            assert house.takes(old)
            assert len(house.entries) == number
            assert house.entries[-1]["event"] == "the new keys are refused, the old ones stay"
            assert house.entries[-1]["reason"].startswith(f"DJACTORS_JWT_KEYS_FILE: {house.path}")
        house.path.unlink()
        await trio.sleep(10)
        assert house.takes(old)
        assert len(house.entries) == 4
        house.put(oct_key(OTHER, kid="new"))
        await trio.sleep(1)
        assert not house.takes(old), "and a good one is taken again"


async def test_a15_the_file_is_read_when_that_is_asked_for_even_if_it_looks_the_same(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with watched(tmp_path, oct_key(SECRET, kid="old")) as house:
        await trio.sleep(1)
        before = os.stat(house.path)
        house.path.write_text(json.dumps({"keys": [oct_key(OTHER[: len(SECRET)], kid="new")]}))
        os.utime(house.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert os.stat(house.path).st_size == before.st_size
        await trio.sleep(10)
        assert house.entries == []
        house.file.reload()
        await trio.sleep(POLL_SECONDS / 10)
        assert house.entries[-1]["keys"] == ["kid 'new'"]
        house.file.reload()
        await trio.sleep(POLL_SECONDS / 10)
        assert house.entries[-1]["event"] == "the keys are the same as before"


async def test_a15_keys_that_change_their_kids_with_each_other_are_new_keys(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with watched(tmp_path, oct_key(SECRET, kid="a"), oct_key(OTHER, kid="b")) as house:
        by_a = sign(house.settings, role="service", now=NOW)
        assert house.takes(by_a)
        house.put(oct_key(OTHER, kid="a"), oct_key(SECRET, kid="b"))
        await trio.sleep(1)
        assert not house.takes(by_a)
        assert house.dropped == []


async def test_whoever_asks_for_it_hears_when_the_file_has_been_read(tmp_path: Path, autojump_clock: object) -> None:
    async with watched(tmp_path, oct_key(SECRET)) as house:
        first, second = house.file.reload(), house.file.reload()
        with trio.fail_after(1):
            await first.wait()
            await second.wait()
        assert [entry["event"] for entry in house.entries] == ["the keys are the same as before"]
