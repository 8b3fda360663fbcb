"""The bodies that are posted: the same to every server under test."""

import msgspec

from bench.load.commands import Event
from bench.load.crowd import BACKEND, TENANT

_REQUESTED = msgspec.json.encode(
    {
        "type": "notification.requested",
        "tenantId": TENANT,
        "actorId": BACKEND,
        "userId": 7777777,
        "notificationType": "bench",
        "priority": "HIGH",
        "title": "Notice 8888888 for you",
        "message": "The quick brown fox jumps over the lazy dog",
        "data": {"n": 8888888},
    }
).replace(b"7777777", b"%(user)d").replace(b"8888888", b"%(number)d")  # fmt: skip
_ASSIGNED = msgspec.json.encode(
    {"type": "job.assigned", "tenantId": TENANT, "actorId": BACKEND, "jobId": 8888888, "assigneeId": 7777777}
).replace(b"7777777", b"%(user)d").replace(b"8888888", b"%(number)d")  # fmt: skip


def body(event: Event, number: int, user: int) -> bytes:
    """One event that notifies one user; `number` is known again on arrival. Formatted, since the load must be cheap."""
    template = _REQUESTED if event == "notification.requested" else _ASSIGNED
    return template % {b"user": user, b"number": number}


def known_user(number: int) -> dict[str, object]:
    """A user whom the server shall know. The role that is given here wins over a token's."""
    role = "service" if number == BACKEND else "user"
    return {"type": "user.upserted", "tenantId": TENANT, "userId": number, "name": f"User {number}", "role": role}


def job(number: int) -> dict[str, object]:
    """A job that can be assigned."""
    title = f"Job {number} of the load"
    return {"type": "job.created", "tenantId": TENANT, "jobId": number, "title": title, "requesterId": BACKEND}
