"""What a loss of power leaves of the files that a server wrote, made from the system calls that it made.

strace puts down each write with its bytes, each sync, and each answer. `Recording.after_power_loss` replays them up to
some moment. What was synced is there. Each later write or truncation was, by the dice, done, dropped, or torn between
two sectors, whatever came after it: a disk may write in any order until it is told to sync.

The write-ahead index (`-shm`) is left out: SQLite makes it anew where nobody has the database open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeAlias

SECTOR = 512
CALLS = "pwrite64,fdatasync,fsync,ftruncate,?unlink,unlinkat,sendto"
LONGEST = 8192
"""Bytes of a write that are put down: more than a page."""

_TEXT = r'"((?:\\x[0-9a-f]{2})*)"'
_FILE = r"\d+<((?:\\x[0-9a-f]{2})*)>"
_WRITE = re.compile(rf"pwrite64\({_FILE}, {_TEXT}, (\d+), (\d+)")
_SYNC = re.compile(rf"f(?:data)?sync\({_FILE}")
_CUT = re.compile(rf"ftruncate\({_FILE}, (\d+)")
_UNLINK = re.compile(rf"unlink(?:at\([^,]*, |\(){_TEXT}")
_SEND = re.compile(rf"sendto\([^,]*, {_TEXT}")
_ANSWER = re.compile(rb'HTTP/1\.1 201 .*"eventId":(\d+)', re.DOTALL)


@dataclass(frozen=True)
class Write:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class Cut:
    file: str
    length: int


@dataclass(frozen=True)
class Sync:
    file: str


@dataclass(frozen=True)
class Unlink:
    file: str


@dataclass(frozen=True)
class Acknowledged:
    """A client was sent the answer with this event's id."""

    event_id: int


Step: TypeAlias = Write | Cut | Sync | Unlink | Acknowledged


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    """What is on the disk for certain."""
    unsynced: list[Write | Cut] = field(default_factory=list)


class Recording:
    """The steps of one server, in order, as far as they are about its database, the log of that, and answers."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps

    @classmethod
    def read(cls, trace: Path, database: Path) -> Recording:
        """Read what strace has put down."""
        names = {str(database): "", f"{database}-wal": "-wal"}
        return cls(list(_steps(trace.read_text().splitlines(), names)))

    def acknowledged(self, until: int) -> set[int]:
        """The ids of events that were answered within so many steps."""
        return {step.event_id for step in self.steps[:until] if isinstance(step, Acknowledged)}

    def after_kills(self, first: int, every: int, database: Path) -> Iterator[int]:
        """Write the files that are left if the process is killed behind every few steps from one on, and behind each
        answer; how many steps it had done.

        What a process wrote is there even though it was not synced, since the system lives.
        """
        files: dict[str, bytearray] = {}
        for number, step in enumerate(self.steps, 1):
            match step:
                case Write(file=name) | Cut(file=name):
                    _do(files.setdefault(name, bytearray()), step)
                case Unlink(file=name):
                    files.pop(name, None)
                    database.with_name(database.name + name).unlink(missing_ok=True)
                case _:
                    pass
            if number >= first and (isinstance(step, Acknowledged) or number % every == 0):
                for name, content in files.items():
                    database.with_name(database.name + name).write_bytes(content)
                yield number

    def after_power_loss(self, until: int, dice: Random, database: Path, *, syncs: bool = True) -> None:
        """Write the files that may be left if the power fails after so many steps; without `syncs`, none was done."""
        files: dict[str, _File] = {}
        for step in self.steps[:until]:
            match step:
                case Write(file=name) | Cut(file=name):
                    files.setdefault(name, _File()).unsynced.append(step)
                case Sync(file=name) if syncs:
                    file = files.setdefault(name, _File())
                    for one in file.unsynced:
                        _do(file.content, one)
                    file.unsynced.clear()
                case Unlink(file=name):
                    files.pop(name, None)
                case _:
                    pass
        for name, file in files.items():
            for one in file.unsynced:
                if (kept := _torn(one, dice)) is not None:
                    _do(file.content, kept)
            database.with_name(database.name + name).write_bytes(file.content)


def _do(content: bytearray, step: Write | Cut) -> None:
    if isinstance(step, Cut):
        del content[step.length :]
        content.extend(bytes(step.length - len(content)))
        return
    content.extend(bytes(max(0, step.offset - len(content))))
    content[step.offset : step.offset + len(step.data)] = step.data


def _torn(step: Write | Cut, dice: Random) -> Write | Cut | None:
    """What became of a step that was not synced; None if nothing."""
    fate = dice.random()
    if fate < 1 / 3:
        return None
    if fate < 2 / 3 or isinstance(step, Cut) or len(step.data) <= SECTOR:
        return step
    first = dice.randrange(len(step.data) // SECTOR) * SECTOR
    until = dice.randrange(first, len(step.data)) // SECTOR * SECTOR + SECTOR
    return Write(step.file, step.offset + first, step.data[first:until])


def _steps(lines: list[str], names: dict[str, str]) -> Iterator[Step]:
    """A call that another thread interrupts stands in two lines; what was written counts from the first, a sync from
    the second."""
    waiting: dict[str, str] = {}
    for line in lines:
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            if "sync(" in text:
                waiting[thread] = text
                continue
        elif "resumed>" in text:
            begun = waiting.pop(thread, None)
            if begun is None or not text.endswith("= 0"):
                continue
            text = begun
        elif re.search(r"= (-1 \w+|\?)", text):
            continue
        if (step := _step(text, names)) is not None:
            yield step


def _step(text: str, names: dict[str, str]) -> Step | None:
    if (found := _WRITE.match(text)) and (name := names.get(_bytes(found[1]).decode())) is not None:
        data = _bytes(found[2])
        assert len(data) == int(found[3]), "strace has cut a write short"
        return Write(name, int(found[4]), data)
    if (found := _SYNC.match(text)) and (name := names.get(_bytes(found[1]).decode())) is not None:
        return Sync(name)
    if (found := _CUT.match(text)) and (name := names.get(_bytes(found[1]).decode())) is not None:
        return Cut(name, int(found[2]))
    if (found := _UNLINK.match(text)) and (name := names.get(_bytes(found[1]).decode())) is not None:
        return Unlink(name)
    if (found := _SEND.match(text)) and (answer := _ANSWER.match(_bytes(found[1]))):
        return Acknowledged(int(answer[1]))
    return None


def _bytes(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))
