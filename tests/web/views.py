"""Every view of the page by name: who looks at it, and the way there. For pictures, and for what holds of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import expect

from djactors.domain.times import utc_text
from tests.web.site import ADA, ALICE, BOB, CAROL, NOK, Studio
from tests.web.visitor import Visitor

TITLES = (
    "Banner Design - Q1 Campaign",
    "Packaging - Spring Edition",
    "Landing Page - Summer Sale",
    "Business Cards for the Bangkok office",
    "Annual Report, cover and twelve illustrations, in Thai and in English",
    "Signs for the car park",
    "Calendar for a year that is over",
)
LEFT = 16
"""Somebody who has left the studio."""


@dataclass(frozen=True)
class Scene:
    """A studio with some life in it."""

    studio: Studio
    jobs: list[dict[str, Any]]


def furnish(studio: Studio) -> Scene:
    """Jobs in every status, and an inbox with every kind of notification in it."""
    soon, far = (utc_text(datetime.now(UTC) + span) for span in (timedelta(hours=20), timedelta(days=9)))
    jobs = [
        studio.act(ALICE, title=TITLES[0], assigneeId=BOB, approverId=NOK, managerId=NOK, deadline=soon),
        studio.act(ALICE, title=TITLES[1], assigneeId=BOB, approverId=NOK, managerId=NOK, deadline=far),
        studio.act(ALICE, title=TITLES[2]),
        studio.act(ALICE, title=TITLES[3], assigneeId=CAROL, approverId=NOK),
        studio.act(BOB, title=TITLES[4], assigneeId=BOB, approverId=NOK),
        studio.act(ALICE, title=TITLES[5], assigneeId=CAROL),
        studio.act(ALICE, title=TITLES[6], assigneeId=BOB),
    ]
    first, second, _, fourth, fifth, _, seventh = (f"/{job['id']}" for job in jobs)
    studio.act(BOB, f"{first}/watch")
    studio.act(BOB, f"{first}/submit")
    studio.act(BOB, f"{second}/submit")
    studio.act(NOK, f"{second}/reject", reason="The logo is the old one.\nThe new one is at https://example.com/logo")
    studio.act(CAROL, f"{fourth}/complete")
    studio.act(BOB, f"{fifth}/submit")
    studio.act(NOK, f"{fifth}/approve")
    studio.act(ALICE, f"{first}/comments", text="The text has grown by two lines, see the brief.")
    studio.move(BOB, studio.notify(BOB, "Time sheets of January", message="They are due on Friday."), "archive")
    studio.move(BOB, studio.notify(BOB, "Order pens and paper", "MEDIUM"), "snooze", until=far)
    studio.act(
        BOB, f"{first}/comments", text="@Alice the new one is at https://example.com/banner\n@Nok, is it for you?"
    )
    studio.act(ALICE, f"{seventh}/cancel", reason="The year is over.")
    studio.publish("user.upserted", userId=studio.user_id(LEFT), name="Noah Left", role="user")
    studio.publish("user.deactivated", userId=studio.user_id(LEFT))
    return Scene(studio, jobs)


def _sign_in(visitor: Visitor, scene: Scene) -> None:
    visitor.page.goto(visitor.site.url)
    expect(visitor.page.get_by_test_id("sign-in")).to_be_visible()


def _queue(visitor: Visitor, scene: Scene) -> None:
    visitor.show_jobs("All jobs")
    expect(visitor.page.get_by_test_id("job")).to_have_count(len(scene.jobs))


def _empty_queue(visitor: Visitor, scene: Scene) -> None:
    expect(visitor.page.get_by_text("Nothing on your desk")).to_be_visible()


def _toasts(visitor: Visitor, scene: Scene) -> None:
    scene.studio.notify(CAROL, "The studio closes at six", message="Take your things with you.")
    scene.studio.notify(CAROL, "The server room is on fire", "CRITICAL")
    expect(visitor.toast("The server room is on fire")).to_be_visible()


def _job(visitor: Visitor, scene: Scene) -> None:
    visitor.go_to_job(scene.jobs[0])
    expect(visitor.page.get_by_test_id("comment")).to_have_count(2)


def _inbox(visitor: Visitor, scene: Scene) -> None:
    visitor.open_inbox()
    expect(visitor.page.get_by_test_id("notification").first).to_be_visible()


def _unread(visitor: Visitor, scene: Scene) -> None:
    _inbox(visitor, scene)
    # A radio is hidden behind its label.
    visitor.page.get_by_test_id("inbox").get_by_text("Unread", exact=True).click()
    expect(visitor.page.get_by_test_id("notification").first).to_have_attribute("data-read", "false")


def _list(view: str) -> Callable[[Visitor, Scene], None]:
    def show(visitor: Visitor, scene: Scene) -> None:
        _inbox(visitor, scene)
        visitor.show_list(view)
        expect(visitor.page.get_by_test_id("notification").first).to_have_attribute("data-place", view.lower())

    return show


def _menu(button: str) -> Callable[[Visitor, Scene], None]:
    def show(visitor: Visitor, scene: Scene) -> None:
        _inbox(visitor, scene)
        visitor.page.get_by_test_id("notification").first.get_by_role("button", name=button).click()
        expect(visitor.page.get_by_role("menu")).to_be_visible()

    return show


def _snooze_dialog(visitor: Visitor, scene: Scene) -> None:
    _menu("Snooze")(visitor, scene)
    visitor.page.get_by_role("menuitem", name="Choose a moment").click()
    expect(visitor.page.get_by_test_id("snooze-dialog")).to_be_visible()


def _filters(visitor: Visitor, scene: Scene) -> None:
    _inbox(visitor, scene)
    visitor.click("Filter")
    visitor.page.get_by_label("Priority", exact=True).select_option("HIGH")
    expect(visitor.page.get_by_test_id("notification").first).to_contain_text("High")


def _no_match(visitor: Visitor, scene: Scene) -> None:
    _inbox(visitor, scene)
    visitor.search("a word that is nowhere")
    expect(visitor.page.get_by_text("Nothing found", exact=True).last).to_be_visible()


def _undo(visitor: Visitor, scene: Scene) -> None:
    note = scene.studio.notify(BOB, "Kitchen duty", message="It is your turn this week.")
    _inbox(visitor, scene)
    visitor.act_on("Kitchen duty", "Archive")
    expect(visitor.page.get_by_test_id("notice")).to_be_visible()
    # The next who looks finds everything as it was.
    scene.studio.site.request("DELETE", f"/api/notifications/{note}", scene.studio.token(BOB))


def _muted_job(visitor: Visitor, scene: Scene) -> None:
    scene.studio.act(CAROL, f"/{scene.jobs[3]['id']}/mute")
    visitor.go_to_job(scene.jobs[3])
    expect(visitor.page.get_by_test_id("job-mute")).to_have_attribute("data-muted", "true")


def _empty_inbox(visitor: Visitor, scene: Scene) -> None:
    visitor.open_inbox()
    expect(visitor.page.get_by_test_id("notification")).to_have_count(0)


def _settings(visitor: Visitor, scene: Scene) -> None:
    visitor.click("Account and settings")
    expect(visitor.page.get_by_test_id("settings")).to_be_visible()


def _switch_account(visitor: Visitor, scene: Scene) -> None:
    visitor.page.goto(f"{visitor.site.url}/#token={scene.studio.token(CAROL)}")
    expect(visitor.page.get_by_test_id("switch-account")).to_be_visible()


def _wrong_link(visitor: Visitor, scene: Scene) -> None:
    visitor.page.goto(f"{visitor.site.url}/#token=garbage")
    expect(visitor.page.get_by_test_id("link-notice")).to_be_visible()


def _new_job(visitor: Visitor, scene: Scene) -> None:
    visitor.click("New job")
    expect(visitor.page.get_by_test_id("create-job")).to_be_visible()


def _job_dialog(button: str, dialog: str, number: int) -> Callable[[Visitor, Scene], None]:
    def show(visitor: Visitor, scene: Scene) -> None:
        visitor.go_to_job(scene.jobs[number])
        visitor.click(button)
        expect(visitor.page.get_by_test_id(dialog)).to_be_visible()

    return show


def _people(field: str, typed: str) -> Callable[[Visitor, Scene], None]:
    """A field that searches people, with what it found."""

    def show(visitor: Visitor, scene: Scene) -> None:
        box = visitor.page.get_by_role("combobox", name=field)
        box.click()
        box.fill(typed)
        expect(visitor.options().first).to_be_visible()

    return show


def _both(*steps: Callable[[Visitor, Scene], None]) -> Callable[[Visitor, Scene], None]:
    def show(visitor: Visitor, scene: Scene) -> None:
        for step in steps:
            step(visitor, scene)

    return show


def _mention(visitor: Visitor, scene: Scene) -> None:
    _job(visitor, scene)
    visitor.page.get_by_role("textbox", name="Comment").press_sequentially("What do you say, @n")
    expect(visitor.options().first).to_be_visible()


def _empty_thread(visitor: Visitor, scene: Scene) -> None:
    visitor.go_to_job(scene.jobs[2])
    expect(visitor.page.get_by_text("No comments yet")).to_be_visible()


def _cancelled(visitor: Visitor, scene: Scene) -> None:
    visitor.go_to_job(scene.jobs[6])
    expect(visitor.page.get_by_test_id("comment")).to_have_count(1)


def _observer(visitor: Visitor, scene: Scene) -> None:
    visitor.page.get_by_role("link", name="Observer").click()
    expect(visitor.page.get_by_test_id("observer-state")).not_to_have_attribute("data-state", "unknown")
    expect(visitor.page.get_by_test_id("actor-node").first).to_be_visible()


def _people_of_the_tenant(visitor: Visitor, scene: Scene) -> None:
    _observer(visitor, scene)
    expect(visitor.page.get_by_test_id("person")).to_have_count(6)
    visitor.page.get_by_role("heading", name="People", exact=True).scroll_into_view_if_needed()
    visitor.page.get_by_test_id("person").last.scroll_into_view_if_needed()


def _deactivate(visitor: Visitor, scene: Scene) -> None:
    _people_of_the_tenant(visitor, scene)
    visitor.click("Deactivate Bob")
    expect(visitor.page.get_by_test_id("active-dialog")).to_be_visible()


def _offline(visitor: Visitor, scene: Scene) -> None:
    visitor.expects_lost_connections()
    visitor.context.set_offline(True)
    expect(visitor.page.get_by_test_id("connection-state")).to_contain_text("Offline")


@dataclass(frozen=True)
class View:
    """`user` None is somebody who is not signed in."""

    user: int | None
    show: Callable[[Visitor, Scene], None]


VIEWS = {
    "sign-in": View(None, _sign_in),
    "queue": View(BOB, _queue),
    "queue-empty": View(ADA, _empty_queue),
    "toasts": View(CAROL, _toasts),
    "job": View(NOK, _job),
    "job-as-watcher": View(BOB, _job),
    "inbox": View(BOB, _inbox),
    "inbox-unread": View(BOB, _unread),
    "inbox-archived": View(BOB, _list("Archived")),
    "inbox-snoozed": View(BOB, _list("Snoozed")),
    "inbox-more": View(BOB, _menu("More")),
    "inbox-snooze": View(BOB, _menu("Snooze")),
    "inbox-snooze-moment": View(BOB, _snooze_dialog),
    "inbox-filters": View(BOB, _filters),
    "inbox-no-match": View(BOB, _no_match),
    "inbox-undo": View(BOB, _undo),
    "job-muted": View(CAROL, _muted_job),
    "inbox-empty": View(ADA, _empty_inbox),
    "settings": View(BOB, _settings),
    "switch-account": View(BOB, _switch_account),
    "wrong-link": View(BOB, _wrong_link),
    "new-job": View(ALICE, _new_job),
    "assign": View(ALICE, _job_dialog("Assign", "assign-dialog", 2)),
    "reject": View(NOK, _job_dialog("Reject", "reject-dialog", 0)),
    "submit": View(CAROL, _job_dialog("Submit for approval", "submit-dialog", 5)),
    "deadline": View(ALICE, _job_dialog("Move deadline", "deadline-dialog", 1)),
    "assign-people": View(ALICE, _both(_job_dialog("Assign", "assign-dialog", 2), _people("Assignee", "n"))),
    "new-job-people": View(NOK, _both(_new_job, _people("Watchers", ""))),
    "watcher": View(NOK, _job_dialog("Add a watcher", "watch-dialog", 0)),
    "mention": View(BOB, _mention),
    "thread-empty": View(ADA, _empty_thread),
    "title": View(ALICE, _job_dialog("Change the title", "title-dialog", 0)),
    "cancel": View(ALICE, _job_dialog("Cancel job", "cancel-dialog", 0)),
    "cancelled": View(ALICE, _cancelled),
    "observer": View(ADA, _observer),
    "people": View(ADA, _people_of_the_tenant),
    "deactivate": View(ADA, _deactivate),
    "offline": View(BOB, _offline),
}


def go(visitor: Visitor, name: str, scene: Scene) -> None:
    """Sign in where the view needs it, and go there."""
    view = VIEWS[name]
    if view.user is not None:
        visitor.sign_in(scene.studio.token(view.user))
    view.show(visitor, scene)
    visitor.settle()
