"""People by name in the page: they are searched, chosen, shown with their presence, and talk in the thread of a job."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.conftest import Visit
from tests.web.site import ADA, ALICE, BOB, CAROL, NOK, Site, Studio
from tests.web.visitor import PHONE, Visitor, open_visitor


def comments(visitor: Visitor) -> list[str]:
    """What the thread says, newest first."""
    return visitor.page.get_by_test_id("comment").locator("article > p:nth-of-type(2)").all_text_contents()


def say(visitor: Visitor, text: str) -> None:
    visitor.page.get_by_role("textbox", name="Comment").fill(text)
    visitor.click("Send comment")
    expect(visitor.page.get_by_test_id("comment").first).to_contain_text(text)


def write_by_keys(visitor: Visitor, *keys: str) -> None:
    """Type texts into what has the focus; a text in angle brackets is a key."""
    for key in keys:
        if key.startswith("<"):
            visitor.page.keyboard.press(key.strip("<>"))
        else:
            visitor.page.keyboard.type(key)


def option(page: Page, name: str) -> None:
    expect(page.get_by_role("option", selected=True)).to_contain_text(name)


# Choosing people


def test_a_person_is_searched_by_keyboard_and_the_job_assigned(visit: Visit, site: Site) -> None:
    studio = Studio(site, names={BOB: "José Bonilla", CAROL: "Carol Jost"})
    job = studio.act(ALICE, title="for somebody")
    visit(studio, BOB)
    alice = visit(studio, ALICE)
    alice.go_to_job(job)
    alice.page.get_by_role("button", name="Assign").focus()
    alice.page.keyboard.press("Enter")
    expect(alice.page.get_by_role("combobox", name="Assignee")).to_be_focused()
    # Accents do not count, and each word of a name is one to begin with.
    write_by_keys(alice, "jos")
    expect(alice.options()).to_have_count(2)
    option(alice.page, "José Bonilla")
    write_by_keys(alice, "<ArrowDown>")
    option(alice.page, "Carol Jost")
    write_by_keys(alice, "<ArrowUp>")
    option(alice.page, "José Bonilla")
    expect(alice.page.get_by_role("option", selected=True)).to_contain_text("online")
    write_by_keys(alice, "<Enter>")
    expect(alice.page.get_by_role("combobox", name="Assignee")).to_have_value("José Bonilla")
    expect(alice.options()).to_have_count(0)
    write_by_keys(alice, "<Enter>")
    alice.expect_status("assigned")
    facts = alice.page.get_by_role("complementary", name="Facts")
    expect(facts).to_contain_text("José Bonilla")
    expect(facts).not_to_contain_text("User ")


def test_somebody_who_left_is_shown_and_cannot_be_chosen_and_escape_leaves_the_dialog_open(
    visit: Visit, studio: Studio
) -> None:
    job = studio.act(ALICE, title="for nobody who left")
    studio.publish("user.deactivated", userId=studio.user_id(CAROL))
    alice = visit(studio, ALICE)
    alice.go_to_job(job)
    alice.click("Assign")
    dialog = alice.page.get_by_test_id("assign-dialog")
    write_by_keys(alice, "carol")
    left = alice.options()
    expect(left).to_contain_text("deactivated")
    expect(left).to_be_disabled()
    write_by_keys(alice, "<ArrowDown>", "<Enter>")
    expect(left).to_be_visible()
    write_by_keys(alice, "<Escape>")
    expect(left).to_have_count(0)
    expect(dialog).to_be_visible()
    # What was typed alone is no choice: the form says so and sends nothing.
    write_by_keys(alice, "<Enter>")
    expect(dialog).to_be_visible()
    write_by_keys(alice, "<Escape>")
    expect(dialog).to_have_count(0)
    alice.expect_status("open")


def test_a_manager_makes_a_job_with_a_manager_and_watchers_by_name_and_takes_one_off(
    visit: Visit, studio: Studio
) -> None:
    nok = visit(studio, NOK)
    nok.click("New job")
    form = nok.page.get_by_test_id("create-job")
    form.get_by_role("textbox", name="Title").fill("all by name")
    for field, name in (
        ("Assignee", "Bob"),
        ("Approver", "Ada"),
        ("Manager", "Nok"),
        ("Watchers", "Carol"),
        ("Watchers", "Alice"),
    ):
        nok.choose_person(field, name, form)
    nok.click("Create job", within=form)
    facts = nok.page.get_by_role("complementary", name="Facts")
    watchers = facts.get_by_role("list", name="Watchers")
    for name in ("Carol", "Alice"):
        expect(watchers).to_contain_text(name)
    expect(facts).to_contain_text("Ada")
    nok.click("Remove Carol from the watchers")
    expect(watchers).not_to_contain_text("Carol")
    nok.click("Add a watcher")
    nok.choose_person("Watcher", "Bob")
    nok.click("Add watcher")
    expect(watchers).to_contain_text("Bob")


def test_a_refusal_is_said_in_words_with_the_name(visit: Visit, studio: Studio) -> None:
    nok = visit(studio, NOK)
    nok.expects(r"status of 403")
    nok.click("New job")
    form = nok.page.get_by_test_id("create-job")
    form.get_by_role("textbox", name="Title").fill("own work")
    nok.choose_person("Assignee", "Bob", form)
    nok.choose_person("Approver", "Bob", form)
    nok.click("Create job", within=form)
    refusal = form.get_by_role("alert")
    expect(refusal).to_contain_text("Approver: Bob is the assignee, and nobody decides on their own work")


# Presence


def test_presence_follows_who_comes_and_goes(visit: Visit, visitors: list[Visitor], studio: Studio) -> None:
    job = studio.act(ALICE, title="who is there", assigneeId=BOB)
    alice = visit(studio, ALICE)
    alice.go_to_job(job)
    facts = alice.page.get_by_role("complementary", name="Facts")
    bob_dot = facts.locator("dd").first.get_by_test_id("presence")
    expect(bob_dot).to_have_attribute("data-connected", "false")
    bob = visit(studio, BOB)
    expect(bob_dot).to_have_attribute("data-connected", "true")
    expect(facts.locator("dd").first).to_contain_text("online")
    bob.page.close()
    expect(bob_dot).to_have_attribute("data-connected", "false")


# The thread


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_two_people_talk_in_a_thread_with_a_mention(visit: Visit, studio: Studio, transport: str) -> None:
    job = studio.act(ALICE, title="to talk about", assigneeId=BOB)
    websocket = transport == "websocket"
    alice, bob, carol = (visit(studio, user, websocket=websocket) for user in (ALICE, BOB, CAROL))
    for person in (alice, bob):
        person.go_to_job(job)
        expect(person.page.get_by_text("No comments yet")).to_be_visible()
    say(alice, "Which format is it?")
    # It is there for the other one, without a reload, once.
    expect(bob.page.get_by_test_id("comment")).to_have_count(1)
    # Bob answers by the keyboard, and asks Carol.
    bob.page.get_by_role("textbox", name="Comment").focus()
    write_by_keys(bob, "A3. @car")
    option(bob.page, "Carol")
    write_by_keys(bob, "<Enter>", "do you agree? See https://example.com/a3", "<Control+Enter>")
    for person in (alice, bob):
        expect(person.page.get_by_test_id("comment")).to_have_count(2)
        assert comments(person) == ["A3. @Carol do you agree? See https://example.com/a3", "Which format is it?"]
        expect(person.page.get_by_test_id("mention")).to_have_text("@Carol")
        link = person.page.get_by_test_id("comment").get_by_role("link")
        expect(link).to_have_attribute("href", "https://example.com/a3")
        expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    # Carol is told, comes by the toast, watches now, and answers.
    toast = carol.toast("@Carol do you agree?")
    carol.click("Open job", within=toast)
    expect(carol.page.get_by_test_id("comment")).to_have_count(2)
    expect(carol.page.get_by_role("button", name="Watching")).to_be_visible()
    say(carol, "I do.")
    for person in (alice, bob, carol):
        expect(person.page.get_by_test_id("comment")).to_have_count(3)
        assert comments(person)[0] == "I do."
    bob.page.reload()
    expect(bob.page.get_by_test_id("comment")).to_have_count(3)


def test_what_was_said_while_offline_is_there_afterwards_once_and_in_order(visit: Visit, studio: Studio) -> None:
    job = studio.act(ALICE, title="long thread", assigneeId=BOB)
    for number in range(25):
        studio.act(ALICE, f"/{job['id']}/comments", text=f"said {number:02}")
    bob = visit(studio, BOB)
    bob.expects_lost_connections()
    bob.go_to_job(job)
    expect(bob.page.get_by_test_id("comment")).to_have_count(20)
    bob.click("Older comments")
    expect(bob.page.get_by_test_id("comment")).to_have_count(25)
    bob.context.set_offline(True)
    bob.expect_disconnected()
    for number in range(25, 30):
        studio.act(ALICE, f"/{job['id']}/comments", text=f"said {number:02}")
    bob.context.set_offline(False)
    bob.expect_connected()
    expect(bob.page.get_by_test_id("comment")).to_have_count(30)
    assert comments(bob) == [f"said {number:02}" for number in reversed(range(30))]


@pytest.mark.parametrize("size", [(1280, 800), PHONE], ids=["desktop", "phone"])
def test_hostile_comments_and_names_are_text(visit: Visit, site: Site, size: tuple[int, int]) -> None:
    hostile = "<img src=x onerror=window.ran=1>"
    studio = Studio(site, names={BOB: hostile, CAROL: "W" * 200})
    job = studio.act(ALICE, title="hostile thread", assigneeId=BOB)
    studio.act(BOB, f"/{job['id']}/comments", text=f"{hostile} javascript:alert(1) @{'W' * 60} {'x' * 3000}")
    studio.act(CAROL, f"/{job['id']}/comments", text="\u202eright to left\n\n" + "Z" + "\u0301" * 60)
    alice = visit(studio, ALICE, size=size)
    alice.go_to_job(job)
    expect(alice.page.get_by_test_id("comment").last).to_contain_text(hostile)
    expect(alice.page.get_by_test_id("comment").get_by_role("link")).to_have_count(0)
    alice.expect_no_sideways_scroll()
    alice.click("Reassign")
    alice.page.get_by_role("combobox", name="Assignee").fill("")
    expect(alice.options().filter(has_text=hostile)).to_be_visible()
    alice.expect_no_sideways_scroll()
    assert alice.page.evaluate("window.ran") is None


def test_the_job_s_part_of_the_page_is_fetched_again_where_that_failed(
    browser: Browser, visitors: list[Visitor], studio: Studio
) -> None:
    job = studio.act(ALICE, title="part of its own", assigneeId=BOB)
    bob = open_visitor(browser, studio.site, "Bob")
    visitors.append(bob)
    bob.expects(r"net::ERR_FAILED")
    bob.page.route("**/assets/JobDetail-*.js", lambda route: route.abort())
    bob.page.goto(f"{studio.site.url}/#/jobs/{job['id']}&token={studio.token(BOB)}")
    bob.expect_connected()
    expect(bob.page.get_by_role("alert").filter(has_text="could not be fetched")).to_be_visible()
    bob.expect_accessible()
    bob.page.unroute("**/assets/JobDetail-*.js")
    bob.click("Try again")
    expect(bob.page.get_by_role("heading", level=1, name="part of its own")).to_be_visible()


def test_a_job_that_is_not_there_is_said_in_words(visit: Visit, studio: Studio) -> None:
    bob = visit(studio, BOB)
    bob.expects(r"status of 404")
    bob.page.evaluate("location.hash = '#/jobs/999999999'")
    expect(bob.page.get_by_text("There is no such job")).to_be_visible()
    bob.expect_accessible()


# Moves


def test_a_job_gets_another_title_and_is_cancelled_with_a_reason_before_everybody(visit: Visit, studio: Studio) -> None:
    job = studio.act(ALICE, title="no longer wanted", assigneeId=BOB)
    alice, bob = visit(studio, ALICE), visit(studio, BOB)
    for person in (alice, bob):
        person.go_to_job(job)
    # The assignee may do neither.
    for name in ("Cancel job", "Change the title"):
        expect(bob.page.get_by_role("button", name=name)).to_have_count(0)
    alice.click("Change the title")
    alice.page.get_by_role("textbox", name="Title").fill("not wanted at all")
    alice.click("Save")
    for person in (alice, bob):
        expect(person.page.get_by_role("heading", level=1, name="not wanted at all")).to_be_visible()
    alice.click("Cancel job")
    question = alice.page.get_by_test_id("cancel-dialog")
    alice.click("Keep job", within=question)
    alice.expect_status("assigned")
    alice.click("Cancel job")
    question.get_by_role("textbox", name="Reason").fill("the client has gone")
    alice.click("Cancel job", within=question)
    for person in (alice, bob):
        person.expect_status("cancelled")
        expect(person.page.get_by_test_id("comment").first).to_contain_text("the client has gone")
    for name in ("Cancel job", "Complete", "Reassign"):
        expect(alice.page.get_by_role("button", name=name)).to_have_count(0)
    bob.click("Back to the queue")
    bob.show_jobs("All jobs")
    expect(bob.job_row(job)).to_contain_text("Cancelled")


# For admins


def test_an_admin_deactivates_somebody_who_is_signed_out_at_once_and_sees_what_they_were_not_told(
    visit: Visit, studio: Studio
) -> None:
    job = studio.act(ALICE, title="somebody leaves", assigneeId=BOB)
    studio.act(BOB, f"/{job['id']}/watch")
    bob, ada = visit(studio, BOB), visit(studio, ADA)
    bob.expects(r"status of 401")
    bob.expects_lost_connections()
    ada.page.get_by_role("link", name="Observer").click()
    people = ada.page.get_by_test_id("people")
    people.get_by_role("searchbox", name="Search people").fill("bo")
    row = people.get_by_test_id("person")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("online")
    ada.click("Deactivate Bob")
    question = ada.page.get_by_test_id("active-dialog")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    ada.click("Deactivate", within=question)
    expect(row).to_contain_text("deactivated")
    expect(bob.page.get_by_test_id("sign-in").get_by_role("status")).to_contain_text("deactivated")
    studio.act(ALICE, f"/{job['id']}/comments", text="Is anybody there?")
    held_back = ada.page.get_by_test_id("suppressions")
    # Somebody who left is no choice for new work, but for this.
    held_back.get_by_role("combobox").fill("bob")
    ada.options().click()
    expect(held_back.get_by_test_id("suppression")).to_contain_text("comment added: they are deactivated")
    expect(held_back.get_by_test_id("suppression")).to_contain_text("Bob")
    ada.click("Activate Bob")
    ada.click("Activate", within=question)
    expect(row).not_to_contain_text("deactivated")
