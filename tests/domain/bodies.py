"""One good body of every domain event, to be spoilt by the tests."""

import json
from typing import Any

MINIMAL: dict[str, dict[str, Any]] = {
    "job.created": {"title": "Banner Design", "requesterId": 2},
    "job.assigned": {"jobId": 5, "assigneeId": 3},
    "job.submitted": {"jobId": 5},
    "job.approved": {"jobId": 5},
    "job.rejected": {"jobId": 5},
    "job.completed": {"jobId": 5},
    "job.deadline_changed": {"jobId": 5, "deadline": None},
    "comment.added": {"jobId": 5, "text": "Nice"},
    "job.watched": {"jobId": 5, "userId": 3},
    "job.unwatched": {"jobId": 5, "userId": 3},
    "user.upserted": {"userId": 3, "name": "John Doe", "role": "manager"},
    "tenant.upserted": {"name": "Acme"},
    "notification.requested": {
        "userId": 3,
        "notificationType": "invoice_paid",
        "priority": "LOW",
        "title": "Invoice 7 was paid",
    },
}
"""The required fields of each type, beside `type` and `tenantId`."""

OPTIONAL: dict[str, dict[str, Any]] = {
    "job.created": {
        "jobId": 5,
        "djId": "DJ-2026-0005",
        "projectId": 1,
        "jobTypeId": 2,
        "assigneeId": 3,
        "approverId": 4,
        "managerId": 6,
        "watcherIds": [7, 8],
        "deadline": "2026-02-01T00:00:00Z",
    },
    "job.submitted": {"approverId": 4},
    "job.rejected": {"reason": "Wrong logo"},
    "tenant.upserted": {"timeZone": "Europe/Berlin"},
    "notification.requested": {"message": "Thank you", "data": {"invoice": 7, "lines": [1, 2.5, None, "x"]}},
}
"""What else each type may carry, beside `actorId`, `id` and `occurredAt`."""


def body(kind: str, **changes: Any) -> dict[str, Any]:
    """A good event of this type, with changes."""
    return {"type": kind, "tenantId": 1, **MINIMAL[kind], **changes}


def encoded(value: object) -> bytes:
    """The JSON of it, with everything beyond ASCII escaped: half surrogates pass, too."""
    return json.dumps(value).encode()
