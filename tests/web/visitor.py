"""A person at the page: a browser context with the page open in it, and words for what is seen and clicked.

Rules: nothing here sleeps; every sight is waited for. All that goes wrong in the browser is recorded (violations of the
Content-Security-Policy, errors in the console, exceptions, requests to other servers), and `Visitor.leave` raises for
it, except for what the test said it `expects`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect

from tests.web.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage

PATIENCE_MS = 15_000
"""How long a sight is waited for: far above what is slow on a busy machine."""

expect.set_options(timeout=PATIENCE_MS)

AXE = Path(__file__).parent.parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"

DESKTOP = (1280, 800)
PHONE = (360, 740)

REPORT_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) =>
  reportTrouble(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`))
"""

SETTLED = """async () => {
  await document.fonts.ready
  const ending = document.getAnimations().filter((one) => one.effect.getTiming().iterations !== Infinity)
  await Promise.allSettled(ending.map((one) => one.finished))
}"""

NO_WEBSOCKET = """
window.WebSocket = class extends EventTarget {
  constructor() {
    super()
    setTimeout(() => {
      this.onerror?.(new Event('error'))
      this.onclose?.(new CloseEvent('close', { code: 1006 }))
    })
  }
  close() {}
  send() {}
}
"""
"""A network that lets no WebSocket through: every one fails as it is opened."""


WRONG_CLOCK = """{
  const wrong = %d, Real = Date
  globalThis.Date = class extends Real {
    constructor(...given) {
      if (given.length > 0) super(...given)
      else super(Real.now() + wrong)
    }
    static now() {
      return Real.now() + wrong
    }
  }
}"""
"""A computer whose clock is wrong by so many milliseconds."""


