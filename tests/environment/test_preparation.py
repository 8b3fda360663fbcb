"""A machine is prepared once, and only by those who may."""

import ctypes
import os
from pathlib import Path

import pytest

from bench import postgres
from tests.environment import preparation
from tests.environment.preparation import NEEDS, Need, NotPrepared, prepare


def test_whoever_is_not_root_is_told_what_is_missing_for_whom_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(
        preparation, "NEEDS", (Need("one", "one-package", "these"), Need("two", "two-package", "those"))
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotPrepared, match=r"one \(for these\); two .* apt-get install -y one-package two-package"):
        prepare(lambda line: None)


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: str(need.name))
def test_a_machine_that_lacks_everything_lacks_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, need: Need
) -> None:
    def not_there(name: str) -> None:
        raise OSError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "PACKAGED_SERVERS", tmp_path)
    monkeypatch.setattr(preparation, "FONTS", (str(tmp_path),))
    monkeypatch.setattr(preparation, "FAKETIME", str(tmp_path))
    monkeypatch.setattr(ctypes, "CDLL", not_there)
    assert not need.is_there()


def test_this_machine_lacks_nothing_for_it_is_running_the_tests() -> None:
    assert preparation.missing() == []


def test_a_prepared_machine_is_left_alone() -> None:
    said: list[str] = []
    prepare(said.append)
    said.clear()
    prepare(said.append)
    assert said == []


def test_packages_are_installed_without_a_packaged_cluster_or_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    drop_in = tmp_path / "createcluster.d" / "djactors-tests.conf"
    policy = tmp_path / "policy-rc.d"
    (tmp_path / "apt-get").write_text(
        f'#!/bin/sh\n/bin/cat {drop_in} >> {record}\n{policy}\necho $? "$@" >> {record}\n'
    )
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(preparation, "NO_CLUSTER", drop_in)
    monkeypatch.setattr(preparation, "NO_SERVICES", policy)
    needs = [Need("postgres", "postgresql", "some"), Need("initdb", "postgresql", "some"), Need("curl", "curl", "some")]
    answers = iter([needs, []])
    monkeypatch.setattr(preparation, "missing", lambda: next(answers))
    monkeypatch.setattr(preparation, "install", lambda folder, say: None)
    monkeypatch.setattr(preparation, "build_page", lambda say: None)
    said: list[str] = []

    prepare(said.append)

    assert said == ["installing Debian packages: postgresql curl"]
    assert record.read_text().splitlines() == [
        "create_main_cluster = false",
        "101 update -q",
        "create_main_cluster = false",
        "101 install -q -y --no-install-recommends postgresql curl",
    ]
    assert not drop_in.exists()
    assert not policy.exists()
