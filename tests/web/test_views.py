"""What holds of every view: axe-core finds nothing in either theme, and a phone's width is enough."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.web.conftest import Visit
from tests.web.site import ALICE, BOB, Site, Studio
from tests.web.views import VIEWS, Scene, furnish, go
from tests.web.visitor import DESKTOP, PHONE, Visitor, open_visitor


@pytest.fixture(scope="module")
def scene(site: Site) -> Scene:
    """Looked at by all of these tests; what one adds to an inbox no other counts."""
    return furnish(Studio(site))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", VIEWS)
def test_no_view_has_a_barrier(browser: Browser, scene: Scene, visitors: list[Visitor], name: str, theme: str) -> None:
    visitor = open_visitor(browser, scene.studio.site, name, theme=theme, size=DESKTOP)
    visitors.append(visitor)
    go(visitor, name, scene)
    visitor.expect_accessible()
    visitor.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    visitor.expect_accessible()
    visitor.expect_no_sideways_scroll()
    # What a zoom of 200 % leaves of a desktop.
    visitor.page.set_viewport_size({"width": DESKTOP[0] // 2, "height": DESKTOP[1] // 2})
    visitor.expect_no_sideways_scroll()


def test_the_keyboard_alone_reads_a_notification_and_the_focus_returns(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    studio.notify(BOB, "by keyboard")
    bob.expect_badge(1)
    keyboard, badge = bob.page.keyboard, bob.page.get_by_test_id("notification-badge")
    tab_to(bob, "notification-badge")
    keyboard.press("Enter")
    inbox = bob.page.get_by_role("dialog", name="Notifications")
    expect(inbox).to_be_visible()
    read = inbox.get_by_role("button", name="Mark as read: by keyboard")
    for _ in range(12):
        if read.evaluate("one => one === document.activeElement"):
            break
        keyboard.press("Tab")
        assert inbox.evaluate("one => one.contains(document.activeElement)"), "the focus left the open inbox"
    expect(read).to_be_focused()
    keyboard.press("Enter")
    bob.expect_badge(0)
    expect(bob.item("by keyboard")).to_have_attribute("data-read", "true")
    keyboard.press("Escape")
    expect(inbox).to_have_count(0)
    expect(badge).to_be_focused()


def tab_to(visitor: Visitor, testid: str) -> None:
    target = visitor.page.get_by_test_id(testid)
    for _ in range(20):
        if target.evaluate("one => one === document.activeElement"):
            return
        visitor.page.keyboard.press("Tab")
    raise AssertionError(f"no way to {testid} by the Tab key")


def test_a_job_is_opened_from_the_queue_and_submitted_by_keyboard(visit: Visit, studio: Studio) -> None:
    job = studio.act(ALICE, title="keyboard job", assigneeId=BOB, approverId=ALICE)
    bob = visit(studio, BOB)
    bob.job_row(job).get_by_role("link").focus()
    bob.page.keyboard.press("Enter")
    heading = bob.page.get_by_role("heading", level=1, name="keyboard job")
    expect(heading).to_be_focused()
    submit = bob.page.get_by_role("button", name="Submit for approval")
    bob.page.keyboard.press("Tab")
    expect(submit).to_be_focused()
    bob.page.keyboard.press("Enter")
    bob.expect_status("pending_approval")
