"""The examples with a page, in Chromium: what was posted is seen at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Locator, Route, expect

from tests.examples.example import Installed
from tests.serving import make_token, service_token
from tests.web.site import Site
from tests.web.visitor import Visitor, open_visitor


@contextmanager
def looking(
    browser: Browser, site: Site, port: int, before: Callable[[Visitor], None] = lambda _: None
) -> Iterator[Visitor]:
    """Somebody at the example's page, in whose browser nothing goes wrong. `before` is called before it is opened."""
    visitor = open_visitor(browser, site, "Somchai")
    visitor.expects(rf"request to another server: http://127\.0\.0\.1:{port}/")
    before(visitor)
    try:
        visitor.page.goto(f"http://127.0.0.1:{port}/")
        yield visitor
    finally:
        visitor.leave()


def publish(site: Site, kind: str, **fields: object) -> None:
    site.request("POST", "/api/events", service_token(1), {"type": kind, "tenantId": 1, **fields})


def is_busy_at_first(visitor: Visitor, requests: str) -> None:
    """Have the first two of these requests be answered with 429 and 503."""
    left = [429, 503]

    def answer(route: Route) -> None:
        if not left:
            route.continue_()
            return
        headers = {"Access-Control-Allow-Origin": "*", "Retry-After": "1"}
        route.fulfill(status=left.pop(0), headers=headers, json={"error": {"code": "unavailable", "message": "busy"}})

    visitor.page.route(requests, answer)
    visitor.expects(r"console: Failed to load resource: the server responded with a status of (429|503)", "busy")


def test_the_page_without_a_build_step_shows_the_badge(
    example: Installed, browser: Browser, site: Site, port: int
) -> None:
    without_build = example("page")
    with without_build.running() as program:
        program.expect("Serving HTTP")
        with looking(browser, site, port) as visitor:
            page = visitor.page
            expect(page.locator("#state")).to_have_text("Live")
            without_build.try_it(port)
            expect(page.locator("#badge")).to_have_text("1")
            expect(page).to_have_title("(1) Orders")
            expect(page.locator("li.unread")).to_have_text("Good morning")
            page.get_by_role("button").click()
            expect(page.locator("#badge")).to_have_text("")
            expect(page.locator("li:not(.unread)")).to_have_text("Good morning")


def test_the_page_without_a_build_step_asks_again_where_the_server_is_busy(
    example: Installed, browser: Browser, site: Site, port: int
) -> None:
    without_build = example("page")
    without_build.run('sed -i "s/RETRY_MS = 5000/RETRY_MS = 100/" index.html')
    with without_build.running() as program:
        program.expect("Serving HTTP")
        without_build.try_it(port)
        with looking(
            browser, site, port, lambda visitor: is_busy_at_first(visitor, "**/api/notifications?*")
        ) as visitor:
            expect(visitor.page.locator("li.unread")).to_have_text("Good morning")


def test_the_display_asks_again_where_the_server_is_busy(
    example: Installed, browser: Browser, site: Site, port: int
) -> None:
    publish(site, "job.created", title="Poster", requesterId=1)
    display = example("kiosk")
    display.run('sed -i "s/RETRY_MS = 5000/RETRY_MS = 100/" index.html')
    with display.running() as program:
        program.expect("Serving HTTP")
        with looking(browser, site, port, lambda visitor: is_busy_at_first(visitor, "**/api/jobs?*")) as visitor:
            expect(visitor.page.get_by_role("article")).to_contain_text("Poster")


def test_express_posts_and_its_page_shows_the_badge(
    example: Installed, browser: Browser, site: Site, port: int
) -> None:
    express = example("express")
    with express.running() as program:
        program.expect(f"http://127.0.0.1:{port}")
        with looking(browser, site, port) as visitor:
            badge = visitor.page.get_by_role("status")
            expect(badge).to_have_text("0")
            for _ in range(2):
                assert '"userId":2' in express.try_it(port)
            expect(badge).to_have_text("1")
            visitor.page.get_by_text("Order 4711 is on its way").click()
            expect(badge).to_have_text("0")


def test_the_display_shows_the_queue_live_and_over_a_restart_of_the_server(
    example: Installed, browser: Browser, site: Site, port: int
) -> None:
    publish(site, "user.upserted", userId=2, name="Somchai", role="user")
    publish(site, "job.created", title="Poster", requesterId=1, deadline="2025-01-27T10:00:00Z")
    display = example("kiosk")
    display.run('sed -i "s/RETRY_MS = 5000/RETRY_MS = 100/" index.html')
    token = display.folder / "token"
    with display.running() as program:
        program.expect("Serving HTTP")
        # The server warns a minute before the end, and so with the first heartbeat.
        token.write_text(make_token(tenant_id=1, user_id=900, ttl=50))
        with looking(browser, site, port) as visitor:
            page = visitor.page
            state = page.get_by_role("status")

            def cards(column: str) -> Locator:
                heading = page.get_by_role("heading", name=column)
                return page.locator("section").filter(has=heading).get_by_role("article")

            expect(cards("Open")).to_contain_text("Poster")
            expect(page.locator("article.overdue")).to_have_count(1)
            publish(site, "job.assigned", jobId=1, assigneeId=2)
            expect(cards("In work")).to_contain_text("Somchai")
            expect(cards("Open")).to_have_count(0)
            # For the connection, for the list, and because the token expires.
            program.expect('"GET /token ', times=3)

            token.write_text("what has expired meanwhile")
            visitor.expects_lost_connections()
            site.kill()
            expect(state).to_have_text(re.compile("Reconnecting|Not connected"))
            site.start()
            publish(site, "job.created", title="Banner", requesterId=1)
            expect(state).to_have_text("Not connected: Unauthorized")
            token.write_text(make_token(tenant_id=1, user_id=900))
            expect(cards("Open")).to_contain_text("Banner")
            expect(cards("In work")).to_contain_text("Poster")
            expect(state).to_have_text("")
