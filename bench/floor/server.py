"""POST, group commit, two packets to a socket: nothing else. Run as ``server.py DATABASE`` with JWT_SECRET set.

What it shares with djactors is the way: httptools on Trio, one writer thread that commits whatever has gathered with
``synchronous=FULL``, frames built once and written straight to the socket, verified tokens kept. What it lacks is all
the rest: checks, bounds, actors, supervision, recovery, heartbeats, polling, a log of changes, idempotency, limits.
It knows `notification.requested`; whatever else is posted is answered and forgotten.
"""

import json
import os
import queue
import sqlite3
import sys
import threading
from base64 import b64encode
from collections import defaultdict
from contextlib import suppress
from hashlib import sha1
from typing import Any

import httptools
import jwt
import msgspec
import outcome
import trio

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY, tenant_id BIGINT NOT NULL, user_id BIGINT NOT NULL, type TEXT NOT NULL,
    priority TEXT NOT NULL, title TEXT NOT NULL, message TEXT, data TEXT, is_read BOOLEAN NOT NULL DEFAULT false,
    created_at TEXT DEFAULT CURRENT_TIMESTAMP, expires_at TEXT DEFAULT (datetime('now', '+30 days'))
);
CREATE INDEX unread ON notifications (user_id, id) WHERE is_read = false;
CREATE INDEX created ON notifications (created_at);
CREATE INDEX expires ON notifications (expires_at);
"""
INSERT = (
    "INSERT INTO notifications (id, tenant_id, user_id, type, priority, title, message, data) VALUES (?,?,?,?,?,?,?,?)"
)
BATCH = 256
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Notice(msgspec.Struct, rename="camel"):
    """What is posted."""

    type: str
    tenant_id: int
    user_id: int = 0
    notification_type: str = ""
    priority: str = ""
    title: str = ""
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class Socket:
    """Takes packets without ever waiting; what the kernel does not take at once goes as soon as it does."""

    def __init__(self, stream: trio.SocketStream, nursery: trio.Nursery) -> None:
        self._stream = stream
        self._nursery = nursery
        self._waiting = b""

    def write(self, packets: bytes) -> None:
        if self._waiting:
            self._waiting += packets
            return
        sent = 0
        with suppress(BlockingIOError):
            sent = os.write(self._stream.socket.fileno(), packets)
        if sent < len(packets):
            self._waiting = packets[sent:]
            self._nursery.start_soon(self._flush)

    async def _flush(self) -> None:
        while self._waiting:
            await trio.lowlevel.wait_writable(self._stream.socket)
            with suppress(BlockingIOError):
                self._waiting = self._waiting[os.write(self._stream.socket.fileno(), self._waiting) :]


class Writer:
    """One thread, one connection: whatever waits is one commit."""

    def __init__(self, path: str, sockets: dict[int, Socket]) -> None:
        self._queue: queue.SimpleQueue[tuple[trio.lowlevel.Task, list[Notice]]] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._path = path
        self._sockets = sockets
        self._id = 0
        self.unread: dict[int, int] = defaultdict(int)
        threading.Thread(target=self._run, daemon=True).start()

    async def insert(self, notices: list[Notice]) -> list[int]:
        """The ids, once they are durable; the users have been told by then."""
        self._queue.put((trio.lowlevel.current_task(), notices))
        ids: list[int] = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return ids

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.executescript(SCHEMA)
        connection.execute("PRAGMA synchronous = FULL")
        while True:
            waiting = [self._queue.get()]
            while len(waiting) < BATCH and not self._queue.empty():
                waiting.append(self._queue.get())
            rows, packets, answers = [], [], []
            for task, notices in waiting:
                ids = []
                for n in notices:
                    self._id += 1
                    self.unread[n.user_id] += 1
                    data = bytes(n.data).decode()
                    rows.append(
                        (self._id, n.tenant_id, n.user_id, n.notification_type, n.priority, n.title, n.message, data)
                    )
                    packets.append((n.user_id, _packets(self._id, n, self.unread[n.user_id])))
                    ids.append(self._id)
                answers.append((task, ids))
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, rows)
            connection.execute("COMMIT")
            self._token.run_sync_soon(self._tell, packets, answers)

    def _tell(self, packets: list[tuple[int, bytes]], answers: list[tuple[trio.lowlevel.Task, list[int]]]) -> None:
        for user, each in packets:
            if user in self._sockets:
                self._sockets[user].write(each)
        for task, ids in answers:
            trio.lowlevel.reschedule(task, outcome.Value(ids))


def _packets(id_: int, notice: Notice, unread: int) -> bytes:
    said = {"id": id_, "type": notice.notification_type, "priority": notice.priority, "title": notice.title}
    body = msgspec.json.encode({**said, "message": notice.message, "data": notice.data})
    count = b'42["notification:unread-count",{"count":%d}]' % unread
    return _frame(b'42["notification:new",%b]' % body) + _frame(count)


class Request:
    """What httptools tells of one."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.whole = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = True


