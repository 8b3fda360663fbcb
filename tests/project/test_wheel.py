"""The wheel is complete: built without Node and installed into a fresh virtual environment, outside the checkout, it
migrates, serves, and shows the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest

from djactors import __version__
from tests.serving import make_token, serving

ROOT = Path(__file__).parent.parent.parent


WEB = ROOT / "djactors/web"
ONLY_WHAT_IS_INSTALLED = {"PYTHONPATH": ""}
"""Else a checkout that the tests were told to use would stand in for the wheel."""


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    variables = {**os.environ, **ONLY_WHAT_IS_INSTALLED, **(environment or {})}
    done = subprocess.run(
        command, cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the sdist, from what git tracks, where the machine itself has no Node."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = run("git", "ls-files", "-z", "djactors", "migrations", cwd=ROOT).split("\0")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore", *filter(None, tracked)):
        if (ROOT / name).exists():
            (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "checkout" / name)
    (folder / "bin").mkdir()
    shell = shutil.which("sh")
    assert shell is not None
    (folder / "bin/sh").symlink_to(shell)
    without_node = {"PATH": str(folder / "bin")}
    checkout = folder / "checkout"
    run(sys.executable, "-m", "build", "--outdir", folder / "out", checkout, cwd=folder, environment=without_node)
    [built] = (folder / "out").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The `bin` folder of a virtual environment that holds nothing but the wheel and what it asks for."""
    folder = wheel.parent.parent
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    run(folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=folder)
    return folder / "venv/bin"


def test_the_wheel_carries_the_page_and_nothing_that_only_builds_it(wheel: Path) -> None:
    names = [name.removeprefix("djactors/web/") for name in ZipFile(wheel).namelist() if "djactors/web/" in name]
    assert "dist/index.html" in names
    assert any(re.fullmatch(r"dist/assets/index-[\w-]+\.js", name) for name in names)
    assert {"dist/socket.io/socket.io.js", "dist/socket.io/socket.io.esm.min.js.map"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"dist"}


def test_the_wheel_carries_the_licence_and_says_which_version_it_is(wheel: Path, installed: Path) -> None:
    with ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        folder = metadata.rpartition("/")[0]
        assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        lines = archive.read(metadata).decode().splitlines()
    assert f"Version: {__version__}" in lines
    assert "License-Expression: Apache-2.0" in lines
    assert "License-File: LICENSE" in lines
    assert run(installed / "djactors", "--version", cwd=wheel.parent) == f"djactors, version {__version__}\n"


def test_the_lock_file_holds_all_that_the_page_asks_for() -> None:
    asked = json.loads((WEB / "package.json").read_text())
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"][""]
    for kind in ("dependencies", "devDependencies"):
        assert asked[kind] == locked[kind]


def test_the_lock_file_proves_what_every_platform_installs() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    unproved = [name for name, entry in packages.items() if name and not entry.get("inBundle", "integrity" in entry)]
    assert unproved == []


def test_the_wheel_carries_the_migrations(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed / "python", "-c", "import djactors.inbox.schema as m; print(m.migrations_directory())", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)
    migrated = run(installed / "djactors", "migrate", "--database", "inbox.db", cwd=tmp_path)
    names = [path.name for path in sorted((ROOT / "migrations").glob("*.sql"))]
    assert migrated.splitlines() == [*(f"applied {name}" for name in names), "inbox.db is up to date"]


def test_the_wheel_carries_what_prometheus_and_grafana_load(installed: Path, tmp_path: Path) -> None:
    for option, name in (("--alerts", "alerts.yml"), ("--dashboard", "dashboard.json")):
        printed = run(installed / "djactors", "monitoring", option, cwd=tmp_path)
        assert printed == (ROOT / "djactors/monitoring" / name).read_text()


def test_the_wheel_carries_the_examples_as_they_are(installed: Path, tmp_path: Path) -> None:
    package = run(installed / "python", "-c", "import djactors; print(djactors.__path__[0])", cwd=tmp_path).strip()
    tracked = run("git", "ls-files", "djactors/examples", cwd=ROOT).split()
    assert len(tracked) > 10
    for name in tracked:
        there = Path(package).parent / name
        assert there.read_bytes() == (ROOT / name).read_bytes()
        assert os.access(there, os.X_OK) == os.access(ROOT / name, os.X_OK)


async def test_the_installed_server_serves(installed: Path, tmp_path: Path) -> None:
    command = (str(installed / "djactors"), "serve")
    async with serving(tmp_path, command=command, environment=ONLY_WHAT_IS_INSTALLED) as server:
        posted = await server.publish({"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 3})
        assert posted.status == 201
        token = make_token(tenant_id=1, user_id=3)
        listed = await server.request("GET", "/api/notifications", token=token)
        assert [item["title"] for item in listed.json["items"]] == ["Job 5 assigned to you"]
        index = await server.request("GET", "/")
        assert (index.status, index.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assets = re.findall(r'(?:src|href)="(/[^"]+)"', index.body.decode())
        assert any(path.startswith("/assets/") for path in assets)
        for path in assets:
            assert (await server.request("GET", path)).status == 200
        assert await server.stop() == 0