class Visitor:
    """One browser context of one person, with one page open; `another_tab` opens more."""

    def __init__(self, context: BrowserContext, site: Site, name: str) -> None:
        self.context = context
        self.site = site
        self.name = name
        self.websockets: list[str] = []
        self.requests: list[str] = []
        self._troubles: list[str] = []
        self._expected: list[str] = []
        context.set_default_timeout(PATIENCE_MS)
        context.expose_binding("reportTrouble", lambda _source, text: self._troubles.append(text))
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self._hear_console)
        context.on("weberror", lambda error: self._troubles.append(f"exception: {error.error}"))
        context.on("request", self._see_request)
        self.page = self.another_tab()

    def _hear_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._troubles.append(f"console: {message.text}")

    def _see_request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.site.url + "/", "data:", "blob:")):
            self._troubles.append(f"request to another server: {request.url}")

    def another_tab(self) -> Page:
        """One more page of the same person: it shares the storage, as tabs do."""
        page = self.context.new_page()
        page.on("websocket", lambda socket: self.websockets.append(socket.url))
        return page

    def expects(self, *patterns: str) -> None:
        """What the console may say from now on without failing the test, as regular expressions."""
        self._expected.extend(patterns)

    def expects_lost_connections(self) -> None:
        """The browser itself reports each request that finds no network or no server."""
        self.expects(r"console: Failed to load resource: net::ERR_", r"console: WebSocket connection to .* failed")

    def troubles(self) -> list[str]:
        """What has gone wrong in the browser so far and was not expected."""
        for page in self.context.pages:
            page.evaluate("0")  # behind all that the page has reported until now
        return [one for one in self._troubles if not any(re.search(pattern, one) for pattern in self._expected)]

    def leave(self) -> None:
        """Close the browser context; raises `AssertionError` for what went wrong in it."""
        try:
            troubles = self.troubles()
        finally:
            self.context.close()
        assert troubles == [], f"{self.name}'s browser: " + "\n".join(troubles)

    # Going there

    def sign_in(self, token: str, path: str = "/", page: Page | None = None) -> None:
        """Open the page by a sign-in link, and wait until it is connected."""
        page = page or self.page
        page.goto(f"{self.site.url}{path}#token={token}")
        self.expect_connected(page)

    def go_to_job(self, job: dict[str, Any]) -> None:
        """The address of a job, as a link in a mail would have it."""
        self.page.evaluate("id => { location.hash = `#/jobs/${id}` }", job["id"])
        expect(self.page.get_by_role("heading", level=1, name=job["title"])).to_be_visible()

    # Seeing

    def expect_connected(self, page: Page | None = None) -> None:
        expect((page or self.page).get_by_test_id("connection-state")).to_have_attribute("data-state", "connected")

    def expect_disconnected(self) -> None:
        expect(self.page.get_by_test_id("connection-state")).to_have_attribute("data-state", "reconnecting")

    def expect_badge(self, count: int, page: Page | None = None) -> None:
        """The bell and the title say it."""
        page = page or self.page
        expect(page.get_by_test_id("notification-badge")).to_have_attribute("data-count", str(count))
        title = rf"^\({count}\) " if count else r"^[^(]"
        expect(page).to_have_title(re.compile(title))

    def toast(self, text: str) -> Locator:
        return self.page.get_by_test_id("toast").filter(has_text=text)

    def job_row(self, job: dict[str, Any]) -> Locator:
        return self.page.get_by_test_id("queue").locator(f'[data-testid="job"][data-job-id="{job["id"]}"]')

    def expect_status(self, status: str) -> None:
        """The job that is open has it."""
        expect(self.page.get_by_test_id("job-detail").get_by_test_id("job-status")).to_have_attribute(
            "data-status", status
        )

    # Doing

    def click(self, name: str, within: Locator | None = None) -> None:
        (within or self.page).get_by_role("button", name=name, exact=True).click()

    def open_inbox(self) -> Locator:
        self.page.get_by_test_id("notification-badge").click()
        inbox = self.page.get_by_role("dialog", name="Notifications")
        expect(inbox).to_be_visible()
        return inbox

    def item(self, text: str) -> Locator:
        """A notification in the open inbox."""
        return self.page.get_by_test_id("notification").filter(has_text=text)

    def show_list(self, view: str) -> None:
        """A list of the open inbox: Inbox, Snoozed, or Archived."""
        self.page.get_by_test_id("inbox").get_by_role("radio", name=view).check(force=True)

    def search(self, text: str) -> None:
        """Type into the search of the open inbox."""
        self.page.get_by_role("textbox", name="Search notifications").fill(text)

    def act_on(self, text: str, action: str) -> None:
        """Press a button of a notification in the open inbox."""
        self.item(text).get_by_role("button", name=f"{action}: ").click()

    def act_by_menu(self, text: str, action: str) -> None:
        """Choose what is behind `More` of a notification in the open inbox."""
        self.act_on(text, "More")
        self.page.get_by_role("menuitem", name=action).click()

    def show_jobs(self, view: str) -> None:
        """All jobs, For approval, or Assigned to me."""
        self.page.get_by_role("radio", name=view).check(force=True)

    def choose_person(self, field: str, name: str, within: Locator | None = None) -> None:
        """By the name, in a field that searches."""
        (within or self.page).get_by_role("combobox", name=field, exact=True).fill(name)
        self.options().filter(has_text=name).click()

    def options(self) -> Locator:
        """The people who are offered below the field that is typed in."""
        return self.page.get_by_test_id("people-options").get_by_role("option")

    # Judging

    def settle(self) -> None:
        """Wait until nothing moves: colours are judged as they stay, not while they fade in."""
        self.page.evaluate(SETTLED)

    def expect_accessible(self) -> None:
        """axe-core finds nothing in what is shown now."""
        self.settle()
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
        told = [
            f"{one['id']} ({one['impact']}): {one['help']}\n"
            + "\n".join(f"  {node['html'][:200]}\n    {node['failureSummary']}" for node in one["nodes"])
            for one in found
        ]
        assert told == [], "\n".join(told)

    def expect_no_sideways_scroll(self) -> None:
        """Nothing is wider than the window, neither the page nor a layer above it."""
        wide = self.page.evaluate(
            """() => {
              const width = document.documentElement.clientWidth
              const beyond = [...document.querySelectorAll('#root *')]
                .filter((one) => one.getBoundingClientRect().right > width + 1)
              const scrolls = [...document.querySelectorAll('*')]
                .filter((one) => one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1)
                .filter((one) => /auto|scroll/.test(getComputedStyle(one).overflowX))
              return {
                page: document.documentElement.scrollWidth - width,
                beyond: beyond.slice(0, 3).map((one) => one.outerHTML.slice(0, 200)),
                inside: scrolls.map((one) => one.outerHTML.slice(0, 200)),
              }
            }"""
        )
        assert (wide["page"], wide["inside"]) == (0, []), wide


def open_visitor(
    browser: Browser,
    site: Site,
    name: str,
    *,
    theme: str = "light",
    size: tuple[int, int] = DESKTOP,
    websocket: bool = True,
    clock_ms: int = 0,
    **options: Any,
) -> Visitor:
    """A new browser context; `Visitor.leave` ends it. `clock_ms` is how far the computer's clock is ahead."""
    context = browser.new_context(
        base_url=site.url,
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": size[0], "height": size[1]},
        reduced_motion="reduce",
        **options,
    )
    if clock_ms:
        context.add_init_script(WRONG_CLOCK % clock_ms)
    if not websocket:
        context.add_init_script(NO_WEBSOCKET)
    return Visitor(context, site, name)
