"""``python -m tests.chaos``: a chaos run from a seed, for as long as you like.

Prints the plan, what is done as it is done, and in the end what the checker found; exits with 1 if it found anything.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

import click
import trio

from tests.chaos.outages import SCENARIOS, Scenario
from tests.chaos.plan import Plan, draw, draw_with_nodes
from tests.chaos.run import run
from tests.history import report


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="What everything random comes from.")
@click.option("--minutes", type=float, default=1.0, show_default=True, help="How long faults happen.")
@click.option("--users", type=click.IntRange(1), default=50, show_default=True)
@click.option("--tenants", type=click.IntRange(1), default=2, show_default=True)
@click.option("--kills", type=click.IntRange(0), default=None, help="kill -9 so often; ten, or four a minute if more.")
@click.option("--put-backs", type=click.IntRange(0), default=None, help="Put an old copy back so often; two a minute.")
@click.option("--scenario", type=click.Choice(["all", *SCENARIOS]), default=None, help="What happens to several nodes.")
@click.option("--times", type=click.IntRange(1), default=10, show_default=True, help="How often, in a scenario.")
@click.option("--nodes", type=click.IntRange(1), default=2, show_default=True, help="How many, in a scenario.")
@click.option("--folder", type=click.Path(path_type=Path), default=None, help="Where database, logs and history go.")
@click.option("--plan-only", is_flag=True, help="Print the plan and leave.")
def main(
    seed: int,
    minutes: float,
    users: int,
    tenants: int,
    kills: int | None,
    put_backs: int | None,
    scenario: Literal["all"] | Scenario | None,
    times: int,
    nodes: int,
    folder: Path | None,
    *,
    plan_only: bool,
) -> None:
    """Run stock clients and a server under faults, and judge what they saw.

    With a scenario, several nodes on one PostgreSQL database take the place of the server, and the time is what the
    scenario needs.
    """
    if scenario is None:
        kills = max(10, round(4 * minutes)) if kills is None else kills
        put_backs = round(2 * minutes) if put_backs is None else put_backs
        plans = {"": draw(seed, seconds=60 * minutes, users=users, tenants=tenants, kills=kills, put_backs=put_backs)}
    else:
        plans = {
            each: draw_with_nodes(seed, each, times=times, nodes=nodes, users=users, tenants=tenants)
            for each in (SCENARIOS if scenario == "all" else (scenario,))
        }
    if plan_only:
        for plan in plans.values():
            print(plan)
        return
    folder = Path(tempfile.mkdtemp(prefix="chaos-")) if folder is None else folder
    print(f"the plan and everything else is in {folder}", flush=True)
    # Each to its end, so that one that fails hides no other.
    failed = [name for name, plan in plans.items() if not _run(name, plan, folder / name)]
    if failed:
        print(f"not well: {', '.join(failed)}" if scenario else "not well")
        sys.exit(1)


def _run(name: str, plan: Plan, folder: Path) -> bool:
    """Run one plan; whether nothing was found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.txt").write_text(f"{plan}\n")
    if name:
        print(f"{name}: {plan.nodes} nodes, {plan.seconds:.0f} s", flush=True)
    outcome = trio.run(run, plan, folder, lambda line: print(line, flush=True))
    print(outcome.summary)
    print(report(outcome.findings))
    if outcome.findings:
        print(f"history: {outcome.history}")
    return not outcome.findings


if __name__ == "__main__":
    main()
