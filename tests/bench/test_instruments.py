"""Percentiles, plot and load user do what a reader of the figures takes for granted."""

import asyncio
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.beside import Repeated, is_old_left
from bench.distribution import Distribution, table
from bench.load.arrivals import Arrivals
from bench.load.user import User
from bench.plot import bar_plot, percentile_plot
from bench.report import table as markdown
from bench.scale import fill
from bench.start import imported_us
from bench.usage import cpu, memory, tree


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


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    return b"\x81" + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


STREAM = (
    HEAD
    + b'\x81\x100{"sid":"abcde"}'
    + _frame(b'40{"sid":"x","pid":"P"}')
    + b"\x81\x012"
    + _frame(b'42["notification:unread-count",{"count":3},"E.1"]')
    + _frame(NOTIFICATION)
)


@pytest.mark.parametrize("size", [1, 3, 64, 10_000])
def test_a_load_user_reads_its_stream_however_it_is_cut(size: int) -> None:
    user, sent = _converse([STREAM[at : at + size] for at in range(0, len(STREAM), size)])
    assert list(user.arrivals.at) == [7]
    assert (user.pid, user.offset, user.unread) == (b"P", b"E.1", 3)
    assert sent.endswith(b'\x81\x89\0\0\0\x0040{"t":1}' + b"\x81\x81\0\0\0\x003")


def test_a_load_user_that_is_refused_says_what_it_was_told() -> None:
    with pytest.raises(ConnectionError, match="503"):
        _converse([b"HTTP/1.1 503 Service Unavailable\r\n\r\n"])


def test_a_notification_that_comes_twice_is_a_fault() -> None:
    arrivals = Arrivals()
    arrivals.notified(1, 0.0)
    arrivals.notified(2, 0.0)
    arrivals.notified(1, 0.0)
    assert arrivals.faults == {"a notification came twice": 1}


def _converse(chunks: list[bytes]) -> tuple[User, bytes]:
    """Play a server that sends these chunks; the user, and what it sent once it was connected."""

    async def play() -> tuple[User, bytes]:
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            _, user = await loop.create_connection(lambda: User("h", b'{"t":1}', Arrivals()), sock=theirs)
            for chunk in chunks:
                user.data_received(chunk)
            async with asyncio.timeout(10):
                await user.connected
            sent = await loop.sock_recv(ours, 1 << 16)
            user.close()
            return user, sent

    return asyncio.run(play())


def test_bars_are_well_formed_xml_with_a_bar_for_each_value() -> None:
    root = ET.fromstring(bar_plot("t", "<c>", {"a & b": {"x": 1.0, "y": 2.0}, "c": {"x": 0.0}}, "µs"))
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + 3


def test_a_table_is_markdown_with_its_columns_in_line() -> None:
    lines = markdown(["", "events/s"], [["djactors", 1234.5], ["a longer name", None]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[2].split("|")] == ["", "djactors", "1234", ""]
    assert lines[1].endswith("-: |")


def test_the_use_of_a_process_includes_its_children_and_those_that_ended() -> None:
    busy = "import sys, time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])\n"
    living = "child = subprocess.Popen(['sleep', '60'])\nprint('up', flush=True)\nsys.stdin.read()\nchild.kill()\n"
    with subprocess.Popen(
        [sys.executable, "-c", parent + living], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(list(tree(process.pid))) == 2
        assert cpu(process.pid).total >= 0.29
        assert memory(process.pid).resident >= memory(process.pid).proportional > 0


def test_imports_are_added_up_without_what_they_import_themselves() -> None:
    log = "import time: self [us] | cumulative | imported package\nimport time:       300 |        300 |   b\n"
    assert imported_us(f"{log}import time:      1200 |       1500 | a\n{{}}\n") == 1500


def test_a_chore_is_done_over_and_over_until_it_fails() -> None:
    done = threading.Event()
    with Repeated(done.set).running() as repeated:
        assert done.wait(10)
    assert repeated.seconds
    assert not repeated.complaints

    def refuse() -> None:
        done.clear()
        raise ConnectionRefusedError("nobody listens")

    with Repeated(refuse).running() as repeated:
        pass
    assert repeated.complaints == ["ConnectionRefusedError: nobody listens"]


def test_old_notifications_are_there_to_be_purged(tmp_path: Path) -> None:
    fill(tmp_path / "old.db", 20, days_old=60)
    fill(tmp_path / "young.db", 20)
    assert is_old_left(tmp_path / "old.db")
    assert not is_old_left(tmp_path / "young.db")
