"""A machine is prepared once, and only by those who may."""

import os
from pathlib import Path

import pytest

from tests.environment import preparation
from tests.environment.preparation import NotPrepared, prepare


def test_whoever_is_not_root_is_told_which_packages_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(preparation, "missing_packages", lambda: ["postgresql", "nodejs", "npm"])
    with pytest.raises(NotPrepared, match="apt-get install -y postgresql nodejs npm"):
        prepare(lambda line: None)


def test_a_machine_without_node_lacks_node_and_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "chromium").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert preparation.missing_packages() == ["ca-certificates", "nodejs", "npm"]


def test_a_machine_without_a_browser_gets_one_and_a_font_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "find_chromium", lambda: None)
    assert preparation.missing_packages() == ["chromium", "fonts-dejavu-core"]


def test_a_machine_with_an_old_node_gets_a_newer_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, output in {"node": "v16.20.2", "npm": "8.19.4", "chromium": "Chromium 150"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {output}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert preparation.missing_packages() == ["ca-certificates", "nodejs", "npm"]


def test_a_prepared_machine_is_left_alone() -> None:
    said: list[str] = []
    prepare(said.append)
    said.clear()
    prepare(said.append)
    assert said == []


def test_packages_are_installed_without_a_packaged_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = tmp_path / "record"
    drop_in = tmp_path / "createcluster.d" / "djactors-tests.conf"
    (tmp_path / "apt-get").write_text(f'#!/bin/sh\n/bin/cat {drop_in} >> {record}\necho "$@" >> {record}\n')
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(preparation, "NO_CLUSTER", drop_in)
    answers = iter([["postgresql"], []])
    monkeypatch.setattr(preparation, "missing_packages", lambda: next(answers))
    monkeypatch.setattr(preparation, "_install_clients", lambda say: None)
    monkeypatch.setattr(preparation, "build_page", lambda say: None)
    said: list[str] = []

    prepare(said.append)

    assert said == ["installing Debian packages: postgresql"]
    assert record.read_text().splitlines() == [
        "create_main_cluster = false",
        "update -q",
        "create_main_cluster = false",
        "install -q -y --no-install-recommends postgresql",
    ]
    assert not drop_in.exists()
