"""Every row of README's checklist has its command, and each command runs as written beside a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import trio

from tests.proxies.readme import README, fitted
from tests.serving import SECRET, make_token, serving

CHECKLIST = README.partition("\n### The checklist\n")[2].partition("\n#")[0]
ROWS = re.findall(r"^\| (.+?) \| `(.+?)` \| (.+?) \|$", CHECKLIST, re.MULTILINE)
PATIENCE = 60

DEPLOYMENT, MONITORING, TROUBLESHOOTING = 8, 4, 4
"""How many rows the design that djactors was made from has of each."""

SHOWN = {
    'journalctl -u djactors --grep \'"level": "[wec]\'': '"level": "warning"',
    "djactors check": "ok   keys",
    'djactors probe --url "$URL"': "ok   websocket",
    'djactors probe --url "$URL" --json': '"check":"websocket"',
    "djactors migrate --check": "is up to date",
    '/opt/djactors/bin/sqlite-utils "$DATABASE" "select min(created_at) from notifications"': '"min(created_at)"',
    "djactors --help": "Commands:",
    'djactors probe --url "$URL" --metrics': "djactors_probe_success",
    "curl -s http://127.0.0.1:3000/metrics": "djactors_delivery_seconds_bucket",
    'du -ch "$DATABASE"*': "inbox.db-wal",
    "journalctl -u djactors --grep connected": '"event": "connected"',
    "journalctl -u djactors -n 100": '"event": "listening"',
    'curl -s -H "Authorization: Bearer $TOKEN" "$URL/api/admin/actors"': '"tree"',
    'curl -s -H "Authorization: Bearer $TOKEN" "$URL/api/notifications/unread-count"': '"count":1',
    "djactors inbox --tenant 1 --user 7": "Banner",
}
"""What a command prints; of the others it is enough that they run."""

JOURNAL = """\
#!/bin/sh
case "$*" in
*--grep*) for pattern; do :; done; grep -e "$pattern" errors.log ;;
*) cat errors.log ;;
esac
"""
"""systemd is not the init of whatever runs the tests, so its journal is the server's standard error."""


def test_the_checklist_has_every_row_of_the_design() -> None:
    assert len(ROWS) == DEPLOYMENT + MONITORING + TROUBLESHOOTING
    assert set(SHOWN) <= {command for _, command, _ in ROWS}


async def test_each_command_runs_as_written(tmp_path: Path) -> None:
    programs = Path(sys.prefix, "bin")
    (tmp_path / "journalctl").write_text(JOURNAL)
    (tmp_path / "journalctl").chmod(0o755)
    settings = {"DJACTORS_LOG_FORMAT": "json", "DJACTORS_MAX_CONNECTIONS": "500"}
    async with serving(tmp_path, environment=settings) as server:
        event = {
            "type": "notification.requested",
            "tenantId": 1,
            "userId": 7,
            "notificationType": "told",
            "priority": "HIGH",
            "title": "Banner",
        }
        assert (await server.publish(event)).status == 201
        # An installation has had something to tell: somebody with a wrong token.
        assert (await server.request("GET", "/api/notifications", token="a.b.c")).status == 401
        environment = {
            **os.environ,
            **settings,
            "PATH": os.pathsep.join([str(tmp_path), str(programs), os.environ["PATH"]]),
            "JWT_SECRET": SECRET,
            "DJACTORS_DATABASE": str(server.database),
            "DATABASE": str(server.database),
            "URL": server.url,
            "TOKEN": make_token(tenant_id=1, user_id=7, role="admin"),
        }
        places = {
            "/var/log/djactors/current": "errors.log",
            "/opt/djactors/bin/": f"{programs}/",
            "http://127.0.0.1:3000": server.url,
        }
        # Without systemd, the log is a file of what the server has written.
        instead = [
            ("with runit", found, "") for *_, told in ROWS for found in re.findall(r"with runit, `([^`]+)`", told)
        ]
        assert len(instead) == sum("journalctl" in command for _, command, _ in ROWS)
        for what, command, _ in [*ROWS, *instead]:
            text = fitted(command, {old: new for old, new in places.items() if old in command})
            with trio.fail_after(PATIENCE):
                done = await trio.run_process(
                    ["bash", "-euc", text],
                    cwd=tmp_path,
                    env=environment,
                    capture_stdout=True,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            output = done.stdout.decode()
            assert done.returncode == 0, f"{what} {command}: {output}"
            assert SHOWN.get(command, "") in output, f"{what} {command}: {output}"
