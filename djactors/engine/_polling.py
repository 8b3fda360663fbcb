"""HTTP long-polling: the outbox that waits for the next GET, and how requests of this transport are answered.

Rules:

- While polling, a packet leaves the outbox only into an answer. Packets that are left at the upgrade go out by
  WebSocket.
- One GET waits at a time; a second one is a violation. If the client of a waiting GET goes away, the session ends,
  because nobody can know what became of the answer. The client resumes by offset.
- A POST is received as a whole and then handled without a pause, so two POSTs that arrive together never mix.
- Every answer, errors included, carries the CORS headers, because a page of another origin could not read it otherwise.

Source: the Engine.IO protocol document, revision 4, "HTTP long-polling"; headers as the reference server sends them.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import trio

from djactors.engine._admission import RETRY_AFTER_SECONDS
from djactors.net import Response
from djactors.protocol import MAX_POLL_PACKETS, EncodedPacket, HttpError, take_payload

Headers = tuple[tuple[str, str], ...]

# How many seconds a GET waits while the client is about to complete its upgrade. If the GET waited for a message, the
# upgrade would wait, too. If it were answered at once, a client that polls on meanwhile would do so in a tight loop.
PROBED_PAUSE: Final = 0.05

# How long a browser may remember the answer to OPTIONS. Chromium caps this at two hours, Firefox at a day.
_PREFLIGHT_SECONDS: Final = 7200

_PREFLIGHT: Final = (
    ("access-control-allow-methods", "GET, POST, OPTIONS"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-max-age", str(_PREFLIGHT_SECONDS)),
)
# If a cache answered a poll, a client could get another client's packets.
_NO_STORE: Final = (("cache-control", "no-store"),)


class Outbox:
    """The packets that wait for a session's next GET, within `max_packets` and `max_bytes`, and the GET that waits."""

    __slots__ = ("_max_bytes", "_max_packets", "_wake", "on_empty", "packets", "size")

    def __init__(self, max_packets: int, max_bytes: int) -> None:
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._wake: trio.Event | None = None
        # Called once, when the last packet has been taken.
        self.on_empty: Callable[[], None] | None = None
        self.packets: deque[EncodedPacket] = deque()
        # Bytes of the packets as they are counted by `EncodedPacket.size`.
        self.size = 0

    @property
    def has_waiter(self) -> bool:
        """Whether a GET is parked here."""
        return self._wake is not None

    def put(self, packets: Sequence[EncodedPacket]) -> bool:
        """Append the packets and wake the waiting GET. Returns false, and appends none, if that exceeds the bounds."""
        self.packets.extend(packets)
        for packet in packets:
            self.size += packet.size
        self.nudge()
        return len(self.packets) <= self._max_packets and self.size <= self._max_bytes

    def take(self) -> bytes:
        """Take the packets for one answer and return its body. An empty outbox raises `IndexError`."""
        sizes = [packet.size for packet in islice(self.packets, MAX_POLL_PACKETS)]
        before = len(self.packets)
        payload = take_payload(self.packets)
        self.size -= sum(sizes[: before - len(self.packets)])
        if not self.packets and self.on_empty is not None:
            callback, self.on_empty = self.on_empty, None
            callback()
        return payload

    def clear(self) -> None:
        """Drop everything."""
        self.packets.clear()
        self.size = 0

    def nudge(self) -> None:
        """Wake the waiting GET, which then looks at the session's state."""
        if self._wake is not None:
            self._wake.set()

    @contextmanager
    def waiter(self) -> Iterator[None]:
        """Park a GET for the length of the block."""
        self._wake = trio.Event()
        try:
            yield
        finally:
            self._wake = None

    async def wait(self) -> None:
        """Wait, inside `waiter`, until there is a packet or a nudge."""
        assert self._wake is not None
        if not self.packets:
            await self._wake.wait()
            self._wake = trio.Event()


def poll_response(payload: bytes, cors: Headers) -> Response:
    """Answer a GET with packets."""
    return Response(200, payload, "text/plain; charset=UTF-8", _NO_STORE + cors)


def push_response(cors: Headers) -> Response:
    """Answer a POST that was accepted."""
    return Response(200, b"ok", "text/html", _NO_STORE + cors)


def preflight_response(cors: Headers) -> Response:
    """Answer OPTIONS."""
    return Response(204, headers=_PREFLIGHT + cors)


def error_response(error: HttpError, cors: Headers, retry_after: int = RETRY_AFTER_SECONDS) -> Response:
    """Refuse a request, in the reference server's words. `retry_after` is in seconds, for who may come again."""
    extra = (("retry-after", str(retry_after)),) if error.status in (429, 503) else ()
    return Response(error.status, error.body, headers=_NO_STORE + extra + cors)
