"""Two nodes on one PostgreSQL database, one outage of each kind: the checker finds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.outages import SCENARIOS, Scenario
from tests.chaos.plan import draw_with_nodes
from tests.chaos.run import run
from tests.history import report

SEED = 20261128
USERS = 12

LOSING: tuple[Scenario, ...] = ("failover-asynchronous", "failover-pooled")

STANDBYS = {
    "failover-synchronous": "synchronous",
    "failover-asynchronous": "asynchronous",
    "failover-pooled": "asynchronous",
    "mixed": "asynchronous",
}


@pytest.mark.parametrize("scenario", [scenario for scenario in SCENARIOS if scenario != "mixed"])
async def test_nothing_is_lost_and_nothing_comes_twice_whatever_happens_to_a_node_or_to_the_database(
    tmp_path: Path, scenario: Scenario
) -> None:
    plan = draw_with_nodes(SEED, scenario, users=USERS)
    (tmp_path / "plan.txt").write_text(str(plan))
    outcome = await run(plan, tmp_path)
    advice = f"{report(outcome.findings)}\nplan and history: {tmp_path}; {outcome.summary}"
    assert outcome.findings == [], advice
    # A run in which nothing was broken, or nobody was recovered or alerted, would show nothing.
    assert outcome.outages == 1
    assert outcome.kills == (scenario == "kill")
    assert outcome.recovered > 0, advice
    assert outcome.alerts > 0, advice
    assert outcome.put_backs == (scenario in LOSING), advice
    if scenario in LOSING:
        assert outcome.resets > 0, advice


def test_a_plan_has_the_outages_that_were_asked_for_one_after_the_other() -> None:
    for scenario in SCENARIOS:
        plan = draw_with_nodes(1, scenario, times=4, nodes=3)
        assert str(plan) == str(draw_with_nodes(1, scenario, times=4, nodes=3))
        tags = ("kill-node", "freeze", "cut-off", "restart-database", "fail-over")
        assert sum(str(plan).count(f'"type":"{tag}"') for tag in tags) == 4
        assert plan.standby == STANDBYS.get(scenario)
