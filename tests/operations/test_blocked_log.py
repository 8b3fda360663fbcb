"""A1 and row 35 of the faults: whoever reads the log stalls. Lines are dropped and counted, and all else goes on.

Standard error is a pipe. `Reader` stands in for a log shipper or a terminal: it stalls when it is told to, and the pipe
is then full, so that the very next line cannot be written.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.serving import ServedProcess, service_token, serving

PATIENCE = 30
REFUSED = 415
"""Requests that were refused when the server of version 0.1 stood still (A1)."""

EXIT_SECONDS = 15
"""For a drain with nobody connected, the bounded flush of the log, and a slow machine."""

TOKEN = "not-a-token"
EVENT = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}
BATCHES = 6
"""Batches of 1,000 events, each a line at the level debug: more than the queue of the log holds."""


class Reader:
    """The other end of a server's standard error."""

    def __init__(self) -> None:
        self._end, self.theirs = os.pipe()
        fcntl.fcntl(self._end, fcntl.F_SETPIPE_SZ, 4096)
        self._read: list[bytes] = []
        self._reads = threading.Event()
        self._thread: threading.Thread | None = None

    def stall(self) -> None:
        """Fill the pipe and read no more."""
        # A description of its own, so that the server's end stays one that blocks.
        filler = os.open(f"/proc/self/fd/{self.theirs}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(filler, b"\n")
        except BlockingIOError:
            pass
        finally:
            os.close(filler)

    def resume(self) -> None:
        """Read on, until the server has ended."""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    async def wait_for(self, text: str) -> None:
        """Wait until this was read."""
        with trio.fail_after(PATIENCE):
            while text.encode() not in b"".join(self._read):
                await trio.sleep(0.05)

    def text(self) -> str:
        """All that was read, once the server has ended."""
        os.close(self.theirs)
        if self._thread is not None:
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive()
        return b"".join(self._read).decode()

    def close(self) -> None:
        os.close(self._end)

    def _work(self) -> None:
        while chunk := os.read(self._end, 65536):
            self._read.append(chunk)


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


def entries(text: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in text.splitlines() if line.startswith("{")]


async def be_refused(server: ServedProcess, times: int) -> None:
    """Ask for what is refused, in every way that a client has without a token."""
    for number in range(times):
        answer = await server.request("GET", ("/api/notifications", "/nothing")[number % 2], token=TOKEN)
        assert answer.status in (401, 404)


async def dropped(server: ServedProcess) -> int:
    text = (await server.request("GET", "/metrics")).body.decode()
    [number] = re.findall(r"^djactors_log_lines_dropped_total (.*)$", text, re.MULTILINE)
    return int(float(number))


async def test_row_35_a_log_that_nobody_reads_holds_up_neither_requests_nor_the_end(
    tmp_path: Path, reader: Reader
) -> None:
    reader.stall()
    # Stalled from its first entry on, which is written before anybody is served.
    async with serving(tmp_path, stderr=reader.theirs) as server:
        await be_refused(server, REFUSED)
        assert (await server.request("GET", "/healthz")).status == 200
        assert (await server.request("GET", "/readyz")).status == 200
        assert (await server.publish(EVENT)).status == 201
        with trio.fail_after(EXIT_SECONDS):
            assert await server.stop() == 0


async def test_a1_a_second_sigterm_ends_it_at_once_with_a_blocked_log_too(tmp_path: Path, reader: Reader) -> None:
    reader.stall()
    environment = {"DJACTORS_DRAIN_TIMEOUT": "600"}
    async with serving(tmp_path, stderr=reader.theirs, environment=environment) as server:
        host, port = server.url.removeprefix("http://").split(":")
        # A request that is under way for ever, so that one signal is not enough.
        half = await trio.open_tcp_stream(host, int(port))
        await half.send_all(b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        server.process.send_signal(signal.SIGTERM)
        with trio.fail_after(EXIT_SECONDS):
            while await server_is_open(host, int(port)):
                pass
            await server.stop()
        await half.aclose()


async def server_is_open(host: str, port: int) -> bool:
    try:
        await (await trio.open_tcp_stream(host, port)).aclose()
    except OSError:
        return False
    return True


async def test_row_35_lines_that_nobody_read_are_counted_and_told_once_they_can_be(
    tmp_path: Path, reader: Reader
) -> None:
    environment = {"DJACTORS_LOG_LEVEL": "debug"}
    reader.stall()
    async with serving(tmp_path, stderr=reader.theirs, environment=environment) as server:
        assert await dropped(server) == 0
        token = service_token()
        for number in range(BATCHES):
            batch = [{**EVENT, "id": f"{number}-{place}"} for place in range(1000)]
            answer = await server.request("POST", "/api/events/batch", token=token, body=batch)
            assert answer.status == 200
            assert b"error" not in answer.body, answer.body[:300]
        counted = await dropped(server)
        assert counted > 0
        reader.resume()
        # A server that ends gives its log two seconds. On a busy machine they do not suffice for all that waits.
        await reader.wait_for("dropped while nobody read the log")
        assert await server.stop() == 0
    told = entries(reader.text())
    losses = [entry for entry in told if entry["event"].endswith("log lines were dropped while nobody read the log")]
    assert sum(int(entry["event"].split()[0]) for entry in losses) >= counted  # some may be lost after the count
    recorded = [entry for entry in told if entry["event"] == "event recorded"]
    assert len(recorded) + counted >= BATCHES * 1000
    assert [entry["event"] for entry in told][-1] == "stopped"


async def test_a1_a_fatal_end_is_bounded_with_a_blocked_log_and_told_to_a_reader_that_lives(
    tmp_path: Path, reader: Reader
) -> None:
    for stalled in (True, False):
        folder = tmp_path / str(stalled)
        folder.mkdir()
        if stalled:
            reader.stall()
        async with serving(folder, stderr=reader.theirs) as server:
            server.database.unlink()
            assert (await server.publish(EVENT)).status == 503
            with trio.fail_after(EXIT_SECONDS):
                assert await server.process.wait() == 1
        if stalled:
            reader.resume()
    lines = [line for line in reader.text().splitlines() if line]
    assert lines[-1].startswith("djactors: the database failed")
