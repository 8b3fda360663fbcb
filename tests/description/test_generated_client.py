"""The README's way to a client: it is generated from the description, and works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trio

from tests.project.test_readme import PATIENCE, blocks, environment
from tests.serving import make_token, serving


async def test_a_client_is_generated_and_reads_an_inbox(tmp_path: Path) -> None:
    [generate] = [block for block in blocks("sh") if "openapi-python-client" in block]
    [use] = [block for block in blocks("python") if "djactors_client" in block]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    generated = await trio.to_thread.run_sync(
        lambda: subprocess.run(
            ["bash", "-euc", generate],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    )
    assert generated.returncode == 0, generated.stderr
    # Whatever the generator leaves out, it warns of.
    assert "arning" not in generated.stdout + generated.stderr, generated.stderr
    async with serving(tmp_path) as server:
        event = {"type": "notification.requested", "tenantId": 1, "userId": 2, "notificationType": "welcome"}
        assert (await server.publish({**event, "priority": "LOW", "title": "Good morning"})).status == 201
        program = f"url, token = {server.url!r}, {make_token(tenant_id=1, user_id=2)!r}\n{use}"
        used = await trio.run_process(
            [sys.executable, "-c", program], cwd=tmp_path, capture_stdout=True, capture_stderr=True, check=False
        )
    assert (used.returncode, used.stdout) == (0, b"1\n"), used.stderr
