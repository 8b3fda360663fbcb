"""No server can hold a blocking client for longer than it was told, however slowly it does what it does."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, cycle, repeat
from typing import Any

import httpcore
import httpx
import pytest

from djactors.client import Client, Published, RetryPolicy, UnreachableError
from djactors.client._deadlines import DeadlineTransport
from djactors.domain.events import NotificationRequested
from tests.client.test_publishing import EVENT, GOOD

STEP = 0.2
POLICY = RetryPolicy(timeout=3, attempt_timeout=1.5, jitter=0.0)
BODY = json.dumps(GOOD).encode()
HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(BODY)
LARGE = NotificationRequested(
    tenant_id=1, user_id=2, notification_type="news", priority="LOW", title="a", data={"a": "x" * 4000}
)


class Clock:
    """It passes only by what the network takes, and by what the client waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def take(self, seconds: float, timeout: float | None, error: type[Exception]) -> None:
        """Something takes so long, if there is the time for it."""
        if timeout is not None and timeout < seconds:
            self.now += timeout
            raise error("too slow")
        self.now += seconds


class SlowNetwork(httpcore.NetworkBackend):
    """Each answer is sent in its parts, and whatever is slow takes a step."""

    def __init__(self, clock: Clock, answer: Callable[[], Iterable[bytes]], slow: str = "read") -> None:
        self.clock, self.answer, self.slow = clock, answer, slow
        self.connections = 0
        self.written = 0

    def take(self, what: str, timeout: float | None, error: type[Exception]) -> None:
        self.clock.take(STEP if what == self.slow else 0.0, timeout, error)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        self.connections += 1
        self.take("connect", timeout, httpcore.ConnectTimeout)
        return SlowStream(self)


class SlowStream(httpcore.NetworkStream):
    def __init__(self, network: SlowNetwork) -> None:
        self._network = network
        self._parts: Iterator[bytes] | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._network.take("read", timeout, httpcore.ReadTimeout)
        if self._parts is None:
            self._parts = iter(self._network.answer())
        return next(self._parts, b"")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._network.take("write", timeout, httpcore.WriteTimeout)
        self._network.written += len(buffer)
        self._parts = None

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._network.take("tls", timeout, httpcore.ConnectTimeout)
        return self

    def close(self) -> None:
        pass

    def get_extra_info(self, info: str) -> Any:
        return None


def client_of(network: SlowNetwork, url: str = "http://notify.test", policy: RetryPolicy = POLICY) -> Client:
    clock = network.clock
    return Client(
        url, "t", retries=policy, transport=DeadlineTransport(clock, network=network), now=clock, wait=clock.wait
    )


def letters(text: bytes) -> Iterator[bytes]:
    return (bytes([letter]) for letter in text)


ANSWERS: dict[str, Callable[[], Iterable[bytes]]] = {
    "a status without an end": lambda: chain(letters(b"HTTP/1.1 201 "), repeat(b"x")),
    "a head without an end": lambda: chain(letters(b"HTTP/1.1 201 Created\r\nX: "), repeat(b"x")),
    "a head of many fields": lambda: chain([b"HTTP/1.1 201 Created\r\n"], repeat(b"X: y\r\n")),
    "answers that are none yet": lambda: cycle([b"HTTP/1.1 100 Continue\r\n\r\n"]),
    "hints without an end": lambda: cycle([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]),
    "a slow body": lambda: chain([b"HTTP/1.1 201 Created\r\nContent-Length: 999\r\n\r\n"], repeat(b" ")),
    "pieces without an end": lambda: chain(
        [b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"], repeat(b"1\r\n \r\n")
    ),
    "a piece's length without an end": lambda: chain(
        [b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1;"], repeat(b"x")
    ),
    "trailers without an end": lambda: chain(
        [b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"], repeat(b"X: y\r\n")
    ),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_comes_in_drops_takes_no_longer_than_the_client_was_told(
    answer: Callable[[], Iterable[bytes]],
) -> None:
    clock = Clock()
    network = SlowNetwork(clock, answer)
    with client_of(network) as client, pytest.raises(UnreachableError, match="no answer within 3 s"):
        client.publish(EVENT)
    assert network.connections == 2
    # A transport looks at the clock before each wait, and the client between two parts of a body.
    assert clock.now <= POLICY.timeout + STEP


@pytest.mark.parametrize("slow", ["connect", "tls", "write"])
def test_a_way_that_is_slow_takes_no_longer_than_the_client_was_told(slow: str) -> None:
    clock = Clock()
    policy = RetryPolicy(timeout=3, attempt_timeout=STEP * 0.9, jitter=0.0)
    with (
        client_of(SlowNetwork(clock, lambda: [HEAD, BODY], slow), "https://notify.test", policy) as client,
        pytest.raises(UnreachableError, match="no answer within 3 s"),
    ):
        client.publish(EVENT)
    assert clock.now <= policy.timeout


def test_events_that_are_taken_in_drops_take_no_longer_than_the_client_was_told() -> None:
    clock = Clock()
    network = SlowNetwork(clock, lambda: [HEAD, BODY], "write")
    with client_of(network) as client:
        outcomes = client.publish_all([LARGE] * 240)
    assert {type(outcome) for outcome in outcomes} == {UnreachableError}
    assert clock.now <= POLICY.timeout
    assert network.written > 2 * 2**16


def test_what_is_slow_and_in_time_is_answered_and_keeps_the_connection() -> None:
    clock = Clock()
    network = SlowNetwork(clock, lambda: [HEAD[:9], HEAD[9:], BODY[:9], BODY[9:]])
    with client_of(network) as client:
        for _ in range(3):
            assert isinstance(client.publish(EVENT), Published)
            # The deadline of one request is nothing to the next.
            clock.wait(100)
    assert clock.now == pytest.approx(3 * (100 + 4 * STEP))


def test_a_request_without_a_deadline_has_none() -> None:
    clock = Clock()
    transport = DeadlineTransport(clock, network=SlowNetwork(clock, lambda: letters(HEAD + BODY)))
    with httpx.Client(transport=transport) as http:
        assert http.get("http://notify.test", timeout=1).json() == GOOD
    assert clock.now > 10
