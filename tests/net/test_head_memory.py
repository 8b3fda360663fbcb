"""The memory of heads: whose it keeps, and how much."""

import tracemalloc
from itertools import islice, product

import pytest

from djactors.net import HeadMemory, Limits, RequestRefused
from djactors.net._http_head import NOTED_HEADS, REMEMBERED_BYTES, REMEMBERED_HEADS, parse_head

LIMITS = Limits()


def remembered(memory: HeadMemory, raw: bytes) -> bool:
    """Read a head twice, as the server does, and tell whether it is remembered then."""
    for _ in range(2):
        if memory.find(raw, LIMITS) is None:
            memory.keep(raw, parse_head(raw, LIMITS))
    return memory.find(raw, LIMITS) is not None


def test_each_request_of_a_remembered_head_is_its_own():
    memory = HeadMemory()
    raw = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
    assert remembered(memory, raw)
    head = memory.find(raw, LIMITS)
    assert head is not None
    first, second = head.request("192.0.2.1"), head.request("192.0.2.2")
    first.query["b"] = "changed"
    first.body = b"one"
    first.disconnected = True
    assert (second.path, second.query, second.body, second.disconnected) == ("/a", {"b": "c"}, b"", False)
    assert (first.peer, second.peer) == ("192.0.2.1", "192.0.2.2")
    assert second.headers == {"host": "h", "content-length": "3"}
    with pytest.raises(TypeError):
        first.headers["host"] = "changed"  # type: ignore[index]


def test_a_head_is_found_only_by_all_of_its_bytes_and_under_its_own_limits():
    memory = HeadMemory()
    raw = b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer one\r\n\r\n"
    assert remembered(memory, raw)
    assert memory.find(raw.replace(b"one", b"two"), LIMITS) is None
    assert memory.find(raw.replace(b"Host: h", b"host: h"), LIMITS) is None
    narrow = Limits(max_headers=1)
    assert memory.find(raw, narrow) is None
    with pytest.raises(RequestRefused):
        parse_head(raw, narrow)


def test_the_memory_of_heads_is_bounded_and_forgets_the_oldest_first():
    memory = HeadMemory()
    heads = [b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(REMEMBERED_HEADS + 1)]
    assert all(remembered(memory, raw) for raw in heads)
    assert all(remembered(memory, heads[-1]) for _ in range(3))
    assert len(memory) == REMEMBERED_HEADS
    assert memory.find(heads[0], LIMITS) is None
    assert memory.find(heads[1], LIMITS) is not None


def poll(number: int) -> bytes:
    """What a stock client asks with: `t` is another one each time."""
    return b"GET /socket.io/?EIO=4&transport=polling&t=%x&sid=abc HTTP/1.1\r\nHost: h\r\n\r\n" % number


def test_polls_push_no_senders_head_out():
    memory = HeadMemory()
    sender = b"POST /api/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer one\r\nContent-Length: 100\r\n\r\n"
    assert remembered(memory, sender)
    for number in range(10 * (NOTED_HEADS + REMEMBERED_HEADS)):
        memory.keep(poll(number), parse_head(poll(number), LIMITS))
    assert memory.find(sender, LIMITS) is not None
    assert len(memory) == 1


@pytest.mark.parametrize("others", [0, NOTED_HEADS - 1, 2 * NOTED_HEADS])
def test_a_head_is_remembered_when_it_comes_again_in_time(others: int):
    memory = HeadMemory()
    raw = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    memory.keep(raw, parse_head(raw, LIMITS))
    assert len(memory) == 0
    for number in range(others):
        memory.keep(poll(number), parse_head(poll(number), LIMITS))
    memory.keep(raw, parse_head(raw, LIMITS))
    assert len(memory) == (1 if others < NOTED_HEADS else 0)


def test_what_is_noted_of_heads_that_came_once_is_bounded():
    memory = HeadMemory()
    head = parse_head(poll(0), LIMITS)
    tracemalloc.start()
    try:
        for number in range(10 * NOTED_HEADS):
            memory.keep(poll(number), head)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 200 * 1024


@pytest.mark.parametrize(
    "field",
    [b"Idempotency-Key: k", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"X: " + b"x" * REMEMBERED_BYTES],
)
def test_a_head_that_is_long_or_made_for_one_request_is_not_remembered(field):
    assert not remembered(HeadMemory(), b"POST / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n" % field)


def repeated(pattern: bytes, room: int) -> bytes:
    """As many different pieces as there is room for."""
    pieces = (pattern % bytes(pair) for pair in product(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP", repeat=2))
    return b"".join(islice(pieces, room // len(pattern)))


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (repeated(b"&%b", 3 * 99) + b"a" * 1600, b""),
        (repeated(b"&%b", 3 * 31) + b"%F0%9F%98%80" + b"a" * 1800, b""),
        (b"", repeated(b"%b:b\r\n", 580)),
        (b"", b"X: " + b"x" * 1900 + b"\r\n"),
    ],
    ids=["parameters", "wide characters", "fields", "a token"],
)
def test_the_memory_of_heads_takes_no_more_than_it_says_whatever_they_consist_of(target, fields):
    heads = [b"GET /%d?%s HTTP/1.1\r\nHost: h\r\n%s\r\n" % (n, target, fields) for n in range(REMEMBERED_HEADS)]
    memory = HeadMemory()
    tracemalloc.start()
    try:
        for raw in heads:
            # A copy, as it is cut out of what has arrived.
            remembered(memory, bytes(bytearray(raw)))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 7 * 2**20


@pytest.mark.parametrize("value", [b",".join([b"%c" % (97 + n % 26) for n in range(6000)]), b"," * 12_000])
def test_long_lists_and_targets_are_not_remembered(value: bytes):
    limits = Limits(max_headers=100)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(200):
            head = b"GET /%d?a=%s HTTP/1.1\r\nHost: h\r\nConnection: %d,%s\r\n\r\n"
            parse_head(head % (number, b"x" * 2000, number, value), limits)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2**20
