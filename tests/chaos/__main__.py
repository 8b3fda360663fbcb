"""``python -m tests.chaos``: a chaos run from a seed, for as long as you like.

Prints the plan, what is done as it is done, and in the end what the checker found; exits with 1 if it found anything.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import trio

from tests.chaos.plan import draw
from tests.chaos.run import run
from tests.history import report


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="What everything random comes from.")
@click.option("--minutes", type=float, default=1.0, show_default=True, help="How long faults happen.")
@click.option("--users", type=click.IntRange(1), default=50, show_default=True)
@click.option("--tenants", type=click.IntRange(1), default=2, show_default=True)
@click.option("--kills", type=click.IntRange(0), default=None, help="kill -9 so often; ten, or four a minute if more.")
@click.option("--put-backs", type=click.IntRange(0), default=None, help="Put an old copy back so often; two a minute.")
@click.option("--folder", type=click.Path(path_type=Path), default=None, help="Where database, logs and history go.")
@click.option("--plan-only", is_flag=True, help="Print the plan and leave.")
def main(
    seed: int,
    minutes: float,
    users: int,
    tenants: int,
    kills: int | None,
    put_backs: int | None,
    folder: Path | None,
    *,
    plan_only: bool,
) -> None:
    """Run stock clients and a server under faults, and judge what they saw."""
    kills = max(10, round(4 * minutes)) if kills is None else kills
    put_backs = round(2 * minutes) if put_backs is None else put_backs
    plan = draw(seed, seconds=60 * minutes, users=users, tenants=tenants, kills=kills, put_backs=put_backs)
    if plan_only:
        print(plan)
        return
    folder = Path(tempfile.mkdtemp(prefix="chaos-")) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.txt").write_text(f"{plan}\n")
    print(f"the plan and everything else is in {folder}", flush=True)
    outcome = trio.run(run, plan, folder, lambda line: print(line, flush=True))
    print(outcome.summary)
    print(report(outcome.findings))
    if outcome.findings:
        print(f"history: {outcome.history}")
        sys.exit(1)


if __name__ == "__main__":
    main()
