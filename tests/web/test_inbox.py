"""The inbox as people know it: archive, snooze, seen and unread, search and filters, and muted jobs, on all devices."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from djactors.domain.times import utc_text
from tests.web.conftest import Visit
from tests.web.site import ALICE, BOB, NOK, Studio
from tests.web.visitor import PHONE, Visitor, open_visitor

ZOOMED = (640, 400)
"""What is left of a desktop's window at 200 %."""


def badge_of(page: Page, count: int) -> None:
    expect(page.get_by_test_id("notification-badge")).to_have_attribute("data-count", str(count))


def titles(visitor: Visitor, *expected: str) -> None:
    """The open list has exactly these, in this order."""
    expect(visitor.page.get_by_test_id("notification").locator("[data-main]")).to_contain_text(list(expected))
    expect(visitor.page.get_by_test_id("notification")).to_have_count(len(expected))


def job_of(studio: Studio, title: str, **fields: Any) -> Any:
    return studio.act(ALICE, title=title, assigneeId=BOB, **fields)


def test_what_is_archived_leaves_the_inbox_and_the_count_and_comes_back_by_undo_or_from_the_archive(
    visit: Visit, studio: Studio
) -> None:
    for title in ("first", "second", "third"):
        studio.notify(BOB, title)
    bob = visit(studio, BOB)
    bob.open_inbox()
    bob.act_on("second", "Archive")
    titles(bob, "third", "first")
    bob.expect_badge(2)
    bob.click("Undo")
    titles(bob, "third", "second", "first")
    bob.expect_badge(3)
    bob.act_on("second", "Archive")
    titles(bob, "third", "first")
    bob.show_list("Archived")
    titles(bob, "second")
    expect(bob.item("second")).to_have_attribute("data-read", "false")
    bob.act_on("second", "Move to the inbox")
    expect(bob.page.get_by_text("The archive is empty")).to_be_visible()
    bob.show_list("Inbox")
    titles(bob, "third", "second", "first")
    bob.expect_badge(3)
    # It is so on the server, too.
    bob.page.reload()
    bob.expect_badge(3)


def test_what_is_snoozed_waits_in_a_list_of_its_own_and_comes_back_unread_with_a_toast(
    visit: Visit, studio: Studio
) -> None:
    note = studio.notify(BOB, "later", priority="HIGH")
    bob = visit(studio, BOB)
    bob.open_inbox()
    bob.act_on("later", "Mark as read")
    bob.act_on("later", "Snooze")
    bob.page.get_by_role("menuitem", name="Tomorrow morning").click()
    expect(bob.page.get_by_test_id("notification")).to_have_count(0)
    expect(bob.page.get_by_test_id("notice")).to_contain_text("Snoozed until tomorrow, ")
    bob.show_list("Snoozed")
    titles(bob, "later")
    tomorrow = bob.page.evaluate("() => new Date(Date.now() + 864e5).toDateString()")
    when = bob.item("later").locator("time").get_attribute("datetime")
    assert bob.page.evaluate("text => new Date(text).toDateString()", when) == tomorrow
    bob.page.keyboard.press("Escape")
    badge_of(bob.page, 0)
    # Another device has it come back in a moment.
    studio.move(BOB, note, "snooze", until=utc_text(datetime.now(UTC) + timedelta(seconds=3)))
    expect(bob.toast("later")).to_be_visible()
    bob.expect_badge(1)
    bob.open_inbox()
    expect(bob.item("later")).to_have_attribute("data-read", "false")


