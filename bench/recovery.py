"""Many clients return at once, each with changes that it missed; others go on being notified meanwhile.

The clients are stock ones in what they send: the pid of their session before, and the offset of the last event that
they had. Each must get its pid back, exactly what it missed, once, and the right badge. What others feel are the
latencies of the posts that were due from the start until the last client had everything, open loop, beside those of the
calm before. They are of the same tenant, and have a load process of their own.

With `--other`, another checkout takes turns with this one, as in `builds`. The ratios of the turns that stood side by
side say which of them lets others wait longer, and which has served the crowd earlier.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec

from bench import others as feelings
from bench.builds import OTHER, THIS, in_turns
from bench.distribution import Distribution
from bench.driver import Driver, load_on
from bench.load.commands import Done, Felt, Know, Miss, Phase, Return, Returned
from bench.others import Others, others_on
from bench.plot import percentile_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server
from djactors.config import Settings


class Rush(msgspec.Struct):
    """One return of the crowd: how others were served before it, around it, and while it lasted."""

    calm: Phase
    around: Phase
    meanwhile: Felt
    returned: Returned

    @property
    def own_cpu(self) -> float:
        """Seconds of CPU that the returning took. The others were served meanwhile; the calm says what that takes."""
        calm = self.calm.use.total / self.calm.use.seconds
        return max(self.returned.use.total - calm * self.returned.use.seconds, 0.0)

    @property
    def served(self) -> float:
        """Seconds until the last client had everything."""
        return max(self.returned.caught_up, default=0.0)


@click.command()
@click.option("--users", type=click.IntRange(1), default=1000, help="Who return.")
@click.option("--missed", type=click.IntRange(1), default=100, help="Changes that each of them missed.")
@click.option("--others", type=click.IntRange(1), default=50, help="Who stay and are notified.")
@click.option("--rate", type=click.FloatRange(1.0), default=100.0, help="Events a second for the others.")
@click.option("--seconds", type=click.FloatRange(0.2), default=8.0, help="For which, before the rush and during it.")
@click.option("--turns", type=click.IntRange(1), default=1, help="How often they return, of each build.")
@click.option("--other", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Another checkout.")
@out_option
def recovery(
    users: int, missed: int, others: int, rate: float, seconds: float, turns: int, other: Path | None, out: Path
) -> None:
    """A crowd returns and is brought up to date."""
    settings = dict(click.get_current_context().params)
    names = (THIS,) if other is None else (THIS, OTHER)
    # A rush is what admission is for: at its default pace, with room for all who come and return, as none tries twice.
    admission = {
        "DJACTORS_ADMIT_RATE": str(Settings.admit_rate),
        "DJACTORS_ADMIT_BURST": str(max(Settings.admit_burst, 2 * users + others)),
    }
    rushes: dict[str, list[Rush]] = defaultdict(list)
    with workplace(out, "recovery") as directory, ExitStack() as stack:
        report = Report("recovery", directory, settings)
        sides: dict[str, tuple[Driver, Others]] = {}
        for name in names:
            serving = djactors_server(
                directory / name.replace(" ", "-"),
                settings=admission,
                checkout=None if name == THIS else other,
            )
            target = stack.enter_context(serving)
            load = stack.enter_context(load_on(target))
            load.ask(Know(users), Done)
            beside = others_on(target, others, rate, first=users + 1, tenant=target.tenant)
            sides[name] = load, stack.enter_context(beside)
        for name in in_turns(names, turns):
            rushes[name].append(_rush(*sides[name], Miss(users, missed), seconds))
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, each in rushes.items():
        report.figures[name] = _tell(report, name, each, users, curves)
    report.figures["others_p99_ms"] = _together(rush.meanwhile.delivered for rush in rushes[THIS]).milliseconds(99)
    if other is not None:
        _compare(report, rushes)
    title = f"{users} clients return with {missed} missed changes each"
    report.finish(out, percentile_plot(title, report.foot, curves))


def _rush(load: Driver, others: Others, plan: Miss, seconds: float) -> Rush:
    load.ask(plan, Done)
    calm = others.feel(seconds)
    others.begin(seconds)
    time.sleep(seconds / 4)
    returned = load.ask(Return(), Returned)
    around = others.end(seconds)
    served = max(returned.caught_up, default=0.0)
    return Rush(calm, around, others.during(returned.began, returned.began + served), returned)


def _tell(
    report: Report, name: str, rushes: Sequence[Rush], users: int, curves: dict[str, list[tuple[float, float]]]
) -> dict[str, Any]:
    """One build's tables and figures, of all its turns together."""
    for rush in rushes:
        report.check(f"{name}, returning", rush.returned.faults)
        if rush.returned.recovered != users:
            report.check(f"{name}, returning", {"a client was not resumed": users - rush.returned.recovered})
        report.phase(f"{name}, others before", rush.calm)
        report.phase(f"{name}, others meanwhile", rush.around)
    recovered = sum(rush.returned.recovered for rush in rushes)
    replayed = sum(rush.returned.replayed for rush in rushes)
    own = sum(rush.own_cpu for rush in rushes)
    of_change, of_client = own * 1e6 / max(replayed, 1), own * 1e6 / (users * len(rushes))
    served = [rush.served for rush in rushes]
    click.echo(
        f"{name}: {recovered} of {users * len(rushes)} were resumed, {replayed} changes replayed; "
        f"the last had everything after {median(served):.2f} s\n"
        f"{of_change:.1f} µs of server CPU a replayed change, {of_client:.0f} µs a client with all its changes\n"
    )
    caught_up = _together(rush.returned.caught_up for rush in rushes)
    felt = {
        "before": (
            _together(rush.calm.acknowledged for rush in rushes),
            _together(rush.calm.delivered for rush in rushes),
        ),
        "meanwhile": (
            _together(rush.meanwhile.acknowledged for rush in rushes),
            _together(rush.meanwhile.delivered for rush in rushes),
        ),
    }
    report.table(feelings.HEAD, [feelings.row(label, *rows) for label, rows in felt.items()])
    report.table(["ms", "count", *caught_up.shown()], [["caught up", caught_up.count, *caught_up.shown().values()]])
    curves[f"{name}: caught up"] = list(caught_up.curve())
    curves |= {f"{name}: others {label}": list(row.curve()) for label, (_, row) in felt.items() if row.count}
    return {
        "recovered": recovered,
        "replayed": replayed,
        "cpu_us_per_change": of_change,
        "cpu_us_per_client": of_client,
        "served_seconds": served,
        "caught_up": caught_up.summary(),
        **{
            label: {"acknowledged": acknowledged.summary(), "delivered": delivered.summary()}
            for label, (acknowledged, delivered) in felt.items()
        },
    }


