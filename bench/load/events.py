"""The bodies that are posted: the same to every server under test."""

import msgspec

from bench.load.commands import Event
from bench.load.crowd import BACKEND, TENANT

_NUMBERS = {b"6666666": b"%(tenant)d", b"7777777": b"%(user)d", b"8888888": b"%(number)d"}


def _template(event: dict[str, object]) -> bytes:
    text = msgspec.json.encode(event)
    for placeholder, name in _NUMBERS.items():
        text = text.replace(placeholder, name)
    return text


_REQUESTED = _template(
    {
        "type": "notification.requested",
        "tenantId": 6666666,
        "actorId": BACKEND,
        "userId": 7777777,
        "notificationType": "bench",
        "priority": "HIGH",
        "title": "Notice 8888888 for you",
        "message": "The quick brown fox jumps over the lazy dog",
        "data": {"n": 8888888},
    }
)
_ASSIGNED = _template(
    {"type": "job.assigned", "tenantId": 6666666, "actorId": BACKEND, "jobId": 8888888, "assigneeId": 7777777}
)


def body(event: Event, number: int, user: int, tenant: int = TENANT) -> bytes:
    """One event that notifies one user; `number` is known again on arrival. Formatted, since the load must be cheap."""
    template = _REQUESTED if event == "notification.requested" else _ASSIGNED
    return template % {b"user": user, b"number": number, b"tenant": tenant}


def known_user(number: int, tenant: int = TENANT) -> dict[str, object]:
    """A user whom the server shall know. The role that is given here wins over a token's."""
    role = "service" if number == BACKEND else "user"
    return {"type": "user.upserted", "tenantId": tenant, "userId": number, "name": f"User {number}", "role": role}


def job(number: int, tenant: int = TENANT) -> dict[str, object]:
    """A job that can be assigned."""
    title = f"Job {number} of the load"
    return {"type": "job.created", "tenantId": tenant, "jobId": number, "title": title, "requesterId": BACKEND}
