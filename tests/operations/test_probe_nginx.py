"""`djactors probe` through a real nginx that is wrong: with its defaults, and with a timeout that is too short.

What README says of nginx is right, as the tests of every proxy show (`tests/proxies`).
"""

from __future__ import annotations

from pathlib import Path

from tests.environment.proxies import free_port, running_nginx
from tests.operations.test_embedding import running, settings
from tests.operations.test_probe import findings
from tests.proxies.ways import Place, Way, house, nginx

BARE = "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {server}; }} }}"


async def test_a17_and_f2_a_bare_proxy_pass_is_named(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        port = free_port()
        with running_nginx(BARE.format(port=port, server=server.url), port):
            assert await findings(f"http://127.0.0.1:{port}") == {
                "page": "host_changed",
                "websocket": "websocket_not_passed",
                "upgrade": "upgrade_failed",
                "batch": "body_too_large",
            }


def impatient_nginx(place: Place) -> str:
    return nginx(place).replace("proxy_read_timeout 60s", "proxy_read_timeout 1s")


async def test_a_timeout_of_nginx_that_is_shorter_than_the_pings_is_named(tmp_path: Path) -> None:
    async with house(tmp_path, Way(impatient_nginx, running_nginx)) as (_, url, pair):
        assert await findings(url, ca=str(pair.authority), idle=3) == {"idle": "idle_cut"}
