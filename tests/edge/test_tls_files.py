"""The certificate is read again when a file changes; a wrong pair changes nothing. Under a virtual clock."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from djactors.config import SettingError, Settings
from djactors.edge import watched_files
from djactors.edge.tls_files import DAY, TlsFiles, finding, load_tls
from djactors.telemetry import Telemetry, make_logger
from tests.edge.test_key_file import inline
from tests.tls import Pair, moment

NOW = datetime.now(UTC)


def settings_of(pair: Pair) -> Settings:
    return Settings(tls_cert=str(pair.certificate), tls_key=str(pair.key))


class Watched:
    """A pair that is looked after."""

    def __init__(self, folder: Path) -> None:
        self.pair = Pair(folder, ends=moment(NOW.year + 5))
        self.settings = settings_of(self.pair)
        tls = load_tls(self.settings)
        assert tls is not None
        self.tls = tls
        self.log = io.StringIO()
        self.now = NOW
        telemetry = Telemetry(make_logger("json", "info", self.log))
        self.files = TlsFiles(self.settings, tls, telemetry, lambda: self.now, inline)

    @property
    def entries(self) -> list[Any]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    house = Watched(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: house.files.run(task_status=task_status))
        await trio.sleep(1)
        yield house
        nursery.cancel_scope.cancel()


async def test_a_new_pair_is_taken_within_a_second(tmp_path: Path, autojump_clock: object) -> None:
    async with watched(tmp_path) as house:
        before = house.tls.context
        await trio.sleep(60)
        assert house.tls.context is before
        house.pair.renew(ends=moment(NOW.year + 6))
        await trio.sleep(1)
        assert house.tls.context is not before
        assert [entry["event"] for entry in house.entries] == ["new certificate"]


async def test_a_wrong_pair_changes_nothing_and_is_told_once(tmp_path: Path, autojump_clock: object) -> None:
    async with watched(tmp_path) as house:
        before = house.tls.context
        certificate, key = house.pair.make(ends=moment(NOW.year + 6))
        house.pair.certificate.write_bytes(certificate)
        await trio.sleep(60)
        assert house.tls.context is before
        [entry] = house.entries
        assert (entry["level"], entry["event"]) == ("error", "the new certificate is refused, the old one stays")
        assert "DJACTORS_TLS_KEY" in entry["reason"]
        house.pair.key.unlink()
        await trio.sleep(1)
        house.pair.put(certificate, key)
        await trio.sleep(1)
        assert house.tls.context is not before
        assert house.entries[-1]["event"] == "new certificate"


async def test_whoever_asks_for_it_has_the_pair_read(tmp_path: Path, autojump_clock: object) -> None:
    async with watched(tmp_path) as house:
        with trio.fail_after(1):
            await house.files.reload().wait()
        assert [entry["event"] for entry in house.entries] == ["new certificate"]


async def test_an_end_that_is_near_is_told_every_day(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or two days would be a third of a million looks.
    monkeypatch.setattr(watched_files, "POLL_SECONDS", 3600.0)
    async with watched(tmp_path) as house:
        house.now = moment(NOW.year + 5)
        await trio.sleep(2 * DAY)
        warned = [entry for entry in house.entries if entry["event"] == "look at the certificate"]
        assert len(warned) == 2
        assert "has ended" in warned[0]["reason"]


def test_what_check_finds(tmp_path: Path) -> None:
    assert finding(Settings(), NOW) is None
    pair = Pair(tmp_path, ends=moment(NOW.year + 5))
    settings = settings_of(pair)
    assert finding(settings, NOW) is None
    assert "has ended" in str(finding(settings, moment(NOW.year + 5)))
    assert "renew it before" in str(finding(settings, datetime(NOW.year + 4, 12, 25, tzinfo=UTC)))
    assert "not valid before" in str(finding(settings, moment(1999)))
    pair.key.chmod(0o644)
    assert "chmod o=" in str(finding(settings, NOW))
    pair.key.unlink()
    assert str(finding(settings, NOW)).startswith("DJACTORS_TLS_KEY: ")


def test_a_wrong_pair_stops_the_start_by_the_setting_and_the_mend(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.put(pair.certificate.read_bytes(), Pair.make()[1])
    with pytest.raises(SettingError, match=r"^DJACTORS_TLS_KEY: .* is not the key of .*: name the files of one pair"):
        load_tls(settings_of(pair))
    for one, missing in (("tls_cert", "DJACTORS_TLS_KEY"), ("tls_key", "DJACTORS_TLS_CERT")):
        with pytest.raises(SettingError, match=rf"^{missing}: is not set, although"):
            load_tls(Settings(**{one: str(pair.certificate)}))
