"""The ends that a command does not choose: it is interrupted, or nobody takes what it prints.

Ctrl-C         ends a command with exit code 1 and one line. It is the ordinary end of what is `endless`.
a full disk    and all else that keeps standard output from being written ends it with exit code 1 and one line.
a closed pipe  ends it in silence, because whoever read has enough: with exit code 1, or 0 if it is `endless`.

Where standard output was closed from the beginning, a command does its work in silence. Letters that the encoding of
standard output does not have are written as escapes.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn, TypeVar, cast

import click

from djactors.commands.common import fail, first_of

_Error = TypeVar("_Error", bound=BaseException)


class OutputError(Exception):
    """Standard output cannot be written. This is no `OSError`, or a command would take it for one of its own files."""


class ReaderLeftError(OutputError):
    """Nobody reads standard output any more."""


class Program(click.Group):
    """Commands under one name, with one rule for the ends that they do not choose.

    Args:
        places: where each command is, as `module:attribute`; it is imported when it is wanted.
    """

    def __init__(self, *arguments: Any, places: Mapping[str, str], **extra: Any) -> None:
        super().__init__(*arguments, **extra)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group.get_command`."""
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def main(self, *arguments: Any, **extra: Any) -> Any:
        """See `click.Command.main`."""
        with _standard_output():
            return super().main(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """See `click.Command.invoke`."""
        try:
            return super().invoke(ctx)
        except click.Abort:
            fail("nothing was done, because it was not confirmed")
        except BaseException as error:
            if _within(error, KeyboardInterrupt) is None:
                raise
            fail("interrupted")


@contextmanager
def endless() -> Iterator[None]:
    """What has no end of its own: Ctrl-C is its ordinary end, and so is a reader who has enough of what it prints."""
    try:
        yield
    except BaseException as error:
        if _within(error, KeyboardInterrupt) is None and _within(error, ReaderLeftError) is None:
            raise


@contextmanager
def _standard_output() -> Iterator[None]:
    """Standard output that does what the module's docstring says of it."""
    stdout = sys.stdout
    with ExitStack() as stack:
        stack.callback(setattr, sys, "stdout", stdout)
        if stdout is None:
            # So Python says that it was closed from the beginning.
            sys.stdout = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        elif isinstance(stdout, io.TextIOWrapper):
            sys.stdout = _told_of(stdout)
        try:
            try:
                yield
            finally:
                sys.stdout.flush()
        except BaseException as error:
            failure = _within(error, OutputError)
            if failure is None:
                raise
            if isinstance(failure, ReaderLeftError):
                raise SystemExit(1) from None
            fail(str(failure))


def _within(error: BaseException, kind: type[_Error]) -> _Error | None:
    """An error of this kind: the error itself, or the first one in a group, as Trio's nurseries raise."""
    if isinstance(error, BaseExceptionGroup):
        found = error.subgroup(kind)
        return None if found is None else cast(_Error, first_of(found))
    return error if isinstance(error, kind) else None


def _told_of(stdout: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same standard output, which raises `OutputError` where it cannot be written."""
    stdout.flush()
    return io.TextIOWrapper(
        _Told(cast(io.BufferedIOBase, stdout.buffer)),
        stdout.encoding,
        "backslashreplace" if stdout.errors == "strict" else stdout.errors,
        line_buffering=stdout.line_buffering,
        write_through=True,
    )


class _Told(io.BufferedIOBase):
    def __init__(self, inner: io.BufferedIOBase | io.RawIOBase) -> None:
        self._inner = inner

    def write(self, data: Any) -> int:
        """See `io.BufferedIOBase.write`."""
        # If Python is unbuffered, this writes the file itself. It may take a part of the bytes, and a full disk refuses
        # even none at all.
        rest = memoryview(data)
        try:
            while rest:
                written = self._inner.write(rest)
                if written is None:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                rest = rest[written:]
        except OSError as error:
            self._give_up(error)
        return len(data)

    def flush(self) -> None:
        """See `io.IOBase.flush`."""
        try:
            self._inner.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> NoReturn:
        # What could not be written is thrown away. Otherwise Python would try once more when it ends, and complain.
        with suppress(OSError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self._inner.fileno())
        kind = ReaderLeftError if isinstance(error, BrokenPipeError) else OutputError
        raise kind(f"standard output cannot be written: {error.strerror}") from None

    @property
    def name(self) -> Any:
        """The name of the file, as `io.TextIOWrapper` shows it."""
        return getattr(self._inner, "name", None)

    def writable(self) -> bool:
        """See `io.IOBase.writable`."""
        return True

    def isatty(self) -> bool:
        """See `io.IOBase.isatty`."""
        return self._inner.isatty()

    def fileno(self) -> int:
        """See `io.IOBase.fileno`."""
        return self._inner.fileno()

    def close(self) -> None:
        """Leave standard output open: it is only lent."""
