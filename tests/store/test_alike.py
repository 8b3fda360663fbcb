"""What many ask at the same moment is answered from one statement, and each gets their own answer."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from djactors.store.connection import Alike, Connection
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.threads import READ_BATCH, ThreadFactory
from tests.store.writes import asked_at_once, putting, stored


class Asked:
    """Says of each name whether it is stored, and notes how many it is asked for at a time."""

    def __init__(self) -> None:
        self.together: list[int] = []

    def __call__(self, connection: Connection, names: Sequence[str]) -> list[bool | Exception]:
        self.together.append(len(names))
        there = stored(connection)
        if "all fail" in names:
            raise ValueError("all fail")
        return [KeyError(name) if name == "nobody may ask" else name in there for name in names]


async def test_each_gets_their_own_answer(place: Place, threads: ThreadFactory):
    asked = Asked()
    names = [f"n{number}" for number in range(2 * READ_BATCH)]
    async with await Database.open(place, threads=threads, readers=1) as database:
        for name in names[::3]:
            await database.write(putting(name))
        outcomes = await asked_at_once(database.read, threads, [Alike(asked, name) for name in names])
        assert [one.unwrap() for one in outcomes] == [name in names[::3] for name in names]
        assert sum(asked.together) == len(names)
        if isinstance(place, Path):
            assert max(asked.together) > 1
        assert await database.read(Alike(asked, "n0")) is True


async def test_what_fails_for_one_fails_for_nobody_else(place: Place, threads: ThreadFactory):
    asked = Asked()
    async with await Database.open(place, threads=threads, readers=1) as database:
        await database.write(putting("a"))
        for bad, error in (("nobody may ask", KeyError), ("all fail", ValueError)):
            first, second, third = await asked_at_once(
                database.read, threads, [Alike(asked, "a"), Alike(asked, bad), Alike(asked, "b")]
            )
            assert (first.unwrap(), third.unwrap()) == (True, False)
            with pytest.raises(error, match=bad):
                second.unwrap()
        assert database.statistics().failed == 2
        assert database.statistics().last_error is None


async def test_others_among_them_are_read_as_ever(place: Place, threads: ThreadFactory):
    asked = Asked()
    async with await Database.open(place, threads=threads, readers=1) as database:
        await database.write(putting("a"))
        outcomes = await asked_at_once(database.read, threads, [Alike(asked, "a"), stored, Alike(Asked(), "b")])
        assert [one.unwrap() for one in outcomes] == [True, {"a"}, False]


async def test_what_was_written_before_is_seen(place: Place, threads: ThreadFactory):
    asked = Asked()
    async with await Database.open(place, threads=threads) as database:
        for number in range(20):
            assert await database.read(Alike(asked, f"n{number}")) is False
            await database.write(putting(f"n{number}"))
            assert await database.read(Alike(asked, f"n{number}")) is True