class Floor:
    """The loop."""

    def __init__(self, path: str, secret: str, nursery: trio.Nursery) -> None:
        self._sockets: dict[int, Socket] = {}
        self._writer = Writer(path, self._sockets)
        self._secret = secret
        self._nursery = nursery
        self._verified: set[bytes] = set()
        self._one = msgspec.json.Decoder(Notice).decode
        self._many = msgspec.json.Decoder(list[Notice]).decode

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection."""
        try:
            while True:
                request = Request()
                parser = httptools.HttpRequestParser(request)
                while not request.whole:
                    data = await stream.receive_some(65536)
                    if not data:
                        return
                    try:
                        parser.feed_data(data)
                    except httptools.HttpParserUpgrade:
                        await self._socket(stream, request)
                        return
                await self._post(stream, request)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _post(self, stream: trio.SocketStream, request: Request) -> None:
        authorization = request.headers.get(b"authorization", b"")
        if authorization not in self._verified:
            jwt.decode(authorization.removeprefix(b"Bearer "), self._secret, algorithms=["HS256"])
            self._verified.add(authorization)
        single = not request.url.endswith(b"/batch")
        notices = [self._one(request.body)] if single else self._many(request.body)
        kept = [notice for notice in notices if notice.type == "notification.requested"]
        results = [b'{"eventId":%d}' % id_ for id_ in await self._writer.insert(kept)] if kept else []
        answer = results[0] if single and results else b'{"results":[%b]}' % b",".join(results)
        status = b"201 Created" if single else b"200 OK"
        await stream.send_all(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))

    async def _socket(self, stream: trio.SocketStream, request: Request) -> None:
        accept = b64encode(sha1(request.headers[b"sec-websocket-key"] + WEBSOCKET_GUID).digest())
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n"
            % accept
            + _frame(b'0{"sid":"floor","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}')
        )
        # One short frame: its mask is the load's, zeros.
        connect = await stream.receive_some(65536)
        auth: dict[str, Any] = json.loads(connect[connect.index(b"40{") + 2 :])
        user = jwt.decode(auth["token"], self._secret, algorithms=["HS256"])["userId"]
        self._sockets[user] = Socket(stream, self._nursery)
        self._sockets[user].write(
            _frame(b'40{"sid":"floor"}')
            + _frame(b'42["notification:unread-count",{"count":%d}]' % self._writer.unread[user])
        )
        while await stream.receive_some(65536):
            pass
        self._sockets.pop(user, None)


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


async def main() -> None:
    """Serve until killed."""
    async with trio.open_nursery() as nursery:
        floor = Floor(sys.argv[1], os.environ["JWT_SECRET"], nursery)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        host, port = listener.socket.getsockname()
        print(f"listening on http://{host}:{port}", flush=True)
        await trio.serve_listeners(floor.serve, [listener], handler_nursery=nursery)


if __name__ == "__main__":
    trio.run(main)
