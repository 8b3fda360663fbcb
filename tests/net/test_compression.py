"""F7: which answers are compressed, for whom, and that the loop and the memory are spared."""

import gzip
import json
import random
import zlib

import pytest
import trio

from djactors.net import Compression, Request, Response, takes_gzip
from djactors.net._http_compression import COMPRESSED_BYTES, MAX_STREAMS, SLICE_BYTES
from tests.net.applications import Echo, connect, listening, receive_response

LONG = json.dumps([{"id": number, "title": f"Job {number} assigned"} for number in range(200)]).encode()

ACCEPT_ENCODING = [
    (None, False),
    ("", False),
    ("gzip", True),
    ("GZIP", True),
    ("x-gzip", True),
    ("gzip, deflate, br, zstd", True),
    ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
    ("*", True),
    ("*;q=0.5", True),
    ("identity;q=0, *", True),
    ("identity;q=0, gzip", True),
    ("identity;q=0.5, gzip;q=0.5", True),
    ("gzip ; q=0.001", True),
    ("gzip;q=0", False),
    ("gzip;q=0.0, *", False),
    ("gzip;q=0.000", False),
    ("*;q=0", False),
    ("identity", False),
    ("identity, gzip;q=0.5", False),
    ("identity;q=0.6, *;q=0.5", False),
    ("br", False),
    ("deflate, br", False),
    ("gzipped", False),
    ("gzip;q=2", False),
    ("gzip;q=nan", False),
    ("gzip;q=-1", False),
    ("gzip;q", False),
    ("gzip;level=9", False),
    ("gzip, " + "x" * 1000, False),
]


def asking(accepted: str | None, method: str = "GET") -> Request:
    return Request(method, "/", headers={} if accepted is None else {"accept-encoding": accepted})


async def answered(
    request: Request, body: bytes = LONG, *headers: tuple[str, str], compressible: bool = True
) -> Response:
    response = Response(200, body, headers=headers)
    response.compressible = compressible
    await Compression().apply(request, response)
    response.encode()
    return response


@pytest.mark.parametrize(("accepted", "compressed"), ACCEPT_ENCODING)
async def test_f7_an_answer_is_compressed_for_who_takes_it(accepted: str | None, compressed: bool):
    assert takes_gzip(asking(accepted)) is compressed
    response = await answered(asking(accepted))
    headers = dict(response.headers)
    assert headers["vary"] == "Accept-Encoding"
    if compressed:
        assert headers["content-encoding"] == "gzip"
        assert len(response.body) < len(LONG) / 3
        assert gzip.decompress(response.body) == LONG
    else:
        assert "content-encoding" not in headers
        assert response.body == LONG


async def test_f7_a_short_answer_is_left_as_it_is_unless_that_is_refused():
    for size, compressed in ((1, False), (COMPRESSED_BYTES - 1, False), (COMPRESSED_BYTES, True)):
        body = b"x" * size
        assert ((await answered(asking("gzip"), body)).body != body) is compressed
        assert gzip.decompress((await answered(asking("gzip, identity;q=0"), body)).body) == body
    assert (await answered(asking("gzip, *;q=0"), b"x")).body != b"x"
    assert (await answered(asking("identity;q=0"), b"x")).body == b"x"
    assert (await answered(asking("gzip, identity;q=0"), b"")).body == b""


async def test_f7_vary_is_added_to_what_the_answer_varies_with_already():
    response = await answered(asking("gzip"), LONG, ("vary", "Origin"), ("cache-control", "no-store"))
    assert response.headers == (
        ("vary", "Origin, Accept-Encoding"),
        ("cache-control", "no-store"),
        ("content-encoding", "gzip"),
    )


@pytest.mark.parametrize("header", [("etag", '"1"'), ("content-encoding", "br")])
async def test_f7_an_answer_with_a_tag_or_a_coding_of_its_own_is_left_as_it_is(header: tuple[str, str]):
    response = await answered(asking("gzip"), LONG, header)
    assert (response.body, response.headers) == (LONG, (header,))


async def test_f7_over_http_only_what_is_called_compressible_is_compressed():
    application = Echo()

    async def long(request: Request) -> Response:
        response = Response(200, LONG)
        response.compressible = request.path == "/long"
        return response

    async def bodiless(request: Request) -> Response:
        response = Response(304)
        response.compressible = True
        return response

    application.routes = {"/long": long, "/secret": long, "/304": bodiless}
    async with listening(application) as listener, await connect(listener) as client:
        for method, path, compressed in (
            ("GET", "/long", True),
            ("POST", "/long", True),
            ("GET", "/secret", False),
            ("GET", "/304", False),
        ):
            await client.send_all(
                f"{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nAccept-Encoding: gzip\r\n\r\n".encode()
            )
            status, headers, body = await receive_response(client)
            assert (headers.get("content-encoding") == "gzip") is compressed
            if status == 200:
                assert (gzip.decompress(body) if compressed else body) == LONG
                assert int(headers["content-length"]) == len(body)


async def test_f7_head_is_told_the_length_of_what_is_not_compressed():
    response = await answered(asking("gzip", "HEAD"))
    assert (response.body, response.headers) == (LONG, ())


async def test_f7_a_large_answer_is_compressed_in_slices_with_turns_for_others_between():
    body = random.Random(7).randbytes(SLICE_BYTES * 5 + 1)
    turns = 0
    done = False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        response = await answered(asking("gzip"), body)
        done = True
    assert turns >= 4  # one for each of five pauses, but for the order in which Trio begins
    assert zlib.decompress(response.body, 31) == body


async def test_f7_no_more_large_answers_are_compressed_at_once_than_memory_is_meant_for():
    body = b"x" * (SLICE_BYTES * 3)
    compression = Compression()
    responses = [Response(200, body) for _ in range(MAX_STREAMS + 5)]
    async with trio.open_nursery() as nursery:
        for response in responses:
            nursery.start_soon(compression.apply, asking("gzip"), response)
    compressed = [response for response in responses if response.body != body]
    assert len(compressed) == MAX_STREAMS
    again = Response(200, body)
    await compression.apply(asking("gzip"), again)
    assert again.body != body


async def test_f7_an_answer_that_is_cancelled_while_it_is_compressed_is_as_it_was():
    body = b"x" * (SLICE_BYTES * 3)
    response = Response(200, body)
    compression = Compression()
    with trio.CancelScope() as scope:
        scope.cancel()
        await compression.apply(asking("gzip"), response)
    assert (response.body, response.headers) == (body, ())
    await compression.apply(asking("gzip"), response)
    assert gzip.decompress(response.body) == body
