"""System calls of a running server that fail, kill it, or are put down, by strace from outside.

The counts of `when=` are those of each thread. The store has one thread that writes, which is the only one that calls
`pwrite64` and `fdatasync` once the server listens, so that a count names one call.
https://man7.org/linux/man-pages/man1/strace.1.html
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.serving import ServedProcess

ATTACH_SECONDS = 30


@asynccontextmanager
async def tampering(server: ServedProcess, call: str, how: str, file: Path | None = None) -> AsyncIterator[None]:
    """Within the block, calls of this name are injected with `how`, such as `error=EIO:when=3`.

    `file`: only calls on this file.
    """
    command = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{how}"]
    if file is not None:
        command += ["-P", str(file)]
    tracer = await trio.lowlevel.open_process([*command, "-p", str(server.process.pid)], stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    try:
        said = b""
        with trio.fail_after(ATTACH_SECONDS):
            while b"attached" not in said:
                chunk = await tracer.stderr.receive_some()
                assert chunk, said
                said += chunk
        yield
    finally:
        with trio.CancelScope(shield=True):
            # It lets go of the server, which goes on without it.
            if tracer.returncode is None:
                tracer.send_signal(signal.SIGINT)
            await tracer.wait()
            await tracer.stderr.aclose()
