"""A fake door of djactors, which is busy at first: it answers the first posts as it is told, and records the others."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

RECORDED: Final = {
    "eventId": 1,
    "seq": 1,
    "notifications": [{"id": 1, "userId": 2, "type": "told"}],
    "suppressed": [],
}


class Busy(NamedTuple):
    """What a post is answered instead of being recorded; `retry_after` in seconds, None if nothing is said of it."""

    status: int
    retry_after: int | None


class Post(NamedTuple):
    """A post that came, and when, in seconds of a monotonic clock."""

    key: str
    body: Any
    at: float


class Door:
    """What came to the door, in order."""

    def __init__(self, busy: Sequence[Busy]) -> None:
        self._busy = list(busy)
        self._lock = threading.Lock()
        self.url = ""
        self.posts: list[Post] = []

    def refuse(self, busy: Busy) -> None:
        """Have the next post be answered like this."""
        with self._lock:
            self._busy.append(busy)

    def take(self, path: str, key: str, body: Any) -> tuple[int, dict[str, str], Any]:
        """The answer to a post: status, headers and what becomes JSON."""
        with self._lock:
            self.posts.append(Post(key, body, time.monotonic()))
            if self._busy:
                status, retry_after = self._busy.pop(0)
                headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
                return status, headers, {"error": {"code": "unavailable", "message": "try again later"}}
        if path == "/api/events/batch":
            return 200, {}, {"results": [RECORDED] * len(body)}
        return 201, {}, RECORDED


@contextmanager
def busy_door(*busy: Busy) -> Iterator[Door]:
    """A door at a free port."""
    door = Door(busy)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, answer = door.take(self.path, self.headers.get("Idempotency-Key", ""), body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        door.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield door
        finally:
            server.shutdown()
            thread.join()
