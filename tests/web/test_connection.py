"""Losing the connection, and several tabs: nothing is missing, nothing comes twice, and nothing that is old pops up."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Visit
from tests.web.site import ALICE, BOB, Site, Studio
from tests.web.visitor import Visitor


def titles(visitor: Visitor, expected: list[str]) -> None:
    """The open inbox holds exactly these, newest first."""
    expect(visitor.page.get_by_test_id("notification")).to_contain_text(expected)


@pytest.mark.parametrize("websocket", [True, False], ids=["websocket", "polling"])
def test_a_killed_server_comes_back_on_its_port_and_so_does_the_page(
    visit: Visit, own_site: Site, websocket: bool
) -> None:
    studio = Studio(own_site)
    bob = visit(studio, BOB, websocket=websocket)
    bob.expects_lost_connections()
    studio.notify(BOB, "before")
    bob.expect_badge(1)
    own_site.kill()
    bob.expect_disconnected()
    own_site.start()
    studio.notify(BOB, "after")
    bob.expect_connected()
    bob.expect_badge(2)
    studio.notify(BOB, "live again")
    expect(bob.toast("live again")).to_be_visible()
    bob.expect_badge(3)
    bob.open_inbox()
    titles(bob, ["live again", "after", "before"])


def test_what_is_done_without_a_connection_is_undone_with_words(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    bob.expects_lost_connections()
    studio.notify(BOB, "to be read later")
    bob.expect_badge(1)
    bob.open_inbox()
    bob.context.set_offline(True)
    bob.expect_disconnected()
    item = bob.item("to be read later")
    bob.act_by_menu("to be read later", "Delete")
    expect(bob.page.get_by_test_id("notice")).to_be_visible()
    bob.expect_accessible()
    expect(item).to_have_attribute("data-read", "false")
    bob.expect_badge(1)
    bob.context.set_offline(False)
    bob.expect_connected()
    bob.act_by_menu("to be read later", "Delete")
    expect(item).to_have_count(0)
    bob.expect_badge(0)


def test_a_queue_that_changed_while_it_was_offline_is_right_again(visit: Visit, studio: Studio) -> None:
    job = studio.act(ALICE, title="changes meanwhile", assigneeId=BOB)
    bob = visit(studio, BOB)
    bob.expects_lost_connections()
    row = bob.job_row(job)
    expect(row).to_have_attribute("data-status", "assigned")
    bob.context.set_offline(True)
    bob.expect_disconnected()
    studio.act(BOB, f"/{job['id']}/complete")
    bob.context.set_offline(False)
    bob.expect_connected()
    expect(row).to_have_attribute("data-status", "completed")


def test_two_tabs_of_one_person_always_show_the_same_count(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    other = bob.another_tab()
    bob.sign_in(studio.token(BOB), page=other)
    ids = [studio.notify(BOB, f"note {number}") for number in range(3)]
    for tab in (bob.page, other):
        bob.expect_badge(3, tab)

    bob.open_inbox()
    bob.item("note 0").get_by_role("button", name="Mark as read").click()
    for tab in (bob.page, other):
        bob.expect_badge(2, tab)

    other.get_by_test_id("notification-badge").click()
    there = other.get_by_test_id("inbox").locator(f'[data-notification-id="{ids[1]}"]')
    there.get_by_role("button", name="More").click()
    other.get_by_role("menuitem", name="Delete").click()
    expect(bob.item("note 1")).to_have_count(0)
    for tab in (bob.page, other):
        bob.expect_badge(1, tab)

    bob.click("Mark all as read")
    for tab in (bob.page, other):
        bob.expect_badge(0, tab)
    expect(other.get_by_test_id("inbox").locator('[data-read="false"]')).to_have_count(0)


def test_what_the_tab_in_the_background_was_told_is_there_when_it_comes_to_the_front(
    visit: Visit, studio: Studio
) -> None:
    bob = visit(studio, BOB)
    front = bob.context.new_page()
    front.bring_to_front()
    studio.notify(BOB, "while you looked elsewhere")
    bob.expect_badge(1)
    bob.page.bring_to_front()
    expect(bob.toast("while you looked elsewhere")).to_be_visible()