def _compare(report: Report, rushes: dict[str, list[Rush]]) -> None:
    """The ratios of the turns that stood side by side."""
    figures: dict[str, Callable[[Rush], float]] = {
        "others' p99, delivered, ms": lambda rush: Distribution(rush.meanwhile.delivered).milliseconds(99),
        "others' p99, answered, ms": lambda rush: Distribution(rush.meanwhile.acknowledged).milliseconds(99),
        "the last is served, ms": lambda rush: 1000 * rush.served,
        "CPU a client, µs": lambda rush: rush.own_cpu * 1e6 / max(rush.returned.recovered, 1),
    }
    rows: list[list[object]] = []
    ratios: dict[str, float] = {}
    for label, of in figures.items():
        ours, theirs = ([of(rush) for rush in rushes[name]] for name in (THIS, OTHER))
        # A small rush may be over before the next post to the others is due.
        turns = [mine / its for mine, its in zip(ours, theirs, strict=True) if its] or [float("nan")]
        ratios[label] = median(turns)
        spread = f"{min(turns):.2f} … {max(turns):.2f}"
        rows.append([label, median(ours), median(theirs), f"{ratios[label]:.2f}", spread])
    report.table(["", THIS, OTHER, "ratio", "turns"], rows)
    report.figures["ratios"] = ratios


def _together(latencies: Iterable[Sequence[float]]) -> Distribution:
    return Distribution(chain.from_iterable(latencies))
