"""Seeds of the whole server, and proof that a seed that fails is found, made small, and replayed elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tests.history import report
from tests.simulation.disk import NEEDED, is_possible
from tests.simulation.mutants import MUTANTS, alert_twice
from tests.simulation.plan import Action, Plan, draw
from tests.simulation.run import attempt, only, shrink

pytestmark = pytest.mark.skipif(not is_possible(), reason=NEEDED)

SEEDS = 80
"""What CI has time for. More are run by hand."""

SEEDS_OF_A_TEST = 10

FOUND_BY = {
    "acknowledge_before_sync": 0,
    "acknowledge_before_commit": 0,
    "drop_a_change_of_a_replay": 1,
    "count_one_too_few": 3,
    "tell_another_user": 0,
    "leave_the_payload_out_of_the_mark": 0,
    "believe_any_number": 34,
    "answer_a_retry_with_less": 0,
    "forget_what_a_full_mailbox_missed": 148,
    "keep_sockets_over_a_crash": 69,
    "forget_a_commit_that_was_not_told": 5,
    "alert_twice": 5,
    "remember_what_was_rolled_back": 17,
    "lose_what_waits_for_a_poll": 0,
    "answer_before_the_batch_is_done": 17,
    "read_a_snapshot_of_before": 7,
    "give_a_list_the_offset_of_later": 11,
    "replay_a_change_twice": 0,
    "tell_what_the_snapshot_had": 20,
}
"""The first seed that finds each mutant: the one to try first. `python -m tests.simulation.mutants` prints them."""


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_OF_A_TEST))
def test_nothing_is_wrong_whatever_happens(first: int) -> None:
    for seed in range(first, first + SEEDS_OF_A_TEST):
        outcome = attempt(draw(seed))
        if outcome.findings:
            shrunk = shrink(outcome)
            pytest.fail(f"{shrunk.outcome.plan}\n{report(shrunk.outcome.findings)}\nagain: {shrunk.command}")


def test_the_seeds_bring_about_every_fault() -> None:
    actions = {type(step.action).__name__ for seed in range(SEEDS) for step in draw(seed).steps}
    assert actions == {each.__name__ for each in get_args(Action)}


@pytest.mark.parametrize("name", FOUND_BY)
def test_a_deliberate_bug_is_found(name: str) -> None:
    likely = FOUND_BY[name]
    for seed in (likely, *(each for each in range(SEEDS) if each != likely)):
        if attempt(draw(seed), MUTANTS[name]).findings:
            return
    pytest.fail(f"none of {SEEDS} seeds finds {name}")


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
        "from tests.simulation.mutants import alert_twice as bug\n"
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


def _python(*arguments: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
