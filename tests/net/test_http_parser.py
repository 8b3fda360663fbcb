"""Heads and chunked bodies, sans-IO."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.net import Limits, Request, RequestRefused, Response
from djactors.net._http_body import CHUNKS_AT_ONCE, ChunkedBody
from djactors.net._http_head import check_unfinished_head, parse_head

LIMITS = Limits()


def parse(text: bytes) -> Request:
    return parse_head(text, LIMITS).request("192.0.2.1")


def status_of(head: bytes) -> int:
    with pytest.raises(RequestRefused) as refused:
        parse(head)
    return refused.value.status


def test_a_request_is_taken_apart():
    request = parse(
        b"POST /caf%C3%A9/a%20b?x=1&y=a+b%26c&x=2&flag&=z HTTP/1.1\r\nHost: h\r\nAccept: a\r\nACCEPT: b\r\n"
        b"Cookie: c=1\r\nCookie: d=2\r\nX-Odd: \t caf\xe9 \t\r\nContent-Length: 12\r\n\r\n"
    )
    assert request.method == "POST"
    assert request.path == "/café/a b"
    assert request.query == {"x": "1", "y": "a b&c", "flag": "", "": "z"}
    assert request.target.startswith("/caf%C3%A9/a%20b?x=1")
    assert request.headers.get("accept") == "a, b"
    assert request.headers.get("cookie") == "c=1; d=2"
    assert request.headers.get("x-odd") == "café"
    assert request.headers.get("missing") is None
    assert request.content_length == 12
    assert request.peer == "192.0.2.1"
    assert request.keep_alive


def test_the_absolute_form_of_a_target_is_understood():
    assert parse(b"GET http://h:1/a?b=c HTTP/1.1\r\nHost: h\r\n\r\n").path == "/a"
    assert parse(b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n").path == "/"
    assert parse(b"GET http://h?b=c HTTP/1.1\r\nHost: h\r\n\r\n").query == {"b": "c"}
    assert parse(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").path == "*"


@pytest.mark.parametrize(
    ("lines", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\nHost: h", True),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close", False),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, close", False),
        (b"GET / HTTP/1.0", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
    ],
)
def test_keep_alive_follows_version_and_connection(lines, keep_alive):
    assert parse(lines + b"\r\n\r\n").keep_alive is keep_alive


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x10\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1_0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: a\r\nOrigin: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: h\r\n\r\n",
        b"SOURCE / ICE/1.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",  # which is refused when it arrives in pieces, too
        b"GET /\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\rHost: h\r\n\r\n",
    ],
)
def test_an_ambiguous_or_malformed_head_is_a_bad_request(head):
    assert status_of(head) == 400


def test_other_refusals_have_their_own_status():
    assert status_of(b"GET / HTTP/2.0\r\nHost: h\r\n\r\n") == 505
    assert status_of(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n") == 501
    assert status_of(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n") == 414
    assert status_of(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 100 + b"\r\n") == 431


@given(st.binary(max_size=200))
def test_no_target_raises_anything_but_a_refusal(raw):
    try:
        request = parse(b"GET /" + raw + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    except RequestRefused:
        return
    request.path.encode()
    assert all(name.encode() is not None and value.encode() is not None for name, value in request.query.items())


@given(st.binary(max_size=300))
def test_no_head_raises_anything_but_a_refusal(raw):
    for head in (raw, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + raw + b"\r\n\r\n"):
        try:
            if head:
                check_unfinished_head(head, LIMITS)
            parse(head)
        except RequestRefused:
            pass


def test_hostile_percent_encodings_decode_to_something():
    request = parse(b"GET /%/%f/%zz/%ff/%00?%=%&a=%c3%28&b=%u1234 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert request.path == "/%/%f/%zz/\ufffd/\0"
    assert request.query == {"%": "%", "a": "\ufffd(", "b": "%u1234"}


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"\x16\x03\x01", 400),
        (b"get", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET  / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: h", None),
        (b"G", None),
        (b"GET / HTTP/1.1\r\nHost", None),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 17000, 431),
    ],
)
def test_an_unfinished_head_is_refused_as_soon_as_it_cannot_become_good(start, status):
    if status is None:
        check_unfinished_head(start, LIMITS)
        return
    with pytest.raises(RequestRefused) as refused:
        check_unfinished_head(start, LIMITS)
    assert refused.value.status == status


CHUNKED = b"5;ext=1\r\nhello\r\nC\r\n \r\nworld\r\n!!\r\n000\r\nTrailer: x\r\n\r\nGET /next"


@given(st.lists(st.integers(0, len(CHUNKED)), max_size=10))
def test_a_chunked_body_reads_the_same_however_it_is_cut(cuts):
    body = ChunkedBody(100)
    edges = [0, *sorted(cuts), len(CHUNKED)]
    rest = b""
    for start, end in pairwise(edges):
        if body.complete:
            rest += CHUNKED[start:end]
        else:
            body.feed(CHUNKED[start:end])
    assert body.complete
    assert bytes(body.body) == b"hello \r\nworld\r\n!!"
    assert body.rest + rest == b"GET /next"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"x\r\n", 400),
        (b"-1\r\n", 400),
        (b"+1\r\n", 400),
        (b"0x1\r\n", 400),
        (b" 1\r\n", 400),
        (b"1_0\r\n", 400),
        (b"\r\n", 400),
        (b"5\r\nhelloXX", 400),
        (b"5\nhello\n", None),
        (b"1" * 300, 400),
        (b"1;" + b"a" * 300 + b"\r\n", 400),
        (b"1;\x00\r\n", 400),
        (b"ffffffffff\r\n", 400),
        (b"65\r\n", 413),
        (b"64\r\n" + b"a" * 100 + b"\r\n1\r\n", 413),
        (b"0\r\n" + b"T: x\r\n" * 2000, 400),
    ],
)
def test_a_malformed_or_oversized_chunk_is_refused(raw, status):
    body = ChunkedBody(100)
    if status is None:
        body.feed(raw)
        assert not body.complete
        return
    with pytest.raises(RequestRefused) as refused:
        feed_all(body, raw)
    assert refused.value.status == status


def feed_all(body: ChunkedBody, raw: bytes) -> None:
    body.feed(raw)
    while body.goes_on:
        body.feed(b"")


def test_a3_no_more_than_so_many_chunks_are_decoded_at_once():
    body = ChunkedBody(10_000)
    body.feed(b"1\r\nx\r\n" * 1_000 + b"0\r\n\r\nGET /next")
    sizes = [len(body.body)]
    while body.goes_on:
        body.feed(b"")
        sizes.append(len(body.body))
    assert body.complete
    assert sizes == [*range(CHUNKS_AT_ONCE, 1_000, CHUNKS_AT_ONCE), 1_000]
    assert body.rest == b"GET /next"
    large = ChunkedBody(100_000)
    large.feed(b"10000\r\n" + b"x" * 0x10000 + b"\r\n0\r\n\r\n")
    assert large.complete, "a body in few chunks is decoded at once"


def test_a3_a_query_of_more_parameters_than_anybody_sends_is_refused():
    def head(parameters: int) -> bytes:
        return b"GET /?%b HTTP/1.1\r\nHost: h\r\n\r\n" % b"&".join(b"%d" % n for n in range(parameters))

    limits = Limits()
    assert len(parse_head(head(limits.max_parameters), limits).query) == limits.max_parameters
    with pytest.raises(RequestRefused) as refused:
        parse_head(head(limits.max_parameters + 1), limits)
    assert refused.value.status == 414


def test_row_29_a_response_cannot_be_split():
    with pytest.raises(ValueError, match="line break"):
        Response(200, headers=[("x", "a\r\nset-cookie: b")]).encode()


def test_responses_state_their_length_where_they_may():
    assert Response(200, b"abc", "text/plain", [("x", "é")]).encode() == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-type: text/plain\r\nx: \xe9\r\n\r\nabc"
    )
    assert (
        Response(200, b"abc", "text/plain")
        .encode(head_only=True)
        .endswith(b"content-length: 3\r\ncontent-type: text/plain\r\n\r\n")
    )
    assert Response(404).encode(connection="close") == (
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
    assert Response(204).encode() == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert Response(304).encode() == b"HTTP/1.1 304 Not Modified\r\n\r\n"
