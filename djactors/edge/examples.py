"""Examples in the API's descriptions. A test sends each of them to a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVENTS: Mapping[str, Mapping[str, Any]] = {
    "job.created": {
        "type": "job.created",
        "tenantId": 1,
        "id": "order-4711",
        "title": "Banner Design",
        "requesterId": 1,
        "assigneeId": 2,
        "deadline": "2026-02-01T17:00:00+07:00",
    },
    "job.assigned": {"type": "job.assigned", "tenantId": 1, "actorId": 1, "jobId": 1, "assigneeId": 2},
    "job.submitted": {"type": "job.submitted", "tenantId": 1, "actorId": 2, "jobId": 1, "approverId": 3},
    "job.approved": {"type": "job.approved", "tenantId": 1, "actorId": 3, "jobId": 1},
    "job.rejected": {
        "type": "job.rejected",
        "tenantId": 1,
        "actorId": 3,
        "jobId": 1,
        "reason": "The logo is the old one",
    },
    "job.completed": {"type": "job.completed", "tenantId": 1, "actorId": 2, "jobId": 1},
    "job.cancelled": {
        "type": "job.cancelled",
        "tenantId": 1,
        "actorId": 1,
        "jobId": 1,
        "reason": "The campaign is off",
    },
    "job.retitled": {"type": "job.retitled", "tenantId": 1, "actorId": 1, "jobId": 1, "title": "Banner Design, wide"},
    "job.deadline_changed": {
        "type": "job.deadline_changed",
        "tenantId": 1,
        "jobId": 1,
        "deadline": "2026-02-10T17:00:00+07:00",
    },
    "comment.added": {
        "type": "comment.added",
        "tenantId": 1,
        "actorId": 1,
        "jobId": 1,
        "text": "Which size?",
        "mentions": [2],
    },
    "job.watched": {"type": "job.watched", "tenantId": 1, "jobId": 1, "userId": 4},
    "job.unwatched": {"type": "job.unwatched", "tenantId": 1, "jobId": 1, "userId": 4},
    "user.upserted": {"type": "user.upserted", "tenantId": 1, "userId": 2, "name": "Somchai", "role": "user"},
    "user.deactivated": {"type": "user.deactivated", "tenantId": 1, "userId": 4},
    "user.activated": {"type": "user.activated", "tenantId": 1, "userId": 4},
    "tenant.upserted": {"type": "tenant.upserted", "tenantId": 1, "name": "Studio", "timeZone": "Asia/Bangkok"},
    "notification.requested": {
        "type": "notification.requested",
        "tenantId": 1,
        "userId": 2,
        "notificationType": "welcome",
        "priority": "LOW",
        "title": "Good morning",
        "message": "Here you see what has happened.",
        "data": {"link": "https://example.com/welcome"},
    },
}
"""Domain events, by their types."""

EMITTED: Mapping[str, Mapping[str, Any]] = {
    "notification:read": {"notificationId": 1},
    "notification:read-all": {},
    "notification:unread": {"notificationId": 1},
    "notification:seen": {"upTo": 1},
    "notification:archive": {"notificationId": 1},
    "notification:unarchive": {"notificationId": 1},
    "notification:snooze": {"notificationId": 1, "until": "2026-02-10T09:00:00+07:00"},
    "notification:unsnooze": {"notificationId": 1},
    "notification:delete": {"notificationId": 1},
    "job:mute": {"jobId": 1},
    "job:unmute": {"jobId": 1},
    "job:read-notifications": {"jobId": 1},
    "auth:refresh": {"token": "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOjJ9.c2lnbmF0dXJl"},
    "people:watch": {},
    "people:unwatch": {},
    "test:create-job": {"projectId": 1, "jobTypeId": 1, "title": "Banner Design", "assigneeId": 2},
    "test:assign-job": {"jobId": 1, "assigneeId": 2},
}
"""Payloads of what clients emit, by event."""
