"""The seed's six manual test scenarios as clicks and sights, by WebSocket, and by polling where none gets through; and
a seventh, an afternoon of three people."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from playwright.sync_api import expect

from djactors.domain.times import utc_text
from tests.web.conftest import Visit
from tests.web.site import ALICE, BOB, CAROL, NOK, Studio
from tests.web.visitor import Visitor

BANNER = "Banner Design - Q1 Campaign"


@pytest.fixture(params=["websocket", "polling"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def enter(visit: Visit, studio: Studio, transport: str) -> Visit:
    """`visit` this studio, over a network that lets WebSocket through or does not."""
    return partial(visit, studio, websocket=transport == "websocket")


def from_now(**span: float) -> str:
    return utc_text(datetime.now(UTC) + timedelta(**span))


# 1. Connection


def test_connection_a_sign_in_link_connects_and_leaves_no_token_in_the_address(
    enter: Visit, studio: Studio, transport: str
) -> None:
    bob = enter(BOB)
    expect(bob.page.get_by_test_id("connection-state")).to_contain_text("Live")
    expect(bob.page).to_have_url(studio.site.url + "/")
    bob.expect_badge(0)
    carol = enter(CAROL)
    studio.notify(BOB, "for Bob alone")
    bob.expect_badge(1)
    expect(bob.toast("for Bob alone")).to_be_visible()
    # What comes later for Carol is the proof that nothing came before it.
    studio.notify(CAROL, "for Carol alone")
    expect(carol.toast("for Carol alone")).to_be_visible()
    expect(carol.page.get_by_test_id("toast")).to_have_count(1)
    carol.expect_badge(1)
    assert bool(bob.websockets) == (transport == "websocket")


def test_connection_a_token_that_is_not_the_server_s_is_refused_with_words(enter: Visit, studio: Studio) -> None:
    bob = enter(BOB)
    # In a tab that is not signed in; one that is would keep its sign-in.
    bob.page.close()
    bob.page = bob.another_tab()
    bob.expects(r"status of 401")
    bob.page.goto(f"{studio.site.url}/#token={studio.token(BOB)[:-4]}AAAA")
    sign_in = bob.page.get_by_test_id("sign-in")
    expect(sign_in.get_by_role("status")).to_have_text("The server did not accept that token.")
    sign_in.get_by_role("textbox", name="Token or sign-in link").fill("no token at all")
    bob.click("Sign in", within=sign_in)
    expect(sign_in.get_by_role("alert")).to_contain_text("That is no token of a person")
    sign_in.get_by_role("textbox", name="Token or sign-in link").fill(studio.token(BOB))
    bob.click("Sign in", within=sign_in)
    bob.expect_connected()


# 2. Job assignment


def test_assignment_the_assignee_is_told_at_once_and_the_badge_moves_without_a_reload(
    enter: Visit, studio: Studio
) -> None:
    alice, bob = enter(ALICE), enter(BOB)
    expect(bob.page.get_by_text("Nothing on your desk")).to_be_visible()

    alice.click("New job")
    form = alice.page.get_by_test_id("create-job")
    form.get_by_role("textbox", name="Title").fill(BANNER)
    alice.choose_person("Assignee", "Bob", form)
    alice.click("Create job", within=form)

    expect(bob.toast("assigned to you")).to_contain_text(BANNER)
    bob.expect_badge(1)
    expect(bob.page.get_by_test_id("job")).to_contain_text(BANNER)
    expect(bob.page.get_by_test_id("job")).to_have_attribute("data-status", "assigned")
    # Whoever did it is shown the job, and is not notified.
    expect(alice.page.get_by_role("heading", level=1, name=BANNER)).to_be_visible()
    alice.expect_status("assigned")
    alice.expect_badge(0)


# 3. Approval workflow


def test_approval_the_approver_is_asked_reads_approves_and_the_requester_sees_it(enter: Visit, studio: Studio) -> None:
    job = studio.act(ALICE, title=BANNER, assigneeId=BOB, approverId=NOK)
    alice, bob, nok = enter(ALICE), enter(BOB), enter(NOK)
    alice.go_to_job(job)
    bob.go_to_job(job)

    bob.click("Submit for approval")
    bob.expect_status("pending_approval")
    alice.expect_status("pending_approval")
    asked = nok.page.locator('[data-testid="toast"][data-priority="CRITICAL"]')
    expect(asked).to_contain_text(job["djId"])
    nok.expect_badge(1)

    nok.open_inbox()
    item = nok.page.get_by_test_id("notification")
    expect(item).to_have_attribute("data-read", "false")
    item.get_by_role("button", name="Mark as read").click()
    expect(item).to_have_attribute("data-read", "true")
    nok.expect_badge(0)
    expect(asked).to_have_count(0)
    item.locator("[data-main]").click()

    nok.click("Approve")
    for person in (nok, alice, bob):
        person.expect_status("approved")
    expect(alice.toast(job["djId"])).to_be_visible()
    alice.expect_badge(1)


def test_approval_a_rejection_reaches_requester_and_assignee_with_its_reason(enter: Visit, studio: Studio) -> None:
    job = studio.act(ALICE, title=BANNER, assigneeId=BOB, approverId=NOK)
    studio.act(BOB, f"/{job['id']}/submit")
    alice, bob, nok = enter(ALICE), enter(BOB), enter(NOK)
    nok.show_jobs("For approval")
    nok.job_row(job).get_by_role("link").click()
    nok.click("Reject")
    form = nok.page.get_by_test_id("reject-dialog")
    form.get_by_role("textbox", name="Reason").fill("the logo is the old one")
    nok.click("Reject job", within=form)
    nok.expect_status("rejected")
    for person in (alice, bob):
        expect(person.toast("the logo is the old one")).to_be_visible()


# 4. SLA alert


def test_sla_alert_a_job_near_its_deadline_alerts_and_the_click_leads_to_the_job(enter: Visit, studio: Studio) -> None:
    bob = enter(BOB)
    job = studio.act(ALICE, title=BANNER, assigneeId=BOB, deadline=from_now(hours=23))
    alert = bob.toast("24 hours")
    expect(alert).to_be_visible()
    bob.expect_badge(2)
    bob.click("Open job", within=alert)
    expect(bob.page.get_by_test_id("job-detail").get_by_role("heading", level=1)).to_have_text(BANNER)
    expect(bob.page).to_have_url(re.compile(rf"/#/jobs/{job['id']}$"))
    # Opening the job has read all that the inbox had of it.
    bob.expect_badge(0)
    expect(alert).to_have_count(0)


# 5. Multi-user sync


def test_sync_whoever_looks_at_the_queue_sees_an_assignment_without_a_reload(enter: Visit, studio: Studio) -> None:
    jobs = [studio.act(ALICE, title=f"{BANNER} {number}") for number in range(3)]
    bob, carol, nok = enter(BOB), enter(CAROL), enter(NOK)
    for person in (bob, carol, nok):
        person.show_jobs("All jobs")
        expect(person.page.get_by_test_id("job")).to_have_count(len(jobs))
        person.page.evaluate("window.sameDocument = true")

    nok.job_row(jobs[1]).get_by_role("link").click()
    nok.click("Assign")
    form = nok.page.get_by_test_id("assign-dialog")
    nok.choose_person("Assignee", "Bob", form)
    nok.click("Assign", within=form)
    nok.expect_status("assigned")
    nok.click("Back to the queue")
    nok.show_jobs("All jobs")

    for person in (bob, carol, nok):
        row = person.job_row(jobs[1])
        expect(row).to_have_attribute("data-status", "assigned")
        expect(row).to_contain_text("Bob")
        expect(person.job_row(jobs[0])).to_have_attribute("data-status", "open")
        assert person.page.evaluate("window.sameDocument")


# 6. Connection recovery


def test_recovery_what_came_while_offline_is_there_without_a_toast_and_the_next_has_one(
    enter: Visit, studio: Studio
) -> None:
    bob = enter(BOB)
    bob.expects_lost_connections()
    studio.notify(BOB, "before")
    expect(bob.toast("before")).to_be_visible()
    lose(bob)
    for number in range(3):
        studio.notify(BOB, f"meanwhile {number}")
    bob.context.set_offline(False)
    bob.expect_connected()
    bob.expect_badge(4)
    expect(bob.toast("meanwhile")).to_have_count(0)
    studio.notify(BOB, "live again")
    expect(bob.toast("live again")).to_be_visible()
    expect(bob.toast("meanwhile")).to_have_count(0)
    bob.expect_badge(5)
    bob.open_inbox()
    expected = ["live again", "meanwhile 2", "meanwhile 1", "meanwhile 0", "before"]
    expect(bob.page.get_by_test_id("notification")).to_contain_text(expected)


def lose(visitor: Visitor) -> None:
    """Take the network away, and wait until the page says so."""
    visitor.context.set_offline(True)
    state = visitor.page.get_by_test_id("connection-state")
    expect(state).to_have_attribute("data-state", "reconnecting")
    expect(state).to_contain_text("Offline")


def test_recovery_a_page_that_was_closed_finds_on_return_what_came_meanwhile(enter: Visit, studio: Studio) -> None:
    bob = enter(BOB)
    bob.page.close()
    studio.notify(BOB, "meanwhile")
    bob.page = bob.another_tab()
    bob.sign_in(studio.token(BOB))
    bob.expect_badge(1)
    expect(bob.page.get_by_test_id("toast")).to_have_count(0)
    studio.notify(BOB, "live again")
    expect(bob.toast("live again")).to_be_visible()
    expect(bob.page.get_by_test_id("toast")).to_have_count(1)


# 7. An afternoon of three people


def test_an_afternoon_of_three_people(enter: Visit, studio: Studio) -> None:
    """A job is made, assigned by name, talked about, rejected, done again and approved; then the inboxes are tidied."""
    alice, bob, nok = enter(ALICE), enter(BOB), enter(NOK)

    # Alice asks for a banner. She finds Bob and Nok by their names.
    alice.click("New job")
    form = alice.page.get_by_test_id("create-job")
    form.get_by_role("textbox", name="Title").fill(BANNER)
    alice.choose_person("Assignee", "Bob", form)
    alice.choose_person("Approver", "Nok", form)
    alice.click("Create job", within=form)
    alice.expect_status("assigned")

    # Bob comes by his toast and asks Alice in the thread; she answers and asks Nok as well.
    bob.click("Open job", within=bob.toast("assigned to you"))
    say(bob, "@Alice which logo is it?")
    expect(alice.page.get_by_test_id("comment").first).to_contain_text("which logo is it?")
    expect(alice.toast("which logo is it?")).to_be_visible()
    say(alice, "The new one, I think. @Nok is that right?")
    nok.click("Open job", within=nok.toast("is that right?"))
    say(nok, "It is.")
    for person in (alice, bob, nok):
        expect(person.page.get_by_test_id("comment")).to_have_count(3)

    # Bob submits, Nok rejects, Bob does it again, Nok approves.
    bob.click("Submit for approval")
    nok.expect_status("pending_approval")
    nok.click("Reject")
    dialog = nok.page.get_by_test_id("reject-dialog")
    dialog.get_by_role("textbox", name="Reason").fill("that is still the old logo")
    nok.click("Reject job", within=dialog)
    expect(bob.toast("that is still the old logo")).to_be_visible()
    bob.expect_status("rejected")
    bob.click("Submit for approval")
    nok.expect_status("pending_approval")
    nok.click("Approve")
    for person in (alice, bob, nok):
        person.expect_status("approved")

    # In the evening Alice puts the approval off, archives the rejection, and finds it again.
    alice.open_inbox()
    expect(alice.item("approved")).to_be_visible()
    alice.act_on("approved", "Snooze")
    alice.page.get_by_role("menuitem", name="Tomorrow morning").click()
    expect(alice.item("approved")).to_have_count(0)
    alice.act_on("old logo", "Archive")
    expect(alice.item("old logo")).to_have_count(0)
    alice.search("old logo")
    expect(alice.page.get_by_test_id("inbox").get_by_text("Nothing found").last).to_be_visible()
    alice.show_list("Archived")
    expect(alice.item("old logo")).to_have_count(1)
    alice.search("")
    alice.show_list("Snoozed")
    expect(alice.item("approved")).to_have_count(1)
    # A new tab shows the same.
    other = alice.another_tab()
    alice.sign_in(studio.token(ALICE), page=other)
    other.get_by_test_id("notification-badge").click()
    expect(other.get_by_test_id("notification").filter(has_text="which logo is it?")).to_have_count(1)
    for text in ("approved", "old logo"):
        expect(other.get_by_test_id("notification").filter(has_text=text)).to_have_count(0)


def say(visitor: Visitor, text: str) -> None:
    """Send a comment on the job that is open. The server finds whom an `@name` means."""
    visitor.page.get_by_role("textbox", name="Comment").fill(text)
    visitor.click("Send comment")
    expect(visitor.page.get_by_test_id("comment").first).to_contain_text(text)
