"""`python -m tests.simulation`: seeds by hand. See the README beside it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import click

from tests.history import report
from tests.simulation.plan import draw
from tests.simulation.run import Outcome, attempt, only, run_seed, shrink

RUNS_OF_A_PROCESS = 200
"""After these a worker is a new process, so that nothing adds up."""


@click.command()
@click.option("--seed", type=int, default=None, help="Run this one alone, and print all that is known of it.")
@click.option("--steps", default=None, help="With --seed: only these steps of its plan, such as 3,7,12-15, or none.")
@click.option("--devices", default=None, help="With --seed: only these devices, by name, with commas between.")
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="Without --seed: how many.")
@click.option("--first", type=int, default=0, show_default=True, help="The first of the seeds.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Of simulated time, with faults.")
@click.option("--trace", type=click.Path(path_type=Path), default=None, help="With --seed: write all that happened.")
@click.option("--plan-only", is_flag=True, help="With --seed: print the plan and leave.")
@click.option("--no-shrink", is_flag=True, help="Leave a plan that fails as it is.")
def main(
    seed: int | None,
    steps: str | None,
    devices: str | None,
    seeds: int,
    first: int,
    workers: int,
    seconds: float,
    trace: Path | None,
    *,
    plan_only: bool,
    no_shrink: bool,
) -> None:
    """Simulate the whole server from seeds, and judge what its clients saw. Exits with 1 if anything is wrong."""
    if seed is None:
        sys.exit(_run_many(range(first, first + seeds), seconds, workers, shrinks=not no_shrink))
    plan = only(draw(seed, seconds=seconds), _places(steps), None if devices is None else devices.split(","))
    print(plan)
    if plan_only:
        return
    outcome = attempt(plan)
    if trace is not None:
        trace.write_text("\n".join(outcome.trace) + "\n")
    print(f"trace {outcome.digest}, {len(outcome.trace)} lines; {outcome.summary}")
    print(report(outcome.findings))
    if outcome.findings and steps is None and not no_shrink:
        _print_shrunk(outcome)
    sys.exit(1 if outcome.findings else 0)


def _places(text: str | None) -> list[int] | None:
    if text is None:
        return None
    places: list[int] = []
    for part in text.split(",") if text != "none" else ():
        begin, _, end = part.partition("-")
        places += range(int(begin), int(end or begin) + 1)
    return places


def _run_many(seeds: Sequence[int], seconds: float, workers: int, *, shrinks: bool) -> int:
    began = time.perf_counter()
    simulated, failed = 0.0, 0
    for outcome in _outcomes(seeds, seconds, workers):
        simulated += outcome.seconds
        if outcome.findings:
            failed += 1
            print(f"seed {outcome.plan.seed} fails: {outcome.summary}")
            print(report(outcome.findings[:5]), flush=True)
            if shrinks:
                _print_shrunk(outcome)
    took = time.perf_counter() - began
    print(
        f"{len(seeds)} seeds, {failed} of them fail; {took:.0f} s, {simulated / 3600:.2f} simulated hours, "
        f"{simulated / 3600 / took:.4f} a second"
    )
    return 1 if failed else 0


def _outcomes(seeds: Sequence[int], seconds: float, workers: int) -> Iterator[Outcome]:
    if workers == 1:
        for seed in seeds:
            yield run_seed(seed, seconds)
        return
    with get_context("spawn").Pool(workers, maxtasksperchild=RUNS_OF_A_PROCESS) as pool:
        yield from pool.imap(partial(run_seed, seconds=seconds), seeds)


def _print_shrunk(outcome: Outcome) -> None:
    shrunk = shrink(outcome)
    small = shrunk.outcome
    print(f"made smaller in {shrunk.attempts} runs, to {len(small.plan.steps)} steps:")
    print(small.plan)
    print(report(small.findings))
    print(f"again: {shrunk.command}", flush=True)


if __name__ == "__main__":
    main()
