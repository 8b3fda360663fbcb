"""Many clients return at once, each with changes that it missed; others go on being notified meanwhile.

The clients are stock ones in what they send: the pid of their session before, and the offset of the last event that
they had. Each must get its pid back, exactly what it missed, once, and the right badge. The others' latencies, open
loop, before and during the rush, show what the returning cost them.
"""

from pathlib import Path

import click

from bench.distribution import Distribution
from bench.driver import load_on
from bench.load.commands import Done, Know, Return, Returned
from bench.plot import percentile_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server
from djactors.config import Settings


@click.command()
@click.option("--users", type=click.IntRange(1), default=1000, help="Who return.")
@click.option("--missed", type=click.IntRange(1), default=100, help="Changes that each of them missed.")
@click.option("--others", type=click.IntRange(1), default=50, help="Who stay and are notified.")
@click.option("--rate", type=click.FloatRange(1.0), default=100.0, help="Events a second for the others.")
@click.option("--seconds", type=click.FloatRange(0.2), default=8.0, help="For which, before the rush and during it.")
@out_option
def recovery(users: int, missed: int, others: int, rate: float, seconds: float, out: Path) -> None:
    """A crowd returns and is brought up to date."""
    settings = dict(click.get_current_context().params)
    with workplace(out, "recovery") as directory:
        report = Report("recovery", directory, settings)
        # A rush is what admission is for: at its default, with room for all who return, since none tries twice.
        admission = {
            "DJACTORS_ADMIT_RATE": str(Settings.admit_rate),
            "DJACTORS_ADMIT_BURST": str(max(Settings.admit_burst, users + others)),
        }
        with djactors_server(directory, settings=admission) as target, load_on(target) as load:
            load.ask(Know(users + others), Done)
            plan = Return(users=users, missed=missed, others=others, rate=rate, seconds=seconds)
            result = load.ask(plan, Returned)
    # The others were served meanwhile; what that takes was measured in the calm.
    calm_cores = result.calm.use.total / result.calm.use.seconds
    own = max(result.use.total - calm_cores * result.use.seconds, 0.0)
    report.check("returning", result.faults)
    caught_up = Distribution(result.caught_up)
    click.echo(
        f"{result.recovered} of {users} were resumed, {result.replayed} changes replayed "
        f"in {result.use.seconds:.2f} s\n"
        f"{own * 1e6 / max(result.replayed, 1):.1f} µs of server CPU a replayed change, "
        f"{own * 1e6 / users:.0f} µs a returning client (its {missed} changes included)\n"
    )
    rows = {
        "caught up": caught_up,
        "others, before": Distribution(result.calm.delivered),
        "others, meanwhile": Distribution(result.rush.delivered),
    }
    report.table(
        ["ms", "count", "p50", "p90", "p99", "p99.9", "max"],
        [[label, row.count, *row.shown().values()] for label, row in rows.items()],
    )
    report.figures = {
        "recovered": result.recovered,
        "replayed": result.replayed,
        "cpu_us_per_change": own * 1e6 / max(result.replayed, 1),
        "cpu_us_per_client": own * 1e6 / users,
        "caught_up": caught_up.summary(),
        "calm": report.phase("others, before", result.calm) | {"delivered": rows["others, before"].summary()},
        "rush": report.phase("others, meanwhile", result.rush) | {"delivered": rows["others, meanwhile"].summary()},
    }
    if result.recovered != users:
        report.check("returning", {"a client was not resumed": users - result.recovered})
    curves = {label: list(row.curve()) for label, row in rows.items() if row.count}
    title = f"{users} clients return with {missed} missed changes each"
    report.finish(out, percentile_plot(title, report.foot, curves))
