"""Which move a job's state allows, and to whom: every status with every move, every move with every part and role."""

from itertools import product

import pytest

from djactors.domain.commands import Publish
from djactors.domain.errors import Code, Refused
from djactors.domain.events import DomainEvent, Role
from djactors.domain.permissions import Person
from tests.engines import begin, roll_back
from tests.inbox.desk import Desk
from tests.workflow.people import (
    APPROVED,
    ASSIGNED,
    CANCELLED,
    COMMENTED,
    COMPLETED,
    LIVES,
    MOVED,
    PARTS,
    REJECTED,
    RETITLED,
    SUBMITTED,
    UNWATCHED,
    WATCHED,
    by,
    live,
)

MOVES: dict[str, tuple[DomainEvent, str]] = {
    "assign": (ASSIGNED, "assigned"),
    "submit": (SUBMITTED, "pending_approval"),
    "approve": (APPROVED, "approved"),
    "reject": (REJECTED, "rejected"),
    "complete": (COMPLETED, "completed"),
    "cancel": (CANCELLED, "cancelled"),
}
ALLOWED = {
    "open": "assign complete cancel",
    "assigned": "assign submit complete cancel",
    "pending_approval": "approve reject cancel",
    "approved": "complete cancel",
    "rejected": "assign submit complete cancel",
    "completed": "",
    "cancelled": "",
}
ANY_TIME: dict[str, DomainEvent] = {
    "comment": COMMENTED,
    "deadline": MOVED,
    "title": RETITLED,
    "watch": WATCHED,
    "unwatch": UNWATCHED,
}


@pytest.mark.parametrize(("status", "move"), list(product(LIVES, MOVES)))
def test_a_move_is_made_or_refused_with_what_is_allowed(desk: Desk, status: str, move: str):
    live(desk, status)
    event, then = MOVES[move]
    if move in ALLOWED[status].split():
        desk.publish(event)
        assert desk.one("SELECT status FROM jobs") == then
        return
    refused = desk.refusal(event)
    allowed = ALLOWED[status].replace(" ", ", ") or "nothing"
    assert refused.code is Code.CONFLICT
    assert refused.message == f"DJ-2026-0001 is {status}: {move} is not allowed; allowed: {allowed}"


@pytest.mark.parametrize(("status", "name"), list(product(LIVES, ANY_TIME)))
def test_what_is_no_move_is_always_allowed_and_moves_nothing(desk: Desk, status: str, name: str):
    live(desk, status)
    desk.publish(ANY_TIME[name])
    assert desk.one("SELECT status FROM jobs") == status


MAY = {
    "assign": "Requester Manager manager admin",
    "submit": "Assignee Manager manager admin",
    "approve": "Approver admin",
    "reject": "Approver admin",
    "complete": "Assignee Requester Manager manager admin",
    "cancel": "Requester Manager manager admin",
    "deadline": "Requester Manager manager admin",
    "title": "Requester Manager manager admin",
    "comment": "everybody",
    "watch": "everybody",
    "unwatch": "everybody",
}
"""Parts in the job begin with a capital, roles do not."""
STATUS_FOR = {"approve": "pending_approval", "reject": "pending_approval"}
"""Elsewhere it is `assigned`: every part is somebody's then."""
ROLES: tuple[Role, ...] = ("user", "manager", "admin")


@pytest.mark.parametrize("move", MAY)
def test_a_move_is_for_the_parts_and_roles_that_the_table_names(desk: Desk, move: str):
    live(desk, STATUS_FOR.get(move, "assigned"))
    event = MOVES[move][0] if move in MOVES else ANY_TIME[move]
    may = MAY[move].split()
    for part, role in product(PARTS, ROLES):
        command = Publish(by(event, PARTS[part]), person=Person(PARTS[part], role))
        if may == ["everybody"] or part in may or role in may:
            begin(desk.connection)
            outcome = desk.recorder.record(desk.connection, [command]).outcomes[0]
            roll_back(desk.connection)
            desk.recorder.forget()
            assert not isinstance(outcome, Exception), (part, role)
        else:
            refused = desk.refusal(command)
            assert refused.code is Code.FORBIDDEN, (part, role)
            assert "who may: its " in refused.message


@pytest.mark.parametrize("event", [ASSIGNED, APPROVED, COMMENTED, WATCHED], ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("role", ROLES)
def test_a_person_never_brings_a_job_about_by_naming_it(desk: Desk, event: DomainEvent, role: Role):
    refused = desk.refusal(Publish(by(event, 10), person=Person(10, role)))
    assert (refused.code, refused.message) == (Code.NOT_FOUND, "not found")


def test_who_may_not_learns_nothing_of_the_state(desk: Desk):
    live(desk, "completed")
    refused = desk.refusal(Publish(by(APPROVED, 16), person=Person(16, "user")))
    assert refused.code is Code.FORBIDDEN
    assert "completed" not in refused.message
    assert isinstance(refused, Refused)


def test_a_service_may_make_any_move_in_anybodys_name(desk: Desk):
    live(desk, "pending_approval")
    desk.publish(by(APPROVED, 16))
    assert desk.one("SELECT status FROM jobs") == "approved"