def test_a_snooze_to_a_chosen_moment_is_in_the_person_s_own_time_zone_and_ends_at_once_if_they_like(
    visit: Visit, studio: Studio
) -> None:
    studio.notify(BOB, "choose")
    bob = visit(studio, BOB, timezone_id="Asia/Bangkok")
    bob.open_inbox()
    bob.act_on("choose", "Snooze")
    bob.page.get_by_role("menuitem", name="Choose a moment").click()
    dialog = bob.page.get_by_test_id("snooze-dialog")
    day = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    dialog.get_by_label("Moment").fill(f"{day}T15:30")
    bob.click("Snooze", within=dialog)
    expect(dialog).to_have_count(0)
    expect(bob.page.get_by_test_id("notification")).to_have_count(0)
    bob.show_list("Snoozed")
    expect(bob.item("choose").locator("time")).to_have_attribute("datetime", re.compile(f"^{day}T08:30:00"))
    bob.act_on("choose", "Bring back now")
    bob.show_list("Inbox")
    titles(bob, "choose")
    badge_of(bob.page, 1)


def test_the_badge_counts_unread_ones_or_those_that_came_since_the_inbox_was_open(visit: Visit, studio: Studio) -> None:
    for title in ("one", "two"):
        studio.notify(BOB, title)
    bob = visit(studio, BOB)
    bob.expect_badge(2)
    bob.click("Account and settings")
    bob.page.get_by_test_id("settings").get_by_role("radio", name="New", exact=True).check(force=True)
    bob.page.keyboard.press("Escape")
    bob.expect_badge(2)
    expect(bob.page.get_by_role("button", name="Notifications, 2 new")).to_be_visible()
    bob.open_inbox()
    bob.expect_badge(0)
    # What arrives in sight is seen.
    studio.notify(BOB, "three")
    expect(bob.item("three")).to_have_attribute("data-read", "false")
    bob.page.keyboard.press("Escape")
    studio.notify(BOB, "four")
    bob.expect_badge(1)
    bob.click("Account and settings")
    bob.page.get_by_test_id("settings").get_by_role("radio", name="Unread", exact=True).check(force=True)
    bob.expect_badge(4)


def test_two_tabs_show_the_same_at_once(visit: Visit, studio: Studio) -> None:
    for title in ("alpha", "beta", "gamma"):
        studio.notify(BOB, title)
    bob = visit(studio, BOB)
    other = bob.another_tab()
    bob.sign_in(studio.token(BOB), page=other)
    for page in (bob.page, other):
        page.get_by_test_id("notification-badge").click()

    def there(title: str) -> Any:
        return other.get_by_test_id("notification").filter(has_text=title)

    bob.act_on("alpha", "Mark as read")
    expect(there("alpha")).to_have_attribute("data-read", "true")
    bob.act_on("alpha", "Mark as unread")
    expect(there("alpha")).to_have_attribute("data-read", "false")
    bob.act_on("beta", "Archive")
    expect(there("beta")).to_have_count(0)
    badge_of(other, 2)
    other.get_by_test_id("inbox").get_by_role("radio", name="Archived").check(force=True)
    expect(there("beta")).to_be_visible()
    # A list that is open gets what it never had.
    bob.act_on("gamma", "Archive")
    expect(there("gamma")).to_be_visible()
    bob.act_by_menu("alpha", "Delete")
    expect(bob.page.get_by_test_id("notification")).to_have_count(0)
    other.get_by_test_id("inbox").get_by_role("radio", name="Inbox").check(force=True)
    expect(other.get_by_text("Nothing here yet")).to_be_visible()
    badge_of(other, 0)


