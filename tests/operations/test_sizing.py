"""What an installation needs of its machine: the table of the README, and the comparison with this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from djactors.operations.sizing import MEASURED, MIB, amount, memory_of_machine, memory_shortage, rows

GIB = 2**30


def test_all_rows_grow_with_the_users() -> None:
    users = [int(row[0].replace(",", "")) for row in rows()]
    assert users == sorted(users)
    for number in users:
        assert MEASURED.disk_bytes(number) > MEASURED.yearly_bytes(number) > 0
        assert MEASURED.descriptors(number) > number


@pytest.mark.parametrize(
    ("count", "shown"),
    [(2000, "2 KiB"), (1.26 * MIB, "1.3 MiB"), (126 * MIB, "130 MiB"), (9.94 * GIB, "9.9 GiB"), (2.5e12, "2.3 TiB")],
)
def test_sizes_are_told_as_roughly_as_they_are_known(count: float, shown: str) -> None:
    assert amount(count) == shown


def test_a_container_has_the_memory_of_its_limit(tmp_path: Path) -> None:
    meminfo, limit, none = tmp_path / "meminfo", tmp_path / "memory.max", tmp_path / "none"
    meminfo.write_text("MemTotal:        2000 kB\nMemFree: 5 kB\n")
    limit.write_text("max\n")
    assert memory_of_machine(meminfo, (limit, none)) == 2000 * 1024
    limit.write_text("1000000\n")
    assert memory_of_machine(meminfo, (limit, none)) == 1_000_000
    assert memory_of_machine(none, (none,)) is None
    meminfo.write_text("something else")
    assert memory_of_machine(meminfo, ()) is None


def test_more_connections_than_the_memory_holds_are_told_with_the_mend() -> None:
    assert memory_shortage(10_000, None) is None
    assert memory_shortage(10_000, 4 * GIB) is None
    short = memory_shortage(1_000_000, GIB)
    assert short is not None
    assert short.startswith("1000000 connections take about ")
    assert short.endswith("and there are 1.0 GiB: have more memory, or lower DJACTORS_MAX_CONNECTIONS")
