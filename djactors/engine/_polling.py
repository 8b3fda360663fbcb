"""HTTP long-polling: the outbox that waits for the next GET, and how requests of this transport are answered.

Rules:

- While polling, a packet leaves the outbox only into an answer. Packets that are left at the upgrade go out by
  WebSocket.
- One GET waits at a time; a second one is a violation. If the client of a waiting GET goes away, the session ends,
  because nobody can know what became of the answer. The client resumes by offset.
- A POST is received as a whole. A large one is handled in slices, and the next POST of the session waits until it is
  done, so two POSTs that arrive together never mix.
- Every answer, errors included, carries the CORS headers, because a page of another origin could not read it otherwise.
- A poll may be compressed (see `Response.compressible`) unless it holds the session's sid or the answer to a CONNECT.
  Texts of other people stand beside these secrets, and the length of both together would tell something of the secrets.

Source: the Engine.IO protocol document, revision 4, "HTTP long-polling"; headers as the reference server sends them.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import trio

from djactors.engine._admission import RETRY_AFTER_SECONDS
from djactors.engine._origins import OriginPolicy
from djactors.net import Request, Response
from djactors.protocol import MAX_POLL_PACKETS, EncodedPacket, HttpError, take_payload

Headers = tuple[tuple[str, str], ...]

# How many seconds a GET waits while the client is about to complete its upgrade. If the GET waited for a message, the
# upgrade would wait, too. If it were answered at once, a client that polls on meanwhile would do so in a tight loop.
PROBED_PAUSE: Final = 0.05

_CONNECT: Final = b"40"
_PACKET_SEPARATOR: Final = b"\x1e"

METHODS: Final = "GET, POST, OPTIONS"
HEADERS: Final = "content-type"

# If a cache answered a poll, a client could get another client's packets. If a browser took an answer for a page,
# because of the text in it, the browser would run scripts in that text.
NOT_KEPT: Final = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))


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

    def widen(self, max_packets: int, max_bytes: int) -> None:
        """Let more wait from now on."""
        self._max_packets = max_packets
        self._max_bytes = max_bytes

    @property
    def has_waiter(self) -> bool:
        """Whether a GET is parked here."""
        return self._wake is not None

    def put(self, packets: Sequence[EncodedPacket]) -> bool:
        """Append the packets and wake the waiting GET. Returns false if the outbox is then over its bounds."""
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
    response = Response(200, payload, "text/plain; charset=UTF-8", NOT_KEPT + cors)
    response.compressible = not _has_secret(payload)
    return response


def _has_secret(payload: bytes) -> bool:
    """Tell whether the session's sid is in a payload (its first packet), or the answer to a CONNECT, with its pid.

    Messages of an Engine.IO without Socket.IO that begin with a zero are taken for one; their poll is not compressed.
    """
    return payload.startswith((b"0", _CONNECT)) or _PACKET_SEPARATOR + _CONNECT in payload


def push_response(cors: Headers) -> Response:
    """Answer a POST that was accepted."""
    return Response(200, b"ok", "text/html", NOT_KEPT + cors)


def preflight_response(origins: OriginPolicy, request: Request) -> Response:
    """Answer OPTIONS."""
    return Response(204, headers=origins.preflight(request, METHODS, HEADERS))


def error_response(error: HttpError, cors: Headers, retry_after: int = RETRY_AFTER_SECONDS) -> Response:
    """Refuse a request, in the reference server's words. `retry_after` is in seconds, for who may come again."""
    extra = (("retry-after", str(retry_after)),) if error.status in (429, 503) else ()
    return Response(error.status, error.body, headers=NOT_KEPT + extra + cors)
