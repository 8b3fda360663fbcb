"""The demo: a tenant with named people and some jobs, and lines to paste into another terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from djactors.app import Server
from djactors.config import Settings
from djactors.domain.events import DomainEvent, JobAssigned, JobCreated, Role, TenantUpserted, UserUpserted
from djactors.operations.tokens import sign

TENANT = 1
TOKEN_SECONDS = 7 * 24 * 3600
"""The life of the demo's tokens, so that a demo can be left open over a weekend."""

PEOPLE: tuple[tuple[int, str, Role], ...] = (
    (1, "Mali Requester", "user"),
    (2, "Somchai Designer", "user"),
    (3, "Anna Designer", "user"),
    (4, "Nok Approver", "manager"),
    (5, "Admin", "admin"),
)
DUE_IN = timedelta(minutes=3)
"""The time until the demo's one deadline: long enough to start watching, and short enough to wait for."""

JOBS: tuple[tuple[str, int | None, timedelta | None], ...] = (
    ("Banner Design - Q1 Campaign", 2, None),
    ("Packaging - Spring Edition", 3, DUE_IN),
    ("Landing Page - Summer Sale", None, None),
)

WATCHER = (
    'import { io } from "socket.io-client";'
    "const [url, token] = process.argv.slice(-2);"
    "const socket = io(url, { auth: { token } });"
    'socket.on("connect", () => console.log("connected"));'
    'socket.on("connect_error", (error) => console.log("connect_error", error.message));'
    "socket.onAny((name, payload) => console.log(name, JSON.stringify(payload)));"
)
"""A program that watches a user's notifications: the stock client, which prints all that arrives."""


async def prepare(server: Server) -> list[str]:
    """Fill the tenant through the same door that backends use, and return the lines to print."""
    for outcome in await server.publish_all(_events(datetime.now(UTC))):
        if isinstance(outcome, Exception):
            raise outcome
    return list(_lines(server.url, server.settings))


def _events(now: datetime) -> Sequence[DomainEvent]:
    requester, approver = PEOPLE[0][0], PEOPLE[3][0]
    return [
        TenantUpserted(tenant_id=TENANT, name="Demo Studio", time_zone="Asia/Bangkok"),
        *(UserUpserted(tenant_id=TENANT, user_id=user_id, name=name, role=role) for user_id, name, role in PEOPLE),
        *(
            JobCreated(
                tenant_id=TENANT,
                actor_id=requester,
                title=title,
                requester_id=requester,
                assignee_id=assignee,
                approver_id=approver,
                manager_id=approver,
                deadline=None if due_in is None else now + due_in,
            )
            for title, assignee, due_in in JOBS
        ),
    ]


def _lines(url: str, settings: Settings) -> Sequence[str]:
    lines = ["Open a link to sign in. Each tab of the browser can be signed in as another person:"]
    for user_id, name, role in PEOPLE:
        token = sign(settings, tenant_id=TENANT, user_id=user_id, role=role, name=name, ttl=TOKEN_SECONDS)
        lines.append(f"  {name} ({role}): {url}/#token={token}")
    lines += ["", f"As {PEOPLE[-1][1]}, see the actors at work at {url}/observer"]
    lines += ["", "Watch a user's notifications with the stock Socket.IO client (needs Node and npm):"]
    for user_id, name, role in PEOPLE:
        token = sign(settings, tenant_id=TENANT, user_id=user_id, role=role, name=name, ttl=TOKEN_SECONDS)
        lines.append(f"  {name}: {watch_line(url, token)}")
    service = sign(settings, tenant_id=TENANT, role="service", ttl=TOKEN_SECONDS)
    body = msgspec.json.encode(JobAssigned(tenant_id=TENANT, actor_id=1, job_id=1, assignee_id=2)).decode()
    minutes = DUE_IN // timedelta(minutes=1)
    due = f"{JOBS[1][0]} is due in {minutes} minutes: {PEOPLE[2][1]} and {PEOPLE[3][1]} are told when it is overdue."
    lines += ["", f"Assign a job to {PEOPLE[1][1]}:", f"  {curl_line(url, service, body)}", "", due, ""]
    return lines


def watch_line(url: str, token: str) -> str:
    """A shell line that watches one user's notifications. It installs the client into a new folder."""
    return (
        'cd "$(mktemp -d)" && npm install --silent --no-fund --no-audit socket.io-client@4 && '
        f"node --input-type=module --eval {shlex.quote(WATCHER)} {url} {token}"
    )


def curl_line(url: str, token: str, body: str) -> str:
    """A shell line that publishes one domain event."""
    return (
        f"curl -sS -X POST {url}/api/events -H 'Authorization: Bearer {token}' "
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
