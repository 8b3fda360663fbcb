"""The package for other applications, as one of them has it.

It is packed, installed by the application's own lock file, type-checked, built with the newest Vite, and served from
another origin than djactors.

The application is `djactors/web/examples/host`. It has no Tailwind, and rules for elements and class names that would
show wherever the package relied on nobody having any.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from djactors.web.build import WEB
from djactors.web.node import install, npm
from tests.web.site import ALICE, BOB, Site, Studio, running_site
from tests.web.test_other_origins import Quiet, http_server
from tests.web.visitor import Visitor, open_visitor

PACKAGE = WEB / "packages" / "react"
HOST = WEB / "examples" / "host"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def built(script: str, *arguments: str, folder: Path) -> str:
    done = npm(script, *arguments, folder=folder, capture=True)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the application with the package and all else in its lock file installed."""
    folder = tmp_path_factory.mktemp("installed") / "host"
    shutil.copytree(HOST, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "*.tgz"))
    packing = folder.parent / "packed"
    packing.mkdir()
    built("pack", "--pack-destination", str(packing), folder=PACKAGE)
    [packed] = packing.glob("*.tgz")
    packed.rename(folder / "djactors-react.tgz")
    install(folder, print)
    return folder


class Host:
    """The application's own server: its files, and the tokens that it signs for whoever asks."""

    def __init__(self) -> None:
        self.files = Path()
        self.tokens: list[str] = []
        """The next answers of `/acme/token`; the last one is given again and again."""
        self.asked = 0
        self.port = 0


@pytest.fixture(scope="module")
def host(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Site]]:
    """The application, served, and the djactors that allows its origin on 127.0.0.1, but not on localhost."""
    acme = Host()

    class Handler(Quiet):
        def do_GET(self) -> None:
            file = acme.files / (self.path.strip("/") or "index.html")
            found = file.is_file()
            self.answer(
                200 if found else 404, TYPES.get(file.suffix, "text/plain"), file.read_bytes() if found else b""
            )

        def do_POST(self) -> None:
            acme.asked += 1
            token = acme.tokens.pop(0) if len(acme.tokens) > 1 else acme.tokens[0]
            self.answer(200, "text/plain", token.encode())

    with http_server(Handler) as port:
        acme.port = port
        # It looks at each token with its heartbeats, and these are frequent.
        settings = {"DJACTORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}", "DJACTORS_PING_INTERVAL": "0.5"}
        with running_site(tmp_path_factory.mktemp("host"), settings) as site:
            (installed / ".env.local").write_text(f"VITE_DJACTORS_URL={site.url}\n")
            built("run", "build", folder=installed)
            acme.files = installed / "dist"
            yield acme, site


@pytest.fixture
def studio(host: tuple[Host, Site]) -> Studio:
    return Studio(host[1])


@pytest.fixture
def bob(request: pytest.FixtureRequest, browser: Browser, host: tuple[Host, Site], studio: Studio) -> Iterator[Visitor]:
    """Bob at the application, not yet signed in. The parameter holds options of `open_visitor`."""
    acme, site = host
    acme.tokens = [studio.token(BOB)]
    acme.asked = 0
    visitor = open_visitor(browser, site, "Bob", **getattr(request, "param", {}))
    visitor.expects(rf"request to another server: http://(127\.0\.0\.1|localhost):{acme.port}/")
    visitor.page.goto(f"http://127.0.0.1:{acme.port}/")
    try:
        yield visitor
    finally:
        visitor.leave()


def sign_in(visitor: Visitor) -> None:
    visitor.click("Sign in")
    expect(visitor.page.get_by_test_id("acme-latest")).to_have_text("Nothing new")


def style(page: Page, selector: str, *properties: str) -> list[Any]:
    script = "(one, names) => names.map((name) => getComputedStyle(one).getPropertyValue(name))"
    return list(page.locator(selector).first.evaluate(script, list(properties)))


@pytest.mark.parametrize(
    "bob", [{"websocket": True}, {"websocket": False}], indirect=True, ids=["websocket", "polling"]
)
def test_c7_a_notification_arrives_is_counted_and_read_from_another_origin(bob: Visitor, studio: Studio) -> None:
    sign_in(bob)
    badge = bob.page.get_by_test_id("notification-badge")
    expect(badge).to_have_attribute("data-count", "0")

    studio.notify(BOB, "The proofs are here", "HIGH")
    expect(bob.page.get_by_test_id("toast")).to_contain_text("The proofs are here")
    expect(bob.page.get_by_test_id("acme-latest")).to_have_text("The proofs are here")
    expect(badge).to_have_attribute("data-count", "1")
    expect(bob.page).to_have_title("(1) Acme Studio")

    bob.click("Notifications, 1 unread")
    inbox = bob.page.get_by_role("dialog", name="Notifications")
    bob.click("Mark as read: The proofs are here", within=inbox)
    expect(badge).to_have_attribute("data-count", "0")
    expect(bob.page).to_have_title("Acme Studio")
    kept = studio.site.request("GET", "/api/notifications", studio.token(BOB))
    assert [(one["title"], one["isRead"]) for one in kept["items"]] == [("The proofs are here", True)]
    bob.click("Close", within=inbox)
    expect(inbox).to_have_count(0)


def test_c7_the_queue_is_live_and_a_notification_leads_to_its_job(bob: Visitor, studio: Studio) -> None:
    sign_in(bob)
    job = studio.act(ALICE, title="Banner Design", assigneeId=BOB)
    expect(bob.page.get_by_test_id("job")).to_contain_text("Banner Design")
    bob.click("Open job")
    expect(bob.page.get_by_role("heading", level=1, name=job["title"])).to_be_visible()


