"""README's two commands start PostgreSQL and two nodes behind a proxy, and a page on one shows what is posted to the
other.

The package manager is not run, and `sudo` becomes nobody else: the database server is that of the tests.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import trio
from psycopg.conninfo import conninfo_to_dict

from tests.clients.driver import stock_client
from tests.environment.proxies import free_port, with_ports
from tests.proxies.readme import blocks
from tests.serving import send_request

PATIENCE = 60

AS_ROOT = '#!/bin/sh\n[ "$1" = -u ] && shift 2\nexec "$@"\n'
DONE = "#!/bin/sh\n"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def server(postgres_dsn: str) -> Iterator[str]:
    """Where the database server is; what the command has made there is gone afterwards."""
    yield str(conninfo_to_dict(postgres_dsn)["host"])
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS djactors WITH (FORCE)")
        connection.execute("DROP ROLE IF EXISTS djactors")


async def test_two_commands_start_a_database_and_two_nodes_behind_a_proxy(tmp_path: Path, server: str) -> None:
    prepare, start = blocks("sh")
    ports = dict(zip((3000, 3001, 3002), (free_port(), free_port(), free_port()), strict=True))
    nodes = {port: ports[port] for port in (3001, 3002)}
    (tmp_path / "haproxy.cfg").write_text(with_ports(blocks("haproxy")[0], ports))
    start = with_ports(start, nodes).replace("@localhost/", f"@{quote(server, safe='')}/")
    program(tmp_path / "bin/sudo", AS_ROOT)
    program(tmp_path / "bin/apt-get", DONE)
    program(tmp_path / ".venv/bin/pip", DONE)
    (tmp_path / ".venv/bin/djactors").symlink_to(Path(sys.prefix, "bin", "djactors"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("DJACTORS_", "JWT_"))},
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": server,
        "PGUSER": "postgres",
    }
    done = subprocess.run(["bash", "-euc", prepare], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0
    started = await trio.lowlevel.open_process(
        ["bash", "-euc", start],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        links = await links_of(started)
        assert sorted(links) == sorted(nodes.values())
        async with stock_client("js") as clients:
            [one, other] = [
                await clients.connect(f"http://127.0.0.1:{port}", auth={"token": token})
                for port, token in links.items()
            ]
            for socket in (one, other):
                await socket.expect("event", name="notification:unread-count")
            # Whoever has the link is a person, and a job of theirs is a change that both pages show.
            [(port, token), (_, again)] = links.items()
            url = f"http://127.0.0.1:{port}"
            job = {"title": "Banner", "assigneeId": 7}
            answer = await send_request(url, "POST", "/api/jobs", token=token, body=job)
            assert answer.status == 201, answer.body
            for socket in (one, other):
                with trio.fail_after(PATIENCE):
                    assert (await socket.expect("event", name="job:updated")).args[0]["job"]["title"] == "Banner"
            behind = await send_request(f"http://127.0.0.1:{ports[3000]}", "GET", "/api/jobs", token=again)
            assert [item["title"] for item in behind.json["items"]] == ["Banner"]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGTERM)
        with trio.CancelScope(shield=True):
            await started.wait()
            assert started.stdout is not None
            await started.stdout.aclose()


async def links_of(started: trio.Process) -> dict[int, str]:
    """The tokens of the links that were printed, by port, once both nodes listen."""
    text = ""
    assert started.stdout is not None
    with trio.move_on_after(PATIENCE):
        async for chunk in started.stdout:
            text += bytes(chunk).decode()
            links = {int(port): token for port, token in re.findall(r"http://localhost:(\d+)/#token=(\S+)\n", text)}
            if text.count("listening on http://") == 2 and len(links) == 2:
                return links
    raise AssertionError(text)
