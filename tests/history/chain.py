"""Recomputes the marks of a whole database from what it would send to clients, and names those that differ.

A mark is eight bytes of BLAKE2b over the mark before it, the change's number and user (0 for everyone), three signed
integers of eight bytes, then the event's name, a zero byte and the payload.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from tests.history.findings import Finding
from tests.history.tables import Tables

EVENTS = {
    "new": "notification:new",
    "read": "notification:read",
    "unread": "notification:unread",
    "seen": "notification:seen",
    "archived": "notification:archived",
    "unarchived": "notification:unarchived",
    "snoozed": "notification:snoozed",
    "unsnoozed": "notification:unsnoozed",
    "deleted": "notification:deleted",
    "job_muted": "job:muted",
    "job_unmuted": "job:unmuted",
    "job_assigned": "job:assigned",
    "approval_changed": "approval:status-changed",
    "job_updated": "job:updated",
    "comment_added": "comment:added",
}
"""The kinds of change, and the event that each of them is to a client."""

SELECT_CHANGES = """SELECT c.seq, c.mark, n.mark, c.user_id, c.kind, c.data, n.id, n.type, n.priority, n.title,
    n.message, n.data, n.created_at, n.replaces FROM changes c LEFT JOIN notifications n ON n.id = c.notification_id
    WHERE c.tenant_id = ? ORDER BY c.seq"""


def offset_text(mark: int, seq: int) -> str:
    """MARK.SEQ, or .0 before any change."""
    if seq == 0:
        return ".0"
    return f"{base64.urlsafe_b64encode(mark.to_bytes(8, 'big', signed=True)).decode().rstrip('=')}.{seq}"


def mark_after(before: int, seq: int, user_id: int | None, event: str, payload: bytes) -> int:
    """The mark of a change."""
    numbers = b"".join(number.to_bytes(8, "big", signed=True) for number in (before, seq, user_id or 0))
    digest = hashlib.blake2b(numbers + event.encode() + b"\0" + payload, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def judge_marks(connection: Tables) -> Iterator[Finding]:
    """Rule "marks": each change has the mark that follows from the change before it and from what is sent of it."""
    for tenant_id, oldest_seq, mark in connection.execute("SELECT id, oldest_seq, oldest_mark FROM tenants").fetchall():
        if oldest_seq == 0 and mark != 0:
            yield Finding("marks", f"tenant {tenant_id}", f"nothing was purged, but the oldest mark is {mark}")
        for seq, stored, of_row, user_id, kind, *row in connection.execute(SELECT_CHANGES, (tenant_id,)):
            expected = mark_after(mark, seq, user_id, EVENTS[kind], _payload(kind, *row))
            if stored != expected:
                text = f"change {seq} has {offset_text(stored, seq)}, and not {offset_text(expected, seq)}"
                yield Finding("marks", f"tenant {tenant_id}", text)
            if kind == "new" and of_row != stored:
                yield Finding("marks", f"tenant {tenant_id}", f"the notification of change {seq} has another mark")
            mark = stored


def _payload(kind: str, data: str | None, *notification: Any) -> bytes:
    if kind != "new":
        assert data is not None
        return data.encode()
    id_, type_, priority, title, message, raw, created_at, replaces = notification
    fields = {
        "id": _json(id_),
        "type": _json(type_),
        "priority": _json(priority),
        "title": _json(title),
        "message": _json(message),
        "data": "null" if raw is None else raw,
        "createdAt": _json(created_at),
        **({} if replaces is None else {"replaces": _json(replaces)}),
    }
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
