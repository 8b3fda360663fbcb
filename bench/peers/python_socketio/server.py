"""The same with python-socketio: Starlette takes domain events, SQLite keeps notifications, rooms tell the users.

Run as ``server.py DATABASE`` with JWT_SECRET set. One connection through aiosqlite, WAL, ``synchronous=FULL``; every
post is one transaction, and nobody is answered or told before it is committed.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiosqlite
import jwt
import socketio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE users (
    id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL REFERENCES tenants (id), name TEXT NOT NULL, role TEXT NOT NULL,
    unread_count INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE jobs (
    tenant_id INTEGER NOT NULL REFERENCES tenants (id), id INTEGER NOT NULL, title TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'open', requester_id INTEGER, assignee_id INTEGER, PRIMARY KEY (tenant_id, id)
);
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id INTEGER NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    type VARCHAR(50) NOT NULL, priority VARCHAR(20) NOT NULL, title VARCHAR(255) NOT NULL, message TEXT, data TEXT,
    is_read BOOLEAN DEFAULT false, read_at TEXT, created_at TEXT DEFAULT CURRENT_TIMESTAMP,
    expires_at TEXT DEFAULT (datetime('now', '+30 days'))
);
CREATE INDEX idx_notifications_user_unread ON notifications (user_id, is_read, created_at DESC) WHERE is_read = false;
CREATE INDEX idx_notifications_created ON notifications (created_at DESC);
CREATE INDEX idx_notifications_expires ON notifications (expires_at);
"""
INSERT = """INSERT INTO notifications (tenant_id, user_id, type, priority, title, message, data)
    VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id, created_at"""
COUNT = "UPDATE users SET unread_count = unread_count + 1 WHERE id = ? AND tenant_id = ? RETURNING unread_count"
ASSIGN = "UPDATE jobs SET assignee_id = ?, status = 'assigned' WHERE tenant_id = ? AND id = ? RETURNING title"

SECRET = os.environ["JWT_SECRET"]
sio = socketio.AsyncServer(async_mode="asgi")


class Inbox:
    """The database; transactions take turns."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._turn:
            await self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                await self._connection.commit()
            except BaseException:
                await self._connection.rollback()
                raise

    async def fetch(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        rows = list(await self._connection.execute_fetchall(sql, values))
        return tuple(rows[0]) if rows else None

    async def insert(
        self, tenant: int, user: int, type_: str, priority: str, title: str, message: str | None, data: Any
    ) -> dict[str, Any]:
        """Insert one notification and count it; what is to be delivered after the commit."""
        row = await self.fetch(INSERT, (tenant, user, type_, priority, title, message, json.dumps(data)))
        counted = await self.fetch(COUNT, (user, tenant))
        if row is None or counted is None:
            raise ValueError(f"no user {user} in tenant {tenant}")
        body = {
            "id": row[0], "type": type_, "priority": priority, "title": title, "message": message, "data": data,
            "createdAt": row[1],
        }  # fmt: skip
        return {"tenant": tenant, "user": user, "count": counted[0], "body": body}

    async def apply(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Carry out one domain event inside a transaction."""
        tenant = event["tenantId"]
        match event["type"]:
            case "notification.requested":
                words = (event["notificationType"], event["priority"], event["title"], event.get("message"))
                return await self.insert(tenant, event["userId"], *words, event.get("data"))
            case "job.assigned":
                job, user = event["jobId"], event["assigneeId"]
                assigned = await self.fetch(ASSIGN, (user, tenant, job))
                name = await self.fetch("SELECT name FROM users WHERE id = ? AND tenant_id = ?", (user, tenant))
                if assigned is None or name is None:
                    raise ValueError(f"no job {job}, or no user {user}")
                data = {"jobId": job, "djId": None}
                title = f"Job {job} assigned to you"
                notice = await self.insert(tenant, user, "job_assigned", "HIGH", title, assigned[0], data)
                return notice | {"assigned": data | {"assigneeId": user, "assigneeName": name[0]}}
            case "user.upserted":
                await self.fetch("INSERT INTO tenants VALUES (?, 'Tenant') ON CONFLICT DO NOTHING", (tenant,))
                await self.fetch(
                    "INSERT INTO users (id, tenant_id, name, role) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role",
                    (event["userId"], tenant, event["name"], event["role"]),
                )
            case "job.created":
                await self.fetch(
                    "INSERT INTO jobs (tenant_id, id, title, requester_id) VALUES (?, ?, ?, ?)",
                    (tenant, event["jobId"], event["title"], event["requesterId"]),
                )
            case other:
                raise ValueError(f"unknown type {other!r}")
        return None


