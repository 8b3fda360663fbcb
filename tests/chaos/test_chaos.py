"""A short run under faults with fifty users: the checker finds nothing."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.copies import CommandCopies
from tests.chaos.plan import draw
from tests.chaos.run import run
from tests.history import Ledger, report

SEED = 20260127
SECONDS = 40.0
KILLS = 10


async def test_nothing_is_lost_and_nothing_comes_twice_under_faults(tmp_path: Path) -> None:
    plan = draw(SEED, seconds=SECONDS, kills=KILLS)
    (tmp_path / "plan.txt").write_text(str(plan))
    outcome = await run(plan, tmp_path)
    advice = f"{report(outcome.findings)}\nplan and history: {tmp_path}; {outcome.summary}"
    assert outcome.findings == [], advice
    # A run in which nothing was broken, or nobody was recovered, would show nothing.
    assert outcome.kills == KILLS
    assert outcome.recovered > KILLS, advice


async def test_old_copies_of_the_database_that_are_put_back_mislead_nobody(tmp_path: Path) -> None:
    plan = draw(SEED + 1, seconds=30.0, users=20, kills=2, put_backs=3)
    (tmp_path / "plan.txt").write_text(str(plan))
    outcome = await run(plan, tmp_path)
    advice = f"{report(outcome.findings)}\nplan and history: {tmp_path}; {outcome.summary}"
    assert outcome.findings == [], advice
    # Those who knew what was lost were reset, and others, who had not come so far, went on. The pace of the machine
    # decides how many these were: on a busy one there were two or three.
    assert outcome.put_backs == 3
    assert outcome.resets > 3, advice
    assert outcome.recovered > 0, advice


async def test_an_installation_that_is_destroyed_and_restored_under_load_misleads_nobody(tmp_path: Path) -> None:
    plan = draw(SEED + 2, seconds=30.0, users=20, kills=2, put_backs=3)
    (tmp_path / "plan.txt").write_text(str(plan))
    copies = CommandCopies(tmp_path)
    outcome = await run(plan, tmp_path, copies=copies)
    advice = f"{report(outcome.findings)}\nplan and history: {tmp_path}; {outcome.summary}"
    assert outcome.findings == [], advice
    assert outcome.put_backs == len(copies.put_back_from) == 3
    assert outcome.resets > 3, advice
    assert outcome.recovered > 0, advice
    # Nothing that was in the copy is lost.
    kept, there = Ledger.read(copies.put_back_from[-1]), Ledger.read(tmp_path / "inbox.db")
    assert len(kept.entries) > 20, advice
    assert {(entry.tenant_id, entry.seq, entry.mark) for entry in kept.entries} <= {
        (entry.tenant_id, entry.seq, entry.mark) for entry in there.entries
    }
    assert kept.notifications.keys() <= there.notifications.keys()
    assert kept.comments == there.comments[: len(kept.comments)]


def test_a_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert str(draw(1, seconds=30)) == str(draw(1, seconds=30))
    assert str(draw(1, seconds=30)) != str(draw(2, seconds=30))


def test_a_plan_has_the_kills_users_and_tenants_that_were_asked_for() -> None:
    plan = draw(1, seconds=30, users=7, tenants=3, kills=4)
    assert {(device.tenant_id, device.user_id) for device in plan.devices} == {
        (1 + number % 3, 101 + number) for number in range(7)
    }
    assert str(plan).count('"type":"kill"') == 4