def test_c7_a_token_that_ends_is_replaced_by_the_application_s_own_backend(
    bob: Visitor, studio: Studio, host: tuple[Host, Site]
) -> None:
    acme, _ = host
    # The server warns a minute before the end, and so with the first heartbeat.
    acme.tokens = [studio.token(BOB, ttl=30), studio.token(BOB)]
    with bob.page.expect_response(lambda answer: answer.url.endswith("/acme/token") and acme.asked == 2):
        sign_in(bob)
    studio.notify(BOB, "still here")
    expect(bob.page.get_by_test_id("notification-badge")).to_have_attribute("data-count", "1")
    assert acme.asked == 2


def test_c7_an_origin_that_is_not_allowed_is_told_so(bob: Visitor, host: tuple[Host, Site]) -> None:
    bob.expects(r"blocked by CORS policy", r"net::ERR_FAILED", r"WebSocket connection to .* failed", r"403")
    origin = f"http://localhost:{host[0].port}"
    bob.page.goto(f"{origin}/")
    bob.click("Sign in")
    refused = bob.page.get_by_test_id("refused-page")
    expect(refused).to_contain_text(origin)
    expect(refused).to_contain_text("DJACTORS_ALLOWED_ORIGINS")


def test_c7_the_brand_canvas_and_ink_are_the_application_s(bob: Visitor) -> None:
    sign_in(bob)
    page = bob.page
    primary = "button:has-text('New job')"
    assert style(page, primary, "background-color") == ["rgb(194, 65, 12)"]
    assert style(page, "main h1", "color", "font-family") == ["rgb(51, 39, 26)", "Georgia, serif"]
    page.evaluate("document.documentElement.style.setProperty('--dj-brand', '#fde047')")
    bob.settle()
    assert style(page, primary, "background-color") == ["rgb(253, 224, 71)"]
    bob.expect_accessible()


def test_c7_neither_style_sheet_shows_in_what_is_the_other_s(bob: Visitor) -> None:
    page = bob.page
    # Its own class name `flex` is the application's, before and after the package is drawn.
    assert style(page, "h1", "display", "font-size") == ["block", "51.2px"]
    sign_in(bob)
    own = ["padding", "border-width", "text-transform", "cursor"]
    page.get_by_role("button", name="Sign out").hover()
    assert style(page, "button:has-text('Sign out')", *own) == ["8px 16px", "3px", "uppercase", "default"]
    page.get_by_role("button", name="New job").hover()
    assert style(page, "button:has-text('New job')", *own, "border-radius") == [
        "0px 14px",
        "0px",
        "none",
        "pointer",
        "10px",
    ]
    assert style(page, "main h1", "font-size", "margin") == ["28px", "0px"]
    bob.click("Notifications, none unread")
    assert style(page, "[data-testid=inbox] h2", "margin", "font-size") == ["0px", "18px"]


@pytest.mark.parametrize("bob", [{"theme": "light"}, {"theme": "dark"}], indirect=True, ids=["light", "dark"])
def test_c7_the_package_has_no_barrier_in_the_application_s_colours(bob: Visitor, studio: Studio) -> None:
    sign_in(bob)
    studio.act(ALICE, title="Banner Design", assigneeId=BOB)
    studio.notify(BOB, "The proofs are here", "CRITICAL", message="See https://example.com/proofs")
    expect(bob.page.get_by_test_id("toast")).to_have_count(2)
    bob.expect_accessible()
    bob.click("Notifications, 2 unread")
    expect(bob.page.get_by_test_id("notification")).to_have_count(2)
    bob.expect_accessible()


def test_c7_no_rule_of_the_package_applies_to_what_is_not_its_own(bob: Visitor, installed: Path) -> None:
    css = (installed / "node_modules/@djactors/react/dist/styles.css").read_text()
    foreign = bob.page.evaluate(
        r"""(css) => {
          const sheet = new CSSStyleSheet()
          sheet.replaceSync(css)
          const own = (rule) =>
            rule.selectorText.split(/,(?![^(]*\))/).every((one) => /\.dj(?![\w-])|\[data-dj-/.test(one)) ||
            [...rule.style].every((name) => /^--(dj|lightningcss)-/.test(name))
          const walk = (rules) => [...rules].flatMap((rule) =>
            rule.selectorText !== undefined && !own(rule) ? [rule.cssText] : walk(rule.cssRules ?? []))
          return { foreign: walk(sheet.cssRules), rules: sheet.cssRules.length }
        }""",
        css,
    )
    assert foreign["foreign"] == []
    assert foreign["rules"] > 200


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("<NotificationBell opened />", "opened"),
        ("<JobDetail jobId='5' onBack={() => {}} />", "not assignable to type 'number'"),
        ("<DjactorsProvider url='/' />", "token"),
    ],
)
def test_c7_wrong_use_is_a_type_error(installed: Path, code: str, said: str) -> None:
    wrong = installed / "src" / "wrong.tsx"
    names = "DjactorsProvider, JobDetail, NotificationBell"
    wrong.write_text(
        f"import {{ {names} }} from '@djactors/react'\n\nexport const all = [{names}]\nexport const one = {code}\n"
    )
    try:
        done = npm("exec", "--offline", "--", "tsc", folder=installed, capture=True)
    finally:
        wrong.unlink()
    assert done.returncode != 0
    [error] = [line for line in done.stdout.splitlines() if "error TS" in line]
    assert error.startswith("src/wrong.tsx(4,")
    assert said in done.stdout


def test_the_declared_types_are_those_of_the_code() -> None:
    built("run", "check", folder=PACKAGE)
