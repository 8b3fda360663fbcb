"""Pages of other origins, pages behind a proxy that changes the Host, and old clients: what Chromium makes of each."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.site import BOB, Site, Studio, running_site
from tests.web.visitor import Visitor, open_visitor

OLD_CLIENT = Path(__file__).parent.parent / "clients" / "node_modules" / "socket.io-client-3" / "dist" / "socket.io.js"

CONNECT = """async ({ url, options }) => {
  const socket = io(url, { forceNew: true, reconnectionDelay: 200, ...options })
  try {
    return await new Promise((resolve) => {
      const tell = (what) => (said) => resolve([what, said?.message ?? socket.io.engine.transport.name])
      socket.on('connect', tell('connect'))
      socket.on('connect_error', tell('connect_error'))
    })
  } finally {
    socket.close()
  }
}"""


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server on a free port of this machine; its threads end with it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Host(Quiet):
    """Another server, whose page loads no script of ours by itself."""

    def do_GET(self) -> None:
        if self.path == "/old-client.js":
            self.answer(200, "text/javascript", OLD_CLIENT.read_bytes())
        else:
            self.answer(200, "text/html", b"<!doctype html><link rel=icon href=data:,><title>another page</title>")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, int]]:
    """A site, and the port of another server, of which the site allows `localhost` and one label more."""
    with http_server(Host) as port:
        allowed = f"http://localhost:{port},http://*.localhost:{port}"
        with running_site(tmp_path_factory.mktemp("others"), {"DJACTORS_ALLOWED_ORIGINS": allowed}) as site:
            yield site, port


@pytest.fixture
def page_of(browser: Browser, others: tuple[Site, int]) -> Iterator[Callable[..., Page]]:
    """`page_of("localhost")`: a page of the other server there, with our server's stock client in it."""
    site, port = others
    contexts = []

    def load(host: str, script: str = f"{site.url}/socket.io/socket.io.js") -> Page:
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.goto(f"http://{host}:{port}/")
        page.add_script_tag(url=script)
        return page

    yield load
    for context in contexts:
        context.close()


def connect(page: Page, site: Site, **options: Any) -> list[str]:
    """What becomes of the stock client's first attempt: (event, message or transport)."""
    auth = {"token": Studio(site).token(BOB)}
    return list(page.evaluate(CONNECT, {"url": site.url, "options": {"auth": auth, **options}}))


@pytest.mark.parametrize("host", ["localhost", "app.localhost"])
@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_f4_a_page_of_a_listed_origin_connects(
    page_of: Callable[..., Page], others: tuple[Site, int], host: str, transport: str
) -> None:
    assert connect(page_of(host), others[0], transports=[transport]) == ["connect", transport]


@pytest.mark.parametrize("host", ["127.0.0.1", "a.app.localhost"])
@pytest.mark.parametrize("transport", ["polling", "websocket"])
def test_f4_a_page_of_any_other_origin_does_not(
    page_of: Callable[..., Page], others: tuple[Site, int], host: str, transport: str
) -> None:
    assert connect(page_of(host), others[0], transports=[transport])[0] == "connect_error"


def test_f3_an_allowed_page_may_send_headers_of_its_own(page_of: Callable[..., Page], others: tuple[Site, int]) -> None:
    headers = {"X-Tenant": "7", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    page = page_of("localhost")
    assert connect(page, others[0], transports=["polling"], extraHeaders=headers) == ["connect", "polling"]
    status = page.evaluate(
        "async (url) => (await fetch(url, { headers: { Authorization: 'Bearer x', 'X-Tenant': '7' } })).status",
        f"{others[0].url}/api/notifications",
    )
    assert status == 401


def test_f5_a_page_that_offers_subprotocols_connects(page_of: Callable[..., Page], others: tuple[Site, int]) -> None:
    options = {"transports": ["websocket"], "protocols": ["chat.v2", "chat"]}
    assert connect(page_of("localhost"), others[0], **options) == ["connect", "websocket"]


def test_f9_a_client_that_polls_by_jsonp_shows_why_it_is_refused(
    page_of: Callable[..., Page], others: tuple[Site, int]
) -> None:
    page = page_of("localhost", "/old-client.js")
    what, said = connect(page, others[0], transports=["polling"], forceJSONP=True)
    assert what == "connect_error"
    assert said.startswith("JSONP polling is not served here: let the client poll by XMLHttpRequest or use WebSocket")


@pytest.mark.parametrize("form", ["socket.io.js", "socket.io.min.js"])
def test_f11_a_page_of_any_origin_may_load_the_client(
    page_of: Callable[..., Page], others: tuple[Site, int], form: str
) -> None:
    assert page_of("127.0.0.1", f"{others[0].url}/socket.io/{form}").evaluate("typeof io.Manager") == "function"


def test_f11_the_client_can_be_imported_as_a_module(page_of: Callable[..., Page], others: tuple[Site, int]) -> None:
    url = f"{others[0].url}/socket.io/socket.io.esm.min.js"
    page = page_of("127.0.0.1")
    assert page.evaluate("async (url) => (await import(url)).protocol", url) == 5


# A17


def proxy_before(site: Site, host: list[str]) -> AbstractContextManager[int]:
    """A proxy that passes on the Host in `host`, like an nginx that sets none; where it is empty, the client's."""

    class Proxy(Quiet):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            there = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=60)
            try:
                there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    there.putheader(name, host[0] if name == "Host" and host else value)
                there.endheaders(body)
                answer = there.getresponse()
                # Of the WebSockets only refusals are passed on; the page polls.
                status = 502 if answer.status == 101 else answer.status
                content = b"" if status == 502 else answer.read()
            except OSError:
                return
            finally:
                there.close()
            self.send_response(status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "connection", "date"):
                    self.send_header(name, value)
            if status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_DELETE = do_OPTIONS = do_HEAD = do_GET

    return http_server(Proxy)


def test_a17_a_page_whose_origin_is_refused_says_so_and_why_and_connects_once_that_is_mended(
    browser: Browser, site: Site
) -> None:
    host = ["backend:3000"]
    studio = Studio(site)
    with proxy_before(site, host) as port:
        behind = Site(Path())
        behind.url = f"http://127.0.0.1:{port}"
        bob: Visitor = open_visitor(browser, behind, "Bob")
        bob.expects(r"403 \(Forbidden\)", r"502 \(Bad Gateway\)", r"WebSocket connection to .* failed")
        try:
            bob.page.goto(f"{behind.url}/#token={studio.token(BOB)}")
            alert = bob.page.get_by_test_id("refused-page")
            expect(alert).to_contain_text(behind.url)
            expect(alert).to_contain_text("pass the Host header on unchanged")
            expect(alert).to_contain_text("DJACTORS_ALLOWED_ORIGINS")
            state = bob.page.get_by_test_id("connection-state")
            expect(state).to_have_attribute("data-state", "refused")
            expect(state).to_contain_text("Refused")
            bob.expect_accessible()
            bob.page.set_viewport_size({"width": 360, "height": 740})
            bob.expect_no_sideways_scroll()
            host.clear()
            bob.expect_connected()
            expect(alert).to_have_count(0)
        finally:
            bob.leave()
