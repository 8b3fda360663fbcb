"""Nobody decides on their own work: what persons may name and decide, where assignee and approver would be one."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from djactors.domain.commands import Publish
from djactors.domain.errors import Code
from djactors.domain.events import DomainEvent, JobAssigned, JobCreated, JobSubmitted, Role
from djactors.domain.permissions import Person
from tests.inbox.desk import Desk
from tests.workflow.people import (
    APPROVED,
    APPROVER,
    ASSIGNEE,
    FAN,
    MANAGER,
    REJECTED,
    REQUESTER,
    STRANGER,
    SUBMITTED,
    T,
    by,
    live,
)

ROLES: tuple[Role, ...] = ("user", "manager", "admin")
MEND = "nobody decides on their own work: name somebody else, or ask an admin"


def acts(event: DomainEvent, user_id: int, role: Role = "user") -> Publish:
    return Publish(by(event, user_id), person=Person(user_id, role))


def submits(approver_id: int | None) -> JobSubmitted:
    return msgspec.structs.replace(SUBMITTED, approver_id=approver_id)


def refused(desk: Desk, command: Publish) -> str:
    refusal = desk.refusal(command)
    assert refusal.code is Code.FORBIDDEN
    return refusal.message


# Who may replace the approver


def test_an_assignee_names_an_approver_where_there_is_none(desk: Desk) -> None:
    live(desk, "assigned", approver_id=None)
    desk.do(acts(submits(STRANGER), ASSIGNEE))
    assert desk.rows("SELECT status, approver_id FROM jobs") == [("pending_approval", STRANGER)]


@pytest.mark.parametrize("status", ["assigned", "rejected"])
def test_an_assignee_replaces_no_approver(desk: Desk, status: str) -> None:
    live(desk, status)
    assert refused(desk, acts(submits(STRANGER), ASSIGNEE)) == (
        "approverId: DJ-2026-0001 has an approver, whom only its manager and the roles manager and admin "
        "may replace: leave it out"
    )
    desk.do(acts(submits(APPROVER), ASSIGNEE))
    assert desk.one("SELECT approver_id FROM jobs") == APPROVER


@pytest.mark.parametrize(
    ("user_id", "role"), [(MANAGER, "user"), (STRANGER, "manager"), (STRANGER, "admin"), (ASSIGNEE, "manager")]
)
def test_the_job_s_manager_and_the_roles_above_replace_the_approver(desk: Desk, user_id: int, role: Role) -> None:
    live(desk, "assigned")
    desk.do(acts(submits(FAN), user_id, role))
    assert desk.one("SELECT approver_id FROM jobs") == FAN


# Assignee and approver are two


@pytest.mark.parametrize(("user_id", "role"), list(product((ASSIGNEE, MANAGER), ("user", "manager"))))
@pytest.mark.parametrize("approver", [None, APPROVER, ASSIGNEE])
def test_nobody_but_an_admin_makes_the_assignee_the_approver(
    desk: Desk, user_id: int, role: Role, approver: int | None
) -> None:
    live(desk, "assigned", approver_id=approver)
    message = f"approverId: user {ASSIGNEE} is the assignee, and {MEND}"
    assert refused(desk, acts(submits(ASSIGNEE), user_id, role)) == message
    desk.do(acts(submits(ASSIGNEE), user_id, "admin"))
    assert desk.one("SELECT approver_id FROM jobs") == ASSIGNEE


@pytest.mark.parametrize("user_id", [REQUESTER, ASSIGNEE])
def test_nobody_but_an_admin_creates_a_job_whose_assignee_is_the_approver(desk: Desk, user_id: int) -> None:
    live(desk, "open")
    creation = JobCreated(tenant_id=T, title="x", requester_id=user_id, assignee_id=ASSIGNEE, approver_id=ASSIGNEE)
    message = f"approverId: user {ASSIGNEE} is the assignee, and {MEND}"
    for role in ("user", "manager"):
        assert refused(desk, acts(creation, user_id, role)) == message
    desk.do(acts(creation, user_id, "admin"))
    # A job without either names nobody twice.
    desk.do(acts(JobCreated(tenant_id=T, title="x", requester_id=user_id), user_id))


@pytest.mark.parametrize("status", ["open", "assigned", "rejected"])
def test_nobody_but_an_admin_assigns_a_job_to_its_approver(desk: Desk, status: str) -> None:
    live(desk, status)
    event = JobAssigned(tenant_id=T, job_id=1, assignee_id=APPROVER)
    message = f"assigneeId: user {APPROVER} is the approver, and {MEND}"
    for user_id, role in ((REQUESTER, "user"), (MANAGER, "user"), (STRANGER, "manager"), (APPROVER, "manager")):
        assert refused(desk, acts(event, user_id, role)) == message
    desk.do(acts(event, STRANGER, "admin"))
    assert desk.one("SELECT assignee_id FROM jobs") == APPROVER


# Decisions


@pytest.mark.parametrize("event", [APPROVED, REJECTED], ids=["approve", "reject"])
def test_an_approver_who_is_the_assignee_decides_nothing_unless_an_admin(desk: Desk, event: DomainEvent) -> None:
    # A service said so, and it is trusted.
    live(desk, "pending_approval", approver_id=ASSIGNEE)
    for role in ("user", "manager"):
        message = refused(desk, acts(event, ASSIGNEE, role))
        assert message.endswith(
            "DJ-2026-0001: you are its assignee, and nobody decides on their own work: ask an admin"
        )
    desk.do(acts(event, ASSIGNEE, "admin"))
    assert desk.one("SELECT status FROM jobs") in ("approved", "rejected")


def test_a_service_is_not_restricted(desk: Desk) -> None:
    live(desk, "assigned")
    desk.publish(by(submits(ASSIGNEE), ASSIGNEE))
    desk.publish(by(APPROVED, ASSIGNEE))
    assert desk.one("SELECT status FROM jobs") == "approved"


@pytest.mark.parametrize("role", ROLES)
def test_who_has_no_part_is_told_who_may_and_nothing_of_the_people(desk: Desk, role: Role) -> None:
    live(desk, "assigned")
    command = acts(submits(ASSIGNEE), STRANGER, role)
    if role == "admin":
        desk.do(command)
        return
    message = refused(desk, command)
    assert (MEND in message) == (role == "manager")