def test_search_and_filters_narrow_the_list_and_say_where_nothing_matches(visit: Visit, studio: Studio) -> None:
    banner = job_of(studio, "Bannière du soir", approverId=NOK)
    job_of(studio, "Packaging")
    studio.notify(BOB, "Lunch at noon", message="In the big kitchen")
    studio.notify(BOB, "Kitchen is closed", "HIGH")
    bob = visit(studio, BOB)
    inbox = bob.open_inbox()
    expect(bob.page.get_by_test_id("notification")).to_have_count(4)
    bob.search("KITCHEN")
    titles(bob, "Kitchen is closed", "Lunch at noon")
    bob.click("Filter")
    bob.page.get_by_label("Priority", exact=True).select_option("HIGH")
    titles(bob, "Kitchen is closed")
    # What arrives is found as well, if it is like that.
    studio.notify(BOB, "The kitchen is open again", "HIGH")
    titles(bob, "The kitchen is open again", "Kitchen is closed")
    studio.notify(BOB, "The roof is closed", "HIGH")
    expect(bob.page.get_by_test_id("toast")).to_have_count(0)
    bob.search("banniere")
    titles(bob, banner["djId"])
    bob.search("unheard of")
    expect(inbox.get_by_text("Nothing found").last).to_be_visible()
    bob.click("Show everything", within=inbox)
    expect(bob.page.get_by_test_id("notification")).to_have_count(6)
    bob.page.get_by_label("Type", exact=True).select_option("job_assigned")
    titles(bob, "assigned", "assigned")
    bob.act_by_menu(banner["djId"], "Only of this job")
    titles(bob, banner["djId"])
    bob.click("Not only this job", within=inbox)
    bob.act_on(banner["djId"], "Mark as read")
    bob.click("Unread", within=inbox)
    expect(bob.page.get_by_test_id("notification")).to_have_count(1)


def test_a_search_goes_on_over_pages_with_nothing_in_them_and_then_asks(visit: Visit, studio: Studio) -> None:
    studio.notify(BOB, "needle")
    bob = visit(studio, BOB)
    asked: list[str] = []

    def answer(route: Route) -> None:
        """As a server would that has thousands of others to look through."""
        asked.append(route.request.url)
        if len(asked) < 7:
            body = {"items": [], "nextBefore": 1000 - len(asked), "unreadCount": 1, "unseenCount": 0}
            whole = route.fetch().json()
            route.fulfill(json={**body, "offset": whole["offset"]})
        else:
            # The last page is the server's own, from the top.
            route.continue_(url=re.sub(r"&before=\d+", "", route.request.url))

    bob.page.route("**/api/notifications?*query=needle*", answer)
    inbox = bob.open_inbox()
    bob.search("needle")
    expect(inbox.get_by_text("Nothing found so far").last).to_be_visible()
    assert len(asked) == 5
    bob.click("Search older ones", within=inbox)
    titles(bob, "needle")
    assert len(asked) == 7


def test_a_muted_job_is_silent_until_it_is_unmuted_on_all_devices(visit: Visit, studio: Studio) -> None:
    job = job_of(studio, "quiet job")
    studio.act(BOB, f"/{job['id']}/watch")
    bob = visit(studio, BOB)
    other = bob.another_tab()
    other.goto(f"{studio.site.url}/#/jobs/{job['id']}")
    mute = other.get_by_test_id("job-mute")
    expect(mute).to_have_attribute("data-muted", "false")
    # Opening the job has read what the inbox had of it.
    bob.expect_badge(0)
    bob.open_inbox()
    bob.act_by_menu(job["djId"], "Mute this job")
    expect(bob.item(job["djId"])).to_contain_text("Muted")
    expect(mute).to_have_attribute("data-muted", "true")
    studio.act(ALICE, f"/{job['id']}/comments", text="nobody hears it")
    other.get_by_role("button", name="Muted").click()
    expect(mute).to_have_attribute("data-muted", "false")
    expect(bob.item(job["djId"])).not_to_contain_text("Muted")
    studio.act(ALICE, f"/{job['id']}/comments", text="all hear it")
    expect(bob.item("all hear it")).to_be_visible()
    expect(bob.item("nobody hears it")).to_have_count(0)


def test_all_of_a_job_is_read_by_opening_it_or_from_the_menu_and_the_rest_is_not(visit: Visit, studio: Studio) -> None:
    job, another = job_of(studio, "noisy job"), job_of(studio, "other job")
    for each in (job, another):
        studio.act(BOB, f"/{each['id']}/watch")
        studio.act(ALICE, f"/{each['id']}/comments", text="a comment")
    bob = visit(studio, BOB)
    bob.expect_badge(4)
    bob.open_inbox()
    bob.page.get_by_test_id("notification").first.get_by_role("button", name="More: ").click()
    bob.page.get_by_role("menuitem", name="Read all of this job").click()
    bob.expect_badge(2)
    bob.page.keyboard.press("Escape")
    bob.go_to_job(job)
    bob.expect_badge(0)


