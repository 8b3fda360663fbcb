"""A second, small opinion on the workflow: what events by people do to jobs, inboxes and counts.

Written from the contract and the seed's table, not from the code. Jobs are numbered by djactors. People act through
the job routes, where roles and parts matter; of the same people a trusted service tells as well, and there they do not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

HOME = {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2}
"""Users and their tenants."""

ROLE = {1: "user", 2: "user", 3: "user", 4: "admin", 5: "user", 6: "user", 7: "manager"}


MANAGER = {1: 3, 2: 3, 3: 2, 4: 3, 5: 6, 6: 7, 7: 6}
"""Whom each user names as the manager of a job; never themselves, so that the parts are told apart."""

APPROVER = {1: 4, 2: 4, 3: 4, 4: 2, 5: 7, 6: 5, 7: 5}
"""Whom each user names as the approver of a job that they give to somebody."""

STRANGERS = (8, 9)
"""Of whom no service has told yet; one that names them in a tenant makes them known there."""


def deadline(other: int | None) -> str | None:
    """A day in March for each person, or none."""
    return None if other is None else f"2026-03-{other:02}T00:00:00.000000Z"


def comment(other: int | None) -> str:
    """A text that mentions each person by name, or nobody."""
    return "x" if other is None else f"hello @person  {other}, look"


@dataclass
class ModelJob:
    requester: int
    assignee: int | None
    approver: int | None
    manager: int | None
    status: str
    watchers: set[int]
    deadline: str | None = None
    title: str = "x"
    thread: list[tuple[int, str, list[int]]] = field(default_factory=list)


@dataclass
class Model:
    """`jobs` by tenant and id; `inbox` is the types in each user's inbox, oldest first; `sup` why whom not.

    `known` is who is known, and `left` who is deactivated (`ever_left`: or was at some time). `said` is what a
    tenant hears of its threads. A job's thread is who said what, and whom that mentions,
    oldest first. A user is a tenant and an id: the same number in the other tenant is somebody else.
    """

    jobs: dict[tuple[int, int], ModelJob] = field(default_factory=dict)
    inbox: dict[tuple[int, int], list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    sup: list[tuple[tuple[int, int], str]] = field(default_factory=list)
    known: set[tuple[int, int]] = field(default_factory=set)
    left: set[tuple[int, int]] = field(default_factory=set)
    ever_left: set[tuple[int, int]] = field(default_factory=set)
    said: dict[int, list[tuple[int, int, str, list[int]]]] = field(default_factory=lambda: {1: [], 2: []})
    last: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})

    def do(self, who: int, move: str, job_id: int, other: int | None, *, trusted: bool = False) -> int:
        """One request, of the person or of a trusted service; returns the status that it must get."""
        tenant = HOME[who]
        if not trusted and (tenant, who) in self.left:
            return 401
        if move in ("deactivate", "activate"):
            return self._office(who, move, other or who, trusted=trusted)
        if move == "create":
            if not trusted and ROLE[who] != "admin" and other == APPROVER[who]:
                return 403
            refused = self._unknown(tenant, other, trusted)
            if refused:
                return refused
            named = {who, MANAGER[who], *((other, APPROVER[who]) if other else ())}
            if any((tenant, user) in self.left for user in named):
                return 409
            self._know(tenant, other)
            self.last[tenant] += 1
            id_ = self.last[tenant]
            self.jobs[tenant, id_] = ModelJob(
                who, other, APPROVER[who] if other else None, MANAGER[who], "assigned" if other else "open", set()
            )
            self._tell("job_assigned", id_, who, [other])
            return 201
        if not trusted and move in ("watch", "unwatch") and other not in (None, who) and ROLE[who] == "user":
            return 403
        job = self.jobs.get((tenant, job_id))
        if job is None:
            return 404
        if not trusted and not (self._may(who, move, job) and self._keeps_apart(who, move, job, other)):
            return 403
        named = other if move in ("assign", "submit", "watch", "unwatch", "mention") else None
        refused = self._unknown(tenant, named, trusted)
        if refused:
            return refused
        if move == "watch":
            named = other or who
        if move != "unwatch" and (tenant, named) in self.left:
            return 409
        if job.status not in {
            "assign": ("open", "assigned", "rejected"),
            "submit": ("assigned", "rejected"),
            "approve": ("pending_approval",),
            "reject": ("pending_approval",),
            "complete": ("open", "assigned", "approved", "rejected"),
            "cancel": ("open", "assigned", "pending_approval", "approved", "rejected"),
        }.get(move, (job.status,)):
            return 409
        if move == "submit" and job.approver is None and other is None:
            return 400
        self._know(tenant, named)
        if move == "assign":
            job.assignee, job.status = other, "assigned"
            self._tell("job_assigned", job_id, who, [other])
        elif move == "submit":
            job.approver, job.status = other or job.approver, "pending_approval"
            self._tell("approval_needed", job_id, who, [job.approver])
        elif move == "approve":
            job.status = "approved"
            self._tell("approval_approved", job_id, who, [job.requester])
        elif move == "reject":
            job.status = "rejected"
            self._tell("approval_rejected", job_id, who, [job.requester, job.assignee])
        elif move == "complete":
            job.status = "completed"
            self._tell("job_completed", job_id, who, [job.requester])
        elif move == "cancel":
            job.status = "cancelled"
            if other is not None:
                self._comment(job_id, who, "no longer", set())
        elif move == "title":
            job.title = f"title {other}"
        elif move == "comments":
            by_name = other if other in HOME and HOME[other] == tenant and (tenant, other) not in self.left else None
            self._comment(job_id, who, comment(other), {by_name} - {None})
        elif move == "mention":
            self._comment(job_id, who, "look", {other} - {None})
        elif move == "watch":
            job.watchers.add(other or who)
        elif move == "unwatch":
            job.watchers.discard(other or who)
        elif move == "deadline":
            job.deadline = deadline(other)
        return 201 if trusted or move in ("comments", "mention") else 200

    def _office(self, who: int, move: str, whom: int, *, trusted: bool) -> int:
        """Only an admin deactivates somebody who is known, and never themselves."""
        tenant = HOME[who]
        if not trusted:
            if ROLE[who] != "admin" or (move == "deactivate" and who == whom):
                return 403
            if (tenant, whom) not in self.known:
                return 404
        self._know(tenant, whom)
        if move == "deactivate":
            self.ever_left.add((tenant, whom))
        (self.left.add if move == "deactivate" else self.left.discard)((tenant, whom))
        return 201 if trusted else 200

    def _comment(self, job_id: int, who: int, text: str, mentioned: set[int]) -> None:
        tenant = HOME[who]
        job = self.jobs[tenant, job_id]
        job.thread.append((who, text, sorted(mentioned)))
        self.said[tenant].append((job_id, who, text, sorted(mentioned)))
        self._tell("mentioned", job_id, who, sorted(mentioned))
        self._tell("comment_added", job_id, who, sorted(job.watchers - mentioned))
        job.watchers |= {user for user in {who, *mentioned} if (tenant, user) not in self.left}

    def _unknown(self, tenant: int, user: int | None, trusted: bool) -> int:
        """The status with which a name is refused, or 0: a person names whom the tenant knows."""
        return 0 if user is None or trusted or (tenant, user) in self.known else 404

    def _know(self, tenant: int, user: int | None) -> None:
        if user is not None:
            self.known.add((tenant, user))

    def _keeps_apart(self, who: int, move: str, job: ModelJob, other: int | None) -> bool:
        """Whether nobody would decide on their own work, or choose who does."""
        if ROLE[who] == "admin":
            return True
        if move == "assign":
            return other != job.approver
        if move == "submit" and other is not None:
            above = ROLE[who] == "manager" or who == job.manager
            return other != job.assignee and (above or job.approver in (None, other))
        return move not in ("approve", "reject") or who != job.assignee

    def _may(self, who: int, move: str, job: ModelJob) -> bool:
        role = ROLE[who]
        if move in ("comments", "mention", "watch", "unwatch"):
            return True
        if role == "admin" or (role == "manager" and move not in ("approve", "reject")):
            return True
        return (
            who
            in {
                "assign": (job.requester, job.manager),
                "submit": (job.assignee, job.manager),
                "approve": (job.approver,),
                "reject": (job.approver,),
                "complete": (job.assignee, job.requester, job.manager),
                "cancel": (job.requester, job.manager),
                "title": (job.requester, job.manager),
                "deadline": (job.requester, job.manager),
            }[move]
        )

    def _tell(self, type_: str, job_id: int, actor: int, people: list[int | None]) -> None:
        tenant = HOME[actor]
        for person in dict.fromkeys(people):
            if person is not None and (person == actor or (tenant, person) in self.left):
                self.sup.append(((tenant, person), type_))
            elif person is not None:
                self.inbox[tenant, person].append((type_, job_id))
