"""A second, small opinion on the workflow: what events by people do to jobs, inboxes and counts.

Written from the contract and the seed's table, not from the code. Jobs are numbered by djactors. People act through
the job routes, where roles and parts matter; of the same people a trusted service tells as well, and there they do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HOME = {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 2}
"""Users and their tenants."""

ROLE = {1: "user", 2: "user", 3: "user", 4: "admin", 5: "user", 6: "user", 7: "manager"}


MANAGER = {1: 3, 2: 3, 3: 2, 4: 3, 5: 6, 6: 7, 7: 6}
"""Whom each user names as the manager of a job; never themselves, so that the parts are told apart."""


def deadline(other: int | None) -> str | None:
    """A day in March for each person, or none."""
    return None if other is None else f"2026-03-{other:02}T00:00:00.000000Z"


@dataclass
class ModelJob:
    requester: int
    assignee: int | None
    approver: int | None
    manager: int | None
    status: str
    watchers: set[int]
    deadline: str | None = None


@dataclass
class Model:
    """`jobs` by tenant and id; `inbox` is the types in each user's inbox, oldest first; `sup` why whom not."""

    jobs: dict[tuple[int, int], ModelJob] = field(default_factory=dict)
    inbox: dict[int, list[tuple[str, int]]] = field(default_factory=lambda: {user: [] for user in HOME})
    sup: list[tuple[int, str]] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    last: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})

    def do(self, who: int, move: str, job_id: int, other: int | None, *, trusted: bool = False) -> int:
        """One request, of the person or of a trusted service; returns the status that it must get."""
        tenant = HOME[who]
        if move == "create":
            if other is not None and self._foreign(tenant, other):
                return 409
            self._know(who, other)
            self.last[tenant] += 1
            id_ = self.last[tenant]
            self.jobs[tenant, id_] = ModelJob(who, other, other, MANAGER[who], "assigned" if other else "open", set())
            self._tell("job_assigned", id_, who, [other])
            return 201
        if not trusted and move in ("watch", "unwatch") and other not in (None, who) and ROLE[who] == "user":
            return 403
        job = self.jobs.get((tenant, job_id))
        if job is None:
            return 404
        if not trusted and not self._may(who, move, job):
            return 403
        if other is not None and move in ("assign", "submit", "watch", "unwatch") and self._foreign(tenant, other):
            return 409
        if job.status not in {
            "assign": ("open", "assigned", "rejected"),
            "submit": ("assigned", "rejected"),
            "approve": ("pending_approval",),
            "reject": ("pending_approval",),
            "complete": ("open", "assigned", "approved", "rejected"),
        }.get(move, (job.status,)):
            return 409
        if move == "submit" and job.approver is None and other is None:
            return 400
        self._know(who, other if move in ("assign", "submit", "watch", "unwatch") else None)
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
        elif move == "comments":
            self._tell("comment_added", job_id, who, sorted(job.watchers))
        elif move == "watch":
            job.watchers.add(other or who)
        elif move == "unwatch":
            job.watchers.discard(other or who)
        elif move == "deadline":
            job.deadline = deadline(other)
        return 201 if trusted or move == "comments" else 200

    def _foreign(self, tenant: int, user: int) -> bool:
        return user in self.known and HOME[user] != tenant

    def _know(self, *users: int | None) -> None:
        self.known.update(user for user in users if user is not None)

    def _may(self, who: int, move: str, job: ModelJob) -> bool:
        role = ROLE[who]
        if move in ("comments", "watch", "unwatch"):
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
                "deadline": (job.requester, job.manager),
            }[move]
        )

    def _tell(self, type_: str, job_id: int, actor: int, people: list[int | None]) -> None:
        for person in dict.fromkeys(people):
            if person == actor:
                self.sup.append((person, type_))
            elif person is not None:
                self.inbox[person].append((type_, job_id))
