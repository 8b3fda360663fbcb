"""The web page over HTTP: its files, in the form that a browser takes, under a policy that lets nothing foreign in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, cast

import pytest

from djactors.edge import site as site_module
from djactors.edge.routes import Application
from djactors.edge.site import BUILD_COMMAND, BUILT, CLIENT_PATHS, Site
from djactors.engine import OriginPolicy
from djactors.net import Request, Response
from djactors.telemetry import Telemetry
from tests.edge.rooms import Rooms

INDEX = b"<!doctype html>" + b"<p>page</p>" * 100
SCRIPT = b"console.log('hello')\n" * 100
FONT = bytes(range(256)) * 10
FILES = {
    "index.html": INDEX,
    "favicon.svg": b"<svg/>" + b" " * 500,
    "assets/index-CzheYFQE.js": SCRIPT,
    "assets/inter-Dx4kXJAl.woff2": FONT,
    ".vite/manifest.json": b"{}",
}
SCRIPT_PATH = "/assets/index-CzheYFQE.js"
PATHS = ["/", "/observer", "/favicon.svg", SCRIPT_PATH, "/assets/inter-Dx4kXJAl.woff2"]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "dist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "dist"


@pytest.fixture
def site(built: Path) -> Site:
    return Site.load(built)


def get(site: Site, path: str, method: str = "GET", **headers: str) -> Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    assert path in site.paths
    response = site.answer(Request(method, path, headers=fields))
    response.encode()
    return response


def headers(response: Response) -> dict[str, str]:
    found = dict(response.headers)
    assert len(found) == len(response.headers)
    return found


@pytest.mark.parametrize(
    ("path", "content", "content_type"),
    [
        ("/", INDEX, "text/html; charset=utf-8"),
        ("/observer", INDEX, "text/html; charset=utf-8"),
        ("/favicon.svg", FILES["favicon.svg"], "image/svg+xml"),
        (SCRIPT_PATH, SCRIPT, "text/javascript; charset=utf-8"),
        ("/assets/inter-Dx4kXJAl.woff2", FONT, "font/woff2"),
    ],
)
def test_every_file_of_the_build_is_served_with_its_type(
    site: Site, path: str, content: bytes, content_type: str
) -> None:
    response = get(site, path)
    assert (response.status, response.body, response.content_type) == (200, content, content_type)


def test_files_with_a_hash_are_kept_for_good_and_the_rest_is_asked_for_again(site: Site) -> None:
    kept = {path: headers(get(site, path))["cache-control"] for path in PATHS}
    assert kept.pop(SCRIPT_PATH) == kept.pop("/assets/inter-Dx4kXJAl.woff2") == "public, max-age=31536000, immutable"
    assert set(kept.values()) == {"no-cache"}


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("*;q=0.1", True),
        ("", False),
        ("br", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        (";;,=", False),
    ],
)
def test_a_client_gets_the_form_that_it_takes(site: Site, accepted: str, compressed: bool) -> None:
    response = get(site, SCRIPT_PATH, accept_encoding=accepted)
    found = headers(response)
    assert found["vary"] == "accept-encoding"
    assert found.get("content-encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(response.body) if compressed else response.body) == SCRIPT
    assert (len(response.body) < len(SCRIPT)) is compressed


def test_what_is_compressed_in_itself_has_one_form(site: Site) -> None:
    response = get(site, "/assets/inter-Dx4kXJAl.woff2", accept_encoding="gzip")
    assert response.body == FONT
    assert not {"vary", "content-encoding"} & headers(response).keys()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accepted", ["gzip", ""])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_a_browser_that_has_a_file_is_not_sent_it_again(site: Site, path: str, accepted: str, form: str) -> None:
    first = get(site, path, accept_encoding=accepted)
    tag = headers(first)["etag"]
    again = get(site, path, accept_encoding=accepted, if_none_match=form.format(tag))
    assert (again.status, again.body) == (304, b"")
    assert headers(again) == headers(first)
    assert get(site, path, accept_encoding=accepted, if_none_match='"other"').status == 200


def test_the_forms_of_a_file_are_told_apart(site: Site) -> None:
    plain, compressed = get(site, "/"), get(site, "/", accept_encoding="gzip")
    assert headers(plain)["etag"] != headers(compressed)["etag"]


def test_a_tag_outlives_a_restart_and_changes_with_the_file(built: Path, site: Site) -> None:
    def tag(of: Site) -> str:
        return headers(get(of, "/", accept_encoding="gzip"))["etag"]

    assert tag(Site.load(built)) == tag(site)
    (built / "index.html").write_bytes(INDEX.replace(b"page", b"news"))
    assert tag(Site.load(built)) != tag(site)


def test_head_tells_the_length_and_sends_nothing(site: Site) -> None:
    response = get(site, "/", "HEAD")
    head, _, body = response.encode(head_only=True).partition(b"\r\n\r\n")
    assert f"content-length: {len(INDEX)}".encode() in head
    assert body == b""


@pytest.mark.parametrize("path", PATHS)
def test_nothing_foreign_runs_in_the_page_or_frames_it(site: Site, path: str) -> None:
    found = headers(get(site, path))
    rules = dict(rule.split(" ", 1) for rule in found["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in found["content-security-policy"]
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] == "no-referrer"
    assert found["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "get"])
@pytest.mark.parametrize("path", ["/", "/observer", SCRIPT_PATH])
def test_the_page_is_only_read(site: Site, method: str, path: str) -> None:
    response = get(site, path, method)
    assert response.status == 405
    assert dict(response.headers)["allow"] == "GET"


@pytest.mark.parametrize(
    "path",
    [
        "/assets",
        "/assets/",
        "/assets/other.js",
        "/assets/../index.html",
        "/../secret.txt",
        "/assets/../../secret.txt",
        "//index.html",
        "/index.html/",
        "/.vite/manifest.json",
        "/assets\\index-CzheYFQE.js",
        "/assets/index-CzheYFQE.js\0",
        "index.html",
        "",
    ],
)
def test_no_other_path_leads_to_a_file(built: Path, path: str) -> None:
    (built.parent / "secret.txt").write_text("secret")
    assert path not in Site.load(built).paths


def test_a_file_that_came_after_the_start_is_not_served(built: Path, site: Site) -> None:
    (built / "assets/late.js").write_text("late")
    assert "/assets/late.js" not in site.paths


@pytest.mark.parametrize("path", ["/", "/observer"])
def test_without_a_build_the_page_says_how_to_build_it(tmp_path: Path, path: str) -> None:
    site = Site.load(tmp_path / "dist")
    response = get(site, path)
    assert response.status == 503
    assert response.content_type == "text/plain; charset=utf-8"
    assert BUILD_COMMAND in response.body.decode()
    assert headers(response)["cache-control"] == "no-store"
    assert site.problem == "it is not built"


def test_a_build_too_large_for_memory_is_not_served(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_module, "MAX_BYTES", sum(map(len, FILES.values())) - 10)
    site = Site.load(built)
    assert "more than" in str(site.problem)
    assert get(site, "/").status == 503
    assert SCRIPT_PATH not in site.paths


async def test_the_page_needs_no_token_and_the_routes_behind_it_answer_as_ever(house: Rooms, site: Site) -> None:
    application = Application(cast(Any, None), site, house.routes, OriginPolicy(), Telemetry())
    for path in PATHS:
        assert (await application.handle(Request("GET", path, headers={"host": "here"}))).status == 200
    assert (await application.handle(Request("GET", "/api/notifications"))).status == 401
    assert (await application.handle(Request("GET", "/healthz"))).status == 200
    assert (await application.handle(Request("GET", "/nothing"))).status == 404
    assert (await application.handle(Request("OPTIONS", "/"))).status == 204


CLIENT = {
    f"socket.io/{name}": b"/*!\n * Socket.IO v4.8.4\n */\n" + name.encode() * 100
    for name in (
        "socket.io.js",
        "socket.io.js.map",
        "socket.io.min.js",
        "socket.io.min.js.map",
        "socket.io.esm.min.js",
        "socket.io.esm.min.js.map",
    )
}


@pytest.fixture
def with_client() -> Site:
    return Site({**FILES, **CLIENT})


@pytest.mark.parametrize("name", CLIENT)
def test_f11_the_stock_client_is_at_the_reference_servers_paths(with_client: Site, name: str) -> None:
    response = get(with_client, f"/{name}")
    found = headers(response)
    kind = "application/json" if name.endswith(".map") else "text/javascript; charset=utf-8"
    assert (response.status, response.body, response.content_type) == (200, CLIENT[name], kind)
    assert found["cache-control"] == "no-cache"
    assert found["access-control-allow-origin"] == "*"
    compressed = get(with_client, f"/{name}", accept_encoding="gzip")
    assert gzip.decompress(compressed.body) == CLIENT[name]
    assert headers(compressed)["etag"] != found["etag"]
    again = get(with_client, f"/{name}", if_none_match=found["etag"], origin="https://app.test")
    assert (again.status, again.body) == (304, b"")
    assert headers(again)["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("name", CLIENT)
def test_f11_a_build_without_the_client_says_where_to_get_it(site: Site, name: str) -> None:
    response = get(site, f"/{name}")
    assert (response.status, response.content_type) == (404, "text/plain; charset=utf-8")
    assert "npm" in response.body.decode()
    assert BUILD_COMMAND in response.body.decode()
    assert headers(response)["cache-control"] == "no-store"


def test_f11_the_pages_build_brings_the_client_whose_version_it_was_tested_with() -> None:
    lock = json.loads((BUILT.parent / "package-lock.json").read_text())
    version = lock["packages"]["node_modules/socket.io-client"]["version"]
    real = Site.load()
    for path in CLIENT_PATHS:
        response = get(real, path)
        assert response.status == 200
        if not path.endswith(".map"):
            assert response.body.startswith(f"/*!\n * Socket.IO v{version}\n".encode())
