"""What one attacker does to a server while others use it: a table of plain functions, run in a process of its own.

    python -m bench.attacks NAME SECONDS        a `Target` as a line of JSON on stdin; what came of it on stdout

A row is added by writing a function that takes the target and the moment to stop at (`time.monotonic`), and returns
what it counted. It uses blocking sockets and nothing of the project's own code, so that it sends what no client of ours
would. What the server answers, refusals included, is for the function to bear; only a server that cannot be reached at
all raises.
"""

import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec

from bench.load.commands import Target
from bench.load.crowd import token
from bench.load.user import frame

Attack = Callable[[Target, float], Counter[str]]

PATIENCE = 2.0
"""Seconds that an answer is waited for. An attacker has better things to do than wait."""

TENANT = 2
"""The attackers' tenant: another one than the crowd's."""

POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
MEGABYTE = 1_000_000


class Line:
    """One connection of the attacker's."""

    def __init__(self, target: Target, source: str = "127.0.0.1") -> None:
        self._host = f"{target.host}:{target.port}"
        self.socket = socket.create_connection((target.host, target.port), PATIENCE, (source, 0))
        self.answers: Counter[str] = Counter()

    def close(self) -> None:
        self.socket.close()

    def request(self, method: str, path: str, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
        """The bytes of a request; `length` announces another length than that of its body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if method == "POST" and "Transfer_Encoding" not in headers:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def send(self, data: bytes) -> bool:
        """Send; false if the server has had enough."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def read(self) -> bytes:
        """What there is, waiting for something; nothing at the end."""
        with suppress(OSError):
            return self.socket.recv(1 << 16)
        return b""

    def drain(self) -> None:
        """Count the answers that are there, without waiting."""
        self.socket.setblocking(False)
        with suppress(OSError):
            while data := self.socket.recv(1 << 20):
                self.answers.update(status.decode() for status in STATUS.findall(data))
        self.socket.settimeout(PATIENCE)

    def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its whole answer, which may be cut off."""
        if not self.send(request):
            return b""
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self.read()
            if not data:
                return answer
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        while length is not None and len(body) < int(length[1]):
            data = self.read()
            if not data:
                break
            body += data
        self.answers.update(status.decode() for status in STATUS.findall(head))
        return head + b"\r\n\r\n" + body

    def open_session(self, auth: str | None = None) -> str:
        """Open a session by polling, and join with a token if one is given; its path with the sid, empty if refused."""
        found = re.search(rb'"sid":"([^"]+)"', self.ask(self.request("GET", POLLING)))
        if found is None:
            return ""
        path = f"{POLLING}&sid={found[1].decode()}"
        if auth is not None:
            self.ask(self.request("POST", path, f'40{{"token":"{auth}"}}'.encode()))
            self.ask(self.request("GET", path))
        return path

    def open_websocket(self, auth: str | None = None) -> bool:
        """Become a WebSocket, and join with a token if one is given."""
        handshake = self.request(
            "GET",
            WEBSOCKET,
            Connection="Upgrade",
            Upgrade="websocket",
            Sec_WebSocket_Version="13",
            Sec_WebSocket_Key="A" * 22 + "==",
        )
        if not self.send(handshake) or b" 101 " not in self.read():
            return False
        if auth is not None:
            self.send(frame(0x81, f'40{{"token":"{auth}"}}'.encode()))
            self.read()
        return True


@contextmanager
def line(target: Target, source: str = "127.0.0.1") -> Iterator[Line]:
    """A connection for the length of the block."""
    opened = Line(target, source)
    try:
        yield opened
    finally:
        opened.close()


def person(target: Target) -> str:
    """The token of a person in the attackers' tenant."""
    return token(target, role="user", userId=1, tenantId=TENANT)


def service(target: Target) -> str:
    """The token of a backend of the attackers' tenant."""
    return token(target, role="service", tenantId=TENANT)


# One connection that sends the same again and again


def pipelined(target: Target, until: float, request: Callable[[Line], bytes], at_once: int) -> Counter[str]:
    """One connection pipelines a request as fast as it can, and comes again when it is closed."""
    counted: Counter[str] = Counter()
    while time.monotonic() < until:
        with line(target) as one:
            many = request(one) * at_once
            while time.monotonic() < until and one.send(many):
                counted["requests"] += at_once
                one.drain()
            one.drain()
            counted += one.answers
    return counted


def posted(target: Target, until: float, body: bytes, *, joined: bool) -> Counter[str]:
    """One client after the other posts a payload to its own session."""
    counted: Counter[str] = Counter()
    auth = person(target) if joined else None
    while time.monotonic() < until:
        with line(target) as one:
            path = one.open_session(auth)
            if not path:
                counted["not let in"] += 1
                time.sleep(0.01)
                continue
            one.ask(one.request("POST", path, body))
            counted += one.answers
            counted["payloads"] += 1
    return counted


def framed(target: Target, until: float, frames: bytes, *, joined: bool) -> Counter[str]:
    """One WebSocket is sent the same frames as fast as it takes them, and opened anew when it is closed."""
    counted: Counter[str] = Counter()
    auth = person(target) if joined else None
    while time.monotonic() < until:
        with line(target) as one:
            if not one.open_websocket(auth):
                counted["not let in"] += 1
                time.sleep(0.01)
                continue
            counted["websockets"] += 1
            while time.monotonic() < until and one.send(frames):
                counted["writes"] += 1
                one.drain()
    return counted


def held(target: Target, until: float, connections: int, begin: Callable[[Line, int], bool]) -> Counter[str]:
    """Many connections each begin something, and stay until the end."""
    counted: Counter[str] = Counter()
    with ExitStack() as stack:
        for number in range(connections):
            if time.monotonic() >= until:
                break
            try:
                one = stack.enter_context(line(target, f"127.0.0.{2 + number % 2}"))
                counted["held" if begin(one, number) else "refused"] += 1
            except OSError:
                counted["no connection"] += 1
        time.sleep(max(0.0, until - time.monotonic()))
    return counted


# A1, A2, A5, A6, A7, A12, A13, A14


def unread_log(target: Target, until: float) -> Counter[str]:
    """A1: refusals from one address after the other, each told in a log that nobody reads."""
    counted: Counter[str] = Counter()
    number = 0
    while time.monotonic() < until:
        number += 1
        with line(target, f"127.1.{number // 250 % 250}.{1 + number % 250}") as one:
            one.ask(one.request("GET", "/api/notifications"))
            one.ask(one.request("GET", POLLING.replace("EIO=4", "EIO=3")))
            counted += one.answers
    return counted


def comments(target: Target, until: float) -> Counter[str]:
    """A12: a backend posts comments on a job with 1,000 watchers, 300 in a batch."""
    counted: Counter[str] = Counter()
    bearer = f"Bearer {service(target)}"
    watchers = [*range(1000, 2000)]

    def post(one: Line, path: str, body: object) -> bytes:
        return one.ask(one.request("POST", path, msgspec.json.encode(body), Authorization=bearer))

    with line(target) as one:
        one.socket.settimeout(60)
        job = {"type": "job.created", "tenantId": TENANT, "title": "A job", "requesterId": 1, "watcherIds": []}
        found = re.search(rb'"jobId": *([0-9]+)', post(one, "/api/events", job))
        number = 1 if found is None else int(found[1])
        watch = {"type": "job.watched", "tenantId": TENANT, "jobId": number, "actorId": 1}
        post(one, "/api/events/batch", [watch | {"userId": watcher} for watcher in watchers])
        comment = {"type": "comment.added", "tenantId": TENANT, "jobId": number, "actorId": 1, "text": "A word"}
        while time.monotonic() < until:
            post(one, "/api/events/batch", [comment] * 300)
            counted["batches"] += 1
        counted += one.answers
    return counted


def metrics(target: Target, until: float) -> Counter[str]:
    """A13: one connection asks for the metrics of many actors again and again."""
    return pipelined(target, until, lambda one: one.request("GET", "/metrics"), 20)


def handshakes(target: Target, until: float) -> Counter[str]:
    """A2: one connection pipelines handshakes."""
    return pipelined(target, until, lambda one: one.request("GET", POLLING), 50)


def refusals(target: Target, until: float) -> Counter[str]:
    """A5: one connection without a token asks for refusals."""
    return pipelined(target, until, lambda one: one.request("GET", "/api/notifications"), 50)


def idlers(target: Target, until: float) -> Counter[str]:
    """A6: two addresses open connections and keep them."""
    return held(target, until, 2000, lambda one, _: b" 200 " in one.ask(one.request("GET", "/healthz")))


def jobs(target: Target, until: float) -> Counter[str]:
    """A7: a person posts jobs over HTTP."""
    bearer = f"Bearer {person(target)}"
    body = b'{"title":"A job"}'
    return pipelined(target, until, lambda one: one.request("POST", "/api/jobs", body, Authorization=bearer), 20)


def readers(target: Target, until: float) -> Counter[str]:
    """A14: 120 connections of one person read lists."""
    counted: Counter[str] = Counter()
    bearer = f"Bearer {person(target)}"
    with ExitStack() as stack:
        lines = [stack.enter_context(line(target)) for _ in range(120)]
        request = lines[0].request("GET", "/api/notifications?limit=100", Authorization=bearer)
        while time.monotonic() < until:
            counted["requests"] += sum(one.send(request) for one in lines)
            for one in lines:
                one.read()
    return counted


# A3


def connects(target: Target, until: float) -> Counter[str]:
    """A3: a polling POST of 843 KB with 3,999 CONNECTs."""
    body = b"\x1e".join([b'40{"token":"' + b"x" * 197 + b'"}'] * 3999)
    return posted(target, until, body, joined=False)


def namespaces(target: Target, until: float) -> Counter[str]:
    """A3: 16 KB of CONNECTs to a namespace that is not there."""
    return posted(target, until, b"\x1e".join([b"40/a,{}"] * 2000), joined=False)


def lists(target: Target, until: float) -> Counter[str]:
    """A3: a joined client posts four lists of 250 KB."""
    one = b'42["x",' + b"[" + b"[]," * 3_000 + b"1.5," * 4_900 + b'"' + b"x" * 120_000 + b'"]]'
    return posted(target, until, b"\x1e".join([one] * 4), joined=True)


def events(target: Target, until: float) -> Counter[str]:
    """A3: a joined client posts 3,000 events at once."""
    return posted(target, until, b"\x1e".join([b'420["notification:read",{"notificationId":1}]'] * 3000), joined=True)


def numbers(target: Target, until: float) -> Counter[str]:
    """A3: a joined client's WebSocket brings a megabyte of the dearest numbers."""
    dearest = b'42["x",[' + b"1e300," * 8_100 + b"9" * 4_200 + b',"' + b"x" * 700_000 + b'"]]'
    return framed(target, until, frame(0x81, dearest), joined=True)


def fragments_of_one(target: Target, until: float) -> Counter[str]:
    """A3: messages in fragments of one byte."""
    return framed(target, until, (frame(0x01, b"4") + frame(0x00, b"x") * 200 + frame(0x80, b"x")) * 5, joined=True)


def pings(target: Target, until: float) -> Counter[str]:
    """A3: pings, each to be answered."""
    return framed(target, until, frame(0x89, b"x" * 100) * 500, joined=False)


def chunks(target: Target, until: float) -> Counter[str]:
    """A3: a person posts bodies in chunks of one byte."""
    bearer = f"Bearer {person(target)}"
    body = b"1\r\nx\r\n" * 60_000 + b"0\r\n\r\n"
    return pipelined(
        target,
        until,
        lambda one: one.request("POST", "/api/jobs", body, Authorization=bearer, Transfer_Encoding="chunked"),
        1,
    )


def heads(target: Target, until: float) -> Counter[str]:
    """A3: heads of the dearest kind, pipelined."""
    query = "&".join(f"%{0x41 + number % 26:x}{number:x}" for number in range(1100))
    cookies = {f"X-{number}": "a,b;" * 15 for number in range(90)}
    return pipelined(target, until, lambda one: one.request("GET", f"/healthz?{query}", **cookies), 10)


def batches(target: Target, until: float) -> Counter[str]:
    """A3: a backend posts two megabytes that are hard to take apart, and then 1,000 bad events."""
    bearer = f"Bearer {service(target)}"
    flat = b"[" + b"1," * (MEGABYTE - 1) + b"1]"
    bad = b'{"type":"notification.requested","tenantId":2,"userId":1,"notificationType":"a","priority":"LOW",'
    one = bad + b'"title":"t","data":{"a":[' + b"1e300," * 300 + b"1]}}"
    full = b"[" + b",".join([one] * 200) + b"]"
    return pipelined(
        target,
        until,
        lambda line: b"".join(
            line.request("POST", "/api/events/batch", body, Authorization=bearer) for body in (flat, full)
        ),
        1,
    )


# A4


def bodies(target: Target, until: float) -> Counter[str]:
    """A4: 300 connections send 1 MB each to POST /socket.io/ with no sid, all but the last byte."""
    body = b"x" * (MEGABYTE - 1)
    return held(target, until, 300, lambda one, _: one.send(one.request("POST", POLLING, body, length=MEGABYTE)))


def session_bodies(target: Target, until: float) -> Counter[str]:
    """A4: sessions that have not joined each send all but the last byte of the largest body that they may."""

    def begin(one: Line, _: int) -> bool:
        path = one.open_session()
        return bool(path) and one.send(one.request("POST", path, b"x" * 16_383, length=16_384))

    return held(target, until, 900, begin)


def fragments(target: Target, until: float) -> Counter[str]:
    """A4: 150 WebSockets hold 900 KB of a fragment."""
    return held(target, until, 150, lambda one, _: one.open_websocket() and one.send(frame(0x01, b"x" * 900_000)))


def small_fragments(target: Target, until: float) -> Counter[str]:
    """A4: 900 WebSockets hold the largest fragment that they may."""
    return held(target, until, 900, lambda one, _: one.open_websocket() and one.send(frame(0x01, b"x" * 16_000)))


def unread(target: Target, until: float) -> Counter[str]:
    """A4: 200 connections ask for the page again and again and read nothing."""
    return held(target, until, 200, lambda one, _: one.send(one.request("GET", "/") * 200))


ATTACKS: dict[str, Attack] = {
    "A1 unread log": unread_log,
    "A2 handshakes": handshakes,
    "A3 connects": connects,
    "A3 namespaces": namespaces,
    "A3 lists": lists,
    "A3 events": events,
    "A3 numbers": numbers,
    "A3 fragments": fragments_of_one,
    "A3 pings": pings,
    "A3 chunks": chunks,
    "A3 heads": heads,
    "A3 batches": batches,
    "A4 bodies": bodies,
    "A4 session bodies": session_bodies,
    "A4 fragments": fragments,
    "A4 small fragments": small_fragments,
    "A4 unread answers": unread,
    "A5 refusals": refusals,
    "A6 idlers": idlers,
    "A7 jobs": jobs,
    "A12 comments": comments,
    "A13 metrics": metrics,
    "A14 readers": readers,
}
"""By the row of the list of findings that each is of, and a word."""


def main(name: str, seconds: float) -> None:
    """Carry out one attack on the target on stdin, and say what came of it."""
    target = msgspec.json.decode(sys.stdin.buffer.readline(), type=Target)
    counted = ATTACKS[name](target, time.monotonic() + seconds)
    os.write(1, msgspec.json.encode(counted) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
