"""`djactors probe` through a real nginx, where there is one: with its defaults, and as the README configures it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.operations.test_embedding import running, settings
from tests.operations.test_probe import findings
from tests.project.test_readme import README, free_port

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
PATIENCE = 30

pytestmark = pytest.mark.skipif(NGINX is None, reason="this machine has no nginx")

FRAME = """
daemon off;
worker_processes 1;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 200; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {inside}
}}
"""
BARE = "server { location / { proxy_pass http://127.0.0.1:3000; } }"


def of_readme() -> str:
    [block] = re.findall(r"^```nginx\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(block)


@asynccontextmanager
async def nginx(folder: Path, inside: str, server: str) -> AsyncIterator[str]:
    """Run it in front of the server; yields its address."""
    assert NGINX is not None
    port = free_port()
    text = inside.replace("http://127.0.0.1:3000", server).replace("server {", f"server {{ listen 127.0.0.1:{port};", 1)
    file = folder / "nginx.conf"
    file.write_text(FRAME.format(folder=folder, inside=text))
    # It complains of its own folder's log before it has read where the log is.
    process = await trio.lowlevel.open_process([NGINX, "-c", file, "-p", folder], stderr=subprocess.DEVNULL)
    try:
        with trio.fail_after(PATIENCE):
            while True:
                assert process.returncode is None, (folder / "error.log").read_text()
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


async def test_a17_and_f2_a_bare_proxy_pass_is_named(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server, nginx(tmp_path, BARE, server.url) as url:
        assert await findings(url) == {
            "page": "host_changed",
            "websocket": "websocket_not_passed",
            "upgrade": "upgrade_failed",
            "batch": "body_too_large",
        }


async def test_what_the_readme_says_of_nginx_is_right(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server, nginx(tmp_path, of_readme(), server.url) as url:
        assert await findings(url) == {}


async def test_a_timeout_of_nginx_that_is_shorter_than_the_pings_is_named(tmp_path: Path) -> None:
    short = of_readme().replace("proxy_read_timeout 60s", "proxy_read_timeout 1s")
    async with running(settings(tmp_path)) as server, nginx(tmp_path, short, server.url) as url:
        assert await findings(url, idle=3) == {"idle": "idle_cut"}
