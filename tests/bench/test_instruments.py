"""Percentiles, plot and load user do what a reader of the figures takes for granted."""

import asyncio
import socket
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from bench.distribution import Distribution, table
from bench.load.user import User
from bench.plot import percentile_plot


def test_percentiles_are_exact_to_three_digits() -> None:
    shown = Distribution(number / 1000 for number in range(1, 1001)).shown()
    assert shown == pytest.approx({"p50": 500, "p90": 900, "p99": 990, "p99.9": 999, "max": 1000}, rel=2e-3)


def test_a_value_beyond_the_scale_counts_as_its_end() -> None:
    assert Distribution([1e9]).shown()["max"] == pytest.approx(60_000, rel=2e-3)


def test_the_curve_ends_where_the_count_supports_no_finer_percentile() -> None:
    percentiles = [percentile for percentile, _ in Distribution([0.001] * 100).curve()]
    assert percentiles[0] == 50
    assert 98 < percentiles[-1] <= 99


def test_a_table_has_a_line_for_each_distribution_also_for_an_empty_one() -> None:
    lines = table({"some": Distribution([0.002]), "none": Distribution([])}).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["some", "1"], ["none", "0"]]


def test_the_plot_is_well_formed_xml_with_its_labels_escaped() -> None:
    curve = list(Distribution([0.001, 0.002, 0.3]).curve())
    root = ET.fromstring(percentile_plot("a < b", "on <this>", {"x & y": curve}))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "on <this>", "x & y"} <= set(texts)


def test_a_plot_without_values_is_still_a_plot() -> None:
    ET.fromstring(percentile_plot("none", "", {"empty": []}))


NOTIFICATION = b'42["notification:new",{"id":9,"title":"' + b"t" * 200 + b'","data":{"n":7}},"E.1"]'
HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
STREAM = (
    HEAD
    + b'\x81\x100{"sid":"abcde"}'
    + b'\x81\x0d40{"sid":"x"}'
    + b"\x81\x012"
    + b"\x81\x7e"
    + len(NOTIFICATION).to_bytes(2, "big")
    + NOTIFICATION
)


@pytest.mark.parametrize("size", [1, 3, 64, 10_000])
def test_a_load_user_reads_its_stream_however_it_is_cut(size: int) -> None:
    numbers: list[int] = []
    sent = _converse([STREAM[at : at + size] for at in range(0, len(STREAM), size)], numbers)
    assert numbers == [7]
    assert sent.endswith(b'\x81\x89\0\0\0\x0040{"t":1}' + b"\x81\x81\0\0\0\x003")


def test_a_load_user_that_is_refused_says_what_it_was_told() -> None:
    with pytest.raises(ConnectionError, match="503"):
        _converse([b"HTTP/1.1 503 Service Unavailable\r\n\r\n"], [])


def _converse(chunks: list[bytes], numbers: list[int]) -> bytes:
    """Play a server that sends these chunks, and give what the user sent once it was connected."""

    async def play() -> bytes:
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            deliver: Callable[[int, float], object] = lambda number, at: numbers.append(number)  # noqa: E731
            _, user = await loop.create_connection(lambda: User("h", b'{"t":1}', deliver), sock=theirs)
            for chunk in chunks:
                user.data_received(chunk)
            async with asyncio.timeout(10):
                await user.connected
            sent = await loop.sock_recv(ours, 1 << 16)
            user.close()
            return sent

    return asyncio.run(play())
