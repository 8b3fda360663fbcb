"""The proxies that README puts before one server, as tests run them, and a house for each: a server behind it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.environment.proxies import free_port, running_apache, running_caddy, running_haproxy, running_nginx
from tests.proxies.readme import ONE_SERVER, blocks, fitted
from tests.serving import ServedProcess, serving
from tests.tls import Pair

NAME = "notify.example.com"
CERTIFICATE, KEY, BOTH = (f"/etc/ssl/djactors/{name}.pem" for name in ("fullchain", "privkey", "both"))
SERVER = "127.0.0.1:3000"
SOCKET = "/run/djactors/djactors.sock"


@dataclass(frozen=True)
class Place:
    """Where a test has what README's text names."""

    port: int
    pair: Pair
    server: str
    """The host and port of the server, or the path of its Unix socket."""

    @property
    def both(self) -> Path:
        """Certificate and key in one file."""
        file = self.pair.key.with_name("both.pem")
        file.write_bytes(self.pair.certificate.read_bytes() + self.pair.key.read_bytes())
        return file


def nginx(place: Place) -> str:
    text, _ = blocks("nginx", ONE_SERVER)
    [_, plain, _] = text.split("server {")
    assert "listen 80;" in plain
    return fitted(
        text.replace(plain, "").replace("server {server {", "server {"),
        {
            "    listen [::]:443 ssl;\n": "",
            "listen 443 ssl": f"listen 127.0.0.1:{place.port} ssl",
            CERTIFICATE: str(place.pair.certificate),
            KEY: str(place.pair.key),
            SERVER: place.server,
        },
    )


def nginx_to_a_socket(place: Place) -> str:
    text = nginx(Place(place.port, place.pair, SERVER))
    _, line = blocks("nginx", ONE_SERVER)
    return fitted(text, {f"        proxy_pass http://{SERVER};\n": fitted(line, {SOCKET: place.server})})


def caddy(place: Place) -> str:
    [text] = blocks("caddy", ONE_SERVER)
    own = f"https://127.0.0.1:{place.port} {{\n    tls {place.pair.certificate} {place.pair.key}"
    return fitted(text, {f"{NAME} {{": own, SERVER: place.server})


def apache(place: Place) -> str:
    [text] = blocks("apache", ONE_SERVER)
    files = {CERTIFICATE: str(place.pair.certificate), KEY: str(place.pair.key)}
    return fitted(text, {"*:443": f"127.0.0.1:{place.port}", **files, SERVER: place.server})


def haproxy(place: Place) -> str:
    text, _ = blocks("haproxy", ONE_SERVER)
    return fitted(text, {":443 ": f"127.0.0.1:{place.port} ", BOTH: str(place.both), SERVER: place.server})


def haproxy_that_does_not_look_inside(place: Place) -> str:
    _, text = blocks("haproxy", ONE_SERVER)
    return fitted(text, {":443": f"127.0.0.1:{place.port}", SERVER: place.server})


Run = Callable[[str, int], AbstractContextManager[None]]


@dataclass(frozen=True)
class Way:
    """A proxy, and what djactors is told because of it."""

    text: Callable[[Place], str]
    run: Run
    settings: Mapping[str, str] = field(default_factory=dict)
    by_socket: bool = False
    tls_at_the_server: bool = False


WAYS = [
    Way(nginx, running_nginx),
    Way(nginx_to_a_socket, running_nginx, {"DJACTORS_TRUSTED_PROXIES": "unix"}, by_socket=True),
    Way(caddy, running_caddy),
    Way(apache, running_apache),
    Way(haproxy, running_haproxy),
    Way(
        haproxy_that_does_not_look_inside,
        running_haproxy,
        {"DJACTORS_PROXY_PROTOCOL": "true"},
        tls_at_the_server=True,
    ),
]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.text.__name__)


@asynccontextmanager
async def house(folder: Path, way: Way) -> AsyncIterator[tuple[ServedProcess, str, Pair]]:
    """A server and the proxy before it; yields the server, the proxy's address, and its certificate."""
    pair = Pair(folder)
    settings = {"DJACTORS_TRUSTED_PROXIES": "127.0.0.1", "DJACTORS_LOG_FORMAT": "json", **way.settings}
    if way.tls_at_the_server:
        settings |= pair.environment
    # The proxy's user must reach the socket.
    with tempfile.TemporaryDirectory(prefix="djactors-socket-") as shared:
        Path(shared).chmod(0o755)
        path = f"{shared}/djactors.sock"
        if way.by_socket:
            settings |= {"DJACTORS_UNIX_SOCKET": path, "DJACTORS_UNIX_SOCKET_MODE": "666"}
        async with serving(folder, environment=settings) as server:
            place = Place(free_port(), pair, path if way.by_socket else server.url.partition("://")[2])
            with way.run(way.text(place), place.port):
                yield server, f"https://127.0.0.1:{place.port}", pair
