"""Proof that a seed that fails is found, made small, and replayed elsewhere. The seeds are in `test_seeds_*`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tests.history import report
from tests.simulation.mutants.storing import alert_twice
from tests.simulation.plan import Action, Plan, draw
from tests.simulation.run import attempt, only, shrink
from tests.simulation.suite import SEEDS, where_possible

pytestmark = where_possible

PLANS = Path(__file__).parent / "plans"
"""Small plans that have found something in the server. The seeds that they come from have moved since."""


def test_the_seeds_bring_about_every_fault() -> None:
    actions = {type(step.action).__name__ for seed in range(SEEDS) for step in draw(seed).steps}
    assert actions == {each.__name__ for each in get_args(Action)}


def test_a_seed_that_fails_is_made_small_and_replays_in_another_process() -> None:
    failed = attempt(draw(5), alert_twice)
    shrunk = shrink(failed, alert_twice, most=60)
    small = shrunk.outcome
    assert small.rules & failed.rules
    # What is left tells the story: a job with a deadline.
    assert len(small.plan.steps) < len(failed.plan.steps) / 4
    assert "due-" in str(small.plan)
    assert f"--seed 5 --steps {','.join(map(str, shrunk.steps))} " in shrunk.command
    assert only(failed.plan, shrunk.steps, shrunk.devices) == small.plan
    again = (
        "from tests.simulation.mutants.storing import alert_twice as bug\n"
        "from tests.simulation.plan import draw\n"
        "from tests.simulation.run import attempt, only\n"
        f"outcome = attempt(only(draw(5), {shrunk.steps!r}, {shrunk.devices!r}), bug)\n"
        "print(outcome.digest, len(outcome.findings))\n"
    )
    for hash_seed in ("1", "2"):
        assert _python("-c", again, hash_seed=hash_seed) == f"{small.digest} {len(small.findings)}\n"


def test_a_run_is_the_same_in_another_process_and_another_for_another_seed() -> None:
    outcome = attempt(draw(3))
    assert outcome.digest in _python("-m", "tests.simulation", "--seed", "3", hash_seed="17")
    assert outcome.digest != attempt(draw(4)).digest


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == draw(1)


@pytest.mark.parametrize("name", sorted(path.stem for path in PLANS.glob("*.json")))
def test_what_was_found_once_is_not_found_again(name: str) -> None:
    outcome = attempt(Plan.load(PLANS / f"{name}.json"))
    assert not outcome.findings, report(outcome.findings)


def _python(*arguments: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
