"""Whoever comes with a token is known from then on; nobody is claimed, renamed or introduced twice."""

from pathlib import Path
from typing import Any

from trio.testing import wait_all_tasks_blocked

from djactors.domain.commands import Introduce, Publish
from djactors.domain.errors import Refused
from djactors.domain.events import JobAssigned, JobCreated, UserUpserted
from djactors.domain.permissions import Person
from tests.actors.house import House, note, running


async def users(house: House) -> list[tuple[Any, ...]]:
    """Everybody whom the database knows: id, tenant, name."""
    database = house.store.store._database
    return await database.read(
        lambda c: c.execute("SELECT id, tenant_id, name FROM users ORDER BY id, tenant_id").fetchall()
    )


def introductions(house: House) -> float:
    return house.metric("djactors_inbox_commands_total", name="Introduce", outcome="recorded")


async def test_whoever_connects_is_known_by_the_name_in_the_token(path: Path, autojump_clock):
    async with running(path) as house:
        await house.connected(11)
        assert await users(house) == [(11, 1, "Person 11")]


async def test_whoever_is_known_stays_as_they_are(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(Publish(UserUpserted(tenant_id=1, user_id=11, name="Ann", role="manager")))
        await house.connected(11)
        await house.do(Introduce(1, Person(11, "user", "Somebody")))
        assert await users(house) == [(11, 1, "Ann")]


async def test_the_same_number_in_another_tenant_is_somebody_else(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(note(11, tenant_id=2))
        socket = await house.connected(11, tenant_id=1)
        assert await users(house) == [(11, 1, "Person 11"), (11, 2, "User 11")]
        await house.do(note(11, tenant_id=2))
        assert len(socket.writes) == 1


async def test_more_tabs_and_later_visits_are_no_news(path: Path, autojump_clock):
    async with running(path) as house:
        first = await house.connected(11)
        await house.connected(11)
        assert introductions(house) == 1
        first.leave()
        await house.connected(11)
        assert introductions(house) == 1


async def test_two_who_are_connected_can_work_together_though_no_backend_told_of_them(path: Path, autojump_clock):
    async with running(path) as house:
        ann, bob = house.connect(11), house.connect(12)
        await wait_all_tasks_blocked()
        person = Person(11, "user", "Ann")
        created, assigned, unknown = await house.do(
            Publish(JobCreated(tenant_id=1, title="x", requester_id=11, actor_id=11), person=person),
            Publish(JobAssigned(tenant_id=1, job_id=1, assignee_id=12, actor_id=11), person=person),
            Publish(JobAssigned(tenant_id=1, job_id=1, assignee_id=13, actor_id=11), person=person),
        )
        assert not isinstance(created, Exception)
        assert not isinstance(assigned, Exception)
        assert isinstance(unknown, Refused)
        assert [packet.name for packet in bob.packets if packet.name == "notification:new"] == ["notification:new"]
        assert ann.new == []