def test_a_list_that_cannot_be_loaded_says_so_and_is_there_when_it_is_asked_for_again(
    visit: Visit, studio: Studio
) -> None:
    studio.move(BOB, studio.notify(BOB, "kept"), "archive")
    bob = visit(studio, BOB)
    bob.expects(r"net::ERR_FAILED")
    bob.page.route("**/api/notifications?view=archived*", lambda route: route.abort())
    bob.open_inbox()
    bob.show_list("Archived")
    expect(bob.page.get_by_text("Your notifications could not be loaded.")).to_be_visible()
    bob.page.unroute("**/api/notifications?view=archived*")
    bob.click("Try again")
    titles(bob, "kept")


def test_the_inbox_itself_is_fetched_again_where_that_failed(
    browser: Browser, visitors: list[Visitor], studio: Studio
) -> None:
    studio.notify(BOB, "waiting")
    bob = open_visitor(browser, studio.site, "Bob")
    visitors.append(bob)
    bob.expects(r"net::ERR_FAILED")
    bob.page.route("**/assets/NotificationPanel-*.js", lambda route: route.abort())
    bob.sign_in(studio.token(BOB))
    bob.open_inbox()
    expect(bob.page.get_by_text("The inbox could not be fetched.")).to_be_visible()
    bob.expect_accessible()
    bob.page.unroute("**/assets/NotificationPanel-*.js")
    bob.click("Try again")
    titles(bob, "waiting")


def test_the_keyboard_alone_archives_snoozes_and_undoes(visit: Visit, studio: Studio) -> None:
    for title in ("one", "two", "three"):
        studio.notify(BOB, title)
    bob = visit(studio, BOB)
    bob.open_inbox()
    keyboard = bob.page.keyboard
    bob.item("three").locator("[data-main]").focus()
    keyboard.press("ArrowDown")
    expect(bob.item("two").locator("[data-main]")).to_be_focused()
    keyboard.press("u")
    expect(bob.item("two")).to_have_attribute("data-read", "true")
    keyboard.press("e")
    titles(bob, "three", "one")
    expect(bob.item("one").locator("[data-main]")).to_be_focused()
    keyboard.press("Control+z")
    titles(bob, "three", "two", "one")
    keyboard.press("s")
    menu = bob.page.get_by_role("menu")
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(bob.item("one").locator("[data-main]")).to_be_focused()
    keyboard.press("s")
    # The last moment that is offered, above the one of one's own: which it is depends on the day.
    keyboard.press("End")
    keyboard.press("ArrowUp")
    expect(menu.get_by_role("menuitem").nth(-2)).to_be_focused()
    keyboard.press("Enter")
    titles(bob, "three", "two")
    expect(bob.item("two").locator("[data-main]")).to_be_focused()
    keyboard.press("Delete")
    titles(bob, "three")


@pytest.mark.parametrize("size", [PHONE, ZOOMED], ids=["phone", "zoomed"])
def test_in_a_small_window_the_menu_and_the_notice_are_within_it(
    visit: Visit, studio: Studio, size: tuple[int, int]
) -> None:
    for number in range(8):
        studio.notify(BOB, f"note {number}", message="A message that takes up some room in the list, as messages do.")
    bob = visit(studio, BOB, size=size, has_touch=True)
    bob.open_inbox()
    last = bob.item("note 0")
    last.scroll_into_view_if_needed()
    last.get_by_role("button", name="Snooze: ").tap()
    menu = bob.page.get_by_role("menu")
    box = menu.bounding_box()
    assert box is not None
    assert min(box["x"], box["y"]) >= 0
    assert box["x"] + box["width"] <= size[0]
    assert box["y"] + box["height"] <= size[1]
    bob.expect_no_sideways_scroll()
    menu.get_by_role("menuitem", name="In an hour").tap()
    expect(last).to_have_count(0)
    bob.page.get_by_role("button", name="Undo").tap()
    expect(last).to_have_count(1)
