"""A load process in our hands: one for each target, so that its users stay connected while another's turn is on."""

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import click
import msgspec

from bench.load.commands import Command, Failed, Result, Target
from bench.process import stop

ANSWER_SECONDS = 120.0
"""How long a command may take, beyond what it says itself."""

T = TypeVar("T")


class LoadFailedError(click.ClickException):
    """The load could not do what it was told; mostly, what the server did instead."""


class Driver:
    """Tells a load process what to do, one command after the other."""

    def __init__(self, target: Target, process: subprocess.Popen[bytes]) -> None:
        self.target = target
        self._process = process
        self._decode = msgspec.json.Decoder(Result).decode

    def tell(self, document: object) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(document) + b"\n")
        self._process.stdin.flush()

    def ask(self, command: Command, kind: type[T]) -> T:
        """Have a command carried out.

        Raises:
            LoadFailedError: it failed, or took too long, or the process died.
        """
        self.tell(command)
        return self.answer(kind, getattr(command, "seconds", 0.0))

    def answer(self, kind: type[T], seconds: float) -> T:
        """Wait for the answer to a command that was told, and that takes so long by itself.

        Raises:
            LoadFailedError: as `ask`.
        """
        assert self._process.stdout is not None
        allowed = ANSWER_SECONDS + seconds
        deadline = time.monotonic() + allowed
        while not select.select([self._process.stdout], [], [], 0.5)[0]:
            if time.monotonic() > deadline:
                raise LoadFailedError(f"{self.target.name}: there was no {kind.__name__} within {allowed:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailedError(f"{self.target.name}: the load process died; its complaint is above")
        result = self._decode(line)
        if isinstance(result, Failed):
            raise LoadFailedError(f"{self.target.name}: {result.reason}")
        assert isinstance(result, kind)
        return result


@contextmanager
def load_on(target: Target) -> Iterator[Driver]:
    """A load process for a target; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        driver = Driver(target, process)
        try:
            driver.tell(target)
            yield driver
        finally:
            stop(process)