inbox: Inbox


async def deliver(notice: dict[str, Any]) -> None:
    """Tell the user, and of an assignment everybody."""
    if "assigned" in notice:
        await sio.emit("job:assigned", notice["assigned"], room=f"tenant_{notice['tenant']}")
    room = f"tenant_{notice['tenant']}:user_{notice['user']}"
    await sio.emit("notification:new", notice["body"], room=room)
    await sio.emit("notification:unread-count", {"count": notice["count"]}, room=room)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
    """A user comes."""
    try:
        claims = jwt.decode((auth or {}).get("token", ""), SECRET, algorithms=["HS256"])
        tenant, user = claims["tenantId"], claims["userId"]
    except (jwt.InvalidTokenError, KeyError) as error:
        raise socketio.exceptions.ConnectionRefusedError("Unauthorized") from error
    if (auth or {}).get("tenantId", tenant) != tenant:
        raise socketio.exceptions.ConnectionRefusedError("Unauthorized")
    await sio.enter_room(sid, f"tenant_{tenant}")
    await sio.enter_room(sid, f"tenant_{tenant}:user_{user}")
    row = await inbox.fetch("SELECT unread_count FROM users WHERE id = ? AND tenant_id = ?", (user, tenant))
    await sio.emit("notification:unread-count", {"count": row[0] if row else 0}, to=sid)


def require_service(request: Request) -> None:
    """Raises jwt.InvalidTokenError unless a service posts."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if jwt.decode(token, SECRET, algorithms=["HS256"]).get("role") != "service":
        raise jwt.InvalidTokenError("not a service")


def answer(notice: dict[str, Any] | None) -> dict[str, Any]:
    """What the sender is told."""
    return {"notifications": [] if notice is None else [{"id": notice["body"]["id"], "userId": notice["user"]}]}


async def publish(request: Request) -> JSONResponse:
    """POST /api/events."""
    require_service(request)
    event = await request.json()
    async with inbox.transaction():
        notice = await inbox.apply(event)
    if notice is not None:
        await deliver(notice)
    return JSONResponse(answer(notice), status_code=201)


async def publish_batch(request: Request) -> JSONResponse:
    """POST /api/events/batch."""
    require_service(request)
    items = await request.json()
    async with inbox.transaction():
        notices = [await inbox.apply(event) for event in items]
    for notice in notices:
        if notice is not None:
            await deliver(notice)
    return JSONResponse({"results": [answer(notice) for notice in notices]})


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """Errors are JSON."""
    status = 401 if isinstance(error, jwt.InvalidTokenError) else 400
    return JSONResponse({"error": {"code": "refused", "message": str(error)}}, status_code=status)


async def main() -> None:
    """Serve until SIGTERM."""
    global inbox  # noqa: PLW0603
    connection = await aiosqlite.connect(sys.argv[1], isolation_level=None)
    await connection.executescript(SCHEMA)
    inbox = Inbox(connection)
    routes = [
        Route("/api/events", publish, methods=["POST"]),
        Route("/api/events/batch", publish_batch, methods=["POST"]),
    ]
    errors: dict[Any, Any] = dict.fromkeys((jwt.InvalidTokenError, ValueError, KeyError), refuse)
    app = socketio.ASGIApp(sio, Starlette(routes=routes, exception_handlers=errors))
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", loop="uvloop", http="httptools")
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        host, port = listener.getsockname()
        print(f"listening on http://{host}:{port}", flush=True)
        await uvicorn.Server(config).serve(sockets=[listener])
    await connection.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
