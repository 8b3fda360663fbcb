"""The wheel is complete: installed into a fresh virtual environment, outside the checkout, it migrates and serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import make_token, serving

ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a virtual environment that holds nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", ROOT, cwd=folder)
    [wheel] = (folder / "dist").glob("*.whl")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    run(folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=folder)
    return folder / "venv/bin"


def test_the_wheel_carries_the_migrations(installed: Path, tmp_path: Path) -> None:
    where = run(
        installed / "python", "-c", "import djactors.store.migrate as m; print(m.migrations_directory())", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)
    migrated = run(installed / "djactors", "migrate", "--database", "inbox.db", cwd=tmp_path)
    names = [path.name for path in sorted((ROOT / "migrations").glob("*.sql"))]
    assert migrated.splitlines() == [*(f"applied {name}" for name in names), "inbox.db is up to date"]


async def test_the_installed_server_serves(installed: Path, tmp_path: Path) -> None:
    async with serving(tmp_path, command=(str(installed / "djactors"), "serve")) as server:
        posted = await server.publish({"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 3})
        assert posted.status == 201
        token = make_token(tenant_id=1, user_id=3)
        listed = await server.request("GET", "/api/notifications", token=token)
        assert [item["title"] for item in listed.json["items"]] == ["Job 5 assigned to you"]
        assert await server.stop() == 0
