"""`djactors probe` through a real nginx: with its defaults, and as the README configures it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.environment.proxies import free_port, running_nginx
from tests.operations.test_embedding import running, settings
from tests.operations.test_probe import findings
from tests.project.test_readme import README

BARE = "server { location / { proxy_pass http://127.0.0.1:3000; } }"


def of_readme() -> str:
    """What the README says of nginx in front of one server."""
    return re.findall(r"^```nginx\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0]


@contextmanager
def nginx(text: str, server: str) -> Iterator[str]:
    """Run it in front of the server; yields its address."""
    port = free_port()
    text = text.replace("http://127.0.0.1:3000", server).replace("server {", f"server {{ listen 127.0.0.1:{port};", 1)
    with running_nginx(text, port):
        yield f"http://127.0.0.1:{port}"


async def test_a17_and_f2_a_bare_proxy_pass_is_named(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        with nginx(BARE, server.url) as url:
            assert await findings(url) == {
                "page": "host_changed",
                "websocket": "websocket_not_passed",
                "upgrade": "upgrade_failed",
                "batch": "body_too_large",
            }


async def test_what_the_readme_says_of_nginx_is_right(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        with nginx(of_readme(), server.url) as url:
            assert await findings(url) == {}


async def test_a_timeout_of_nginx_that_is_shorter_than_the_pings_is_named(tmp_path: Path) -> None:
    short = of_readme().replace("proxy_read_timeout 60s", "proxy_read_timeout 1s")
    async with running(settings(tmp_path)) as server:
        with nginx(short, server.url) as url:
            assert await findings(url, idle=3) == {"idle": "idle_cut"}
