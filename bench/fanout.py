"""What it costs to tell everybody: `job:assigned` to 500 and to 5,000 sockets, one at a time and in bursts of 100.

One at a time: the next assignment is posted when the one before is answered. A burst is one batch post. An event's
latency ends when the last of all has it.

What others feel are the latencies of another tenant's users while assignments are told at a steady pace, and before in
quiet.
"""

from pathlib import Path

import click

from bench import others as feelings
from bench.distribution import Distribution
from bench.driver import load_on
from bench.load.commands import Connect, Connected, Done, Flood, Know, Pace, Phase
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server

AT_ONCE = 64
SECONDS = 60.0
"""Beyond which a phase is ended early; counts end it before."""


@click.command()
@click.option("--sockets", type=click.IntRange(1), multiple=True, default=(500, 5000), help="Repeatable, rising.")
@click.option("--assignments", type=click.IntRange(1), default=50, help="One at a time.")
@click.option("--bursts", type=click.IntRange(1), default=2)
@click.option("--burst", "size", type=click.IntRange(2, 1000), default=100, help="Assignments in a burst.")
@click.option("--rate", type=click.FloatRange(0.1), default=5.0, help="Assignments a second, beside others.")
@click.option("--seconds", type=click.FloatRange(0.1), default=8.0, help="At this pace.")
@click.option("--others", type=click.IntRange(1), default=50, help="Users of another tenant.")
@click.option("--others-rate", type=click.FloatRange(0.1), default=100.0, help="Events a second for them.")
@out_option
def fanout(
    sockets: tuple[int, ...],
    assignments: int,
    bursts: int,
    size: int,
    rate: float,
    seconds: float,
    others: int,
    others_rate: float,
    out: Path,
) -> None:
    """CPU a message, when everybody in the tenant is told."""
    settings = dict(click.get_current_context().params)
    phases: dict[str, Phase] = {}
    felt: dict[str, Phase] = {}
    paced = round(rate * seconds)
    with workplace(out, "fanout") as directory:
        report = Report("fanout", directory, settings)
        with djactors_server(directory) as target, load_on(target) as load:
            load.ask(Know(max(sockets), len(sockets) * (paced + assignments + bursts * size)), Done)
            connected = 0
            for count in sorted(sockets):
                more = load.ask(Connect(connected + 1, count - connected, AT_ONCE), Connected)
                report.check(f"connecting {count}", more.failures)
                connected = count
                one = Flood(event="job.assigned", producers=1, batch=1, seconds=SECONDS, count=assignments)
                phases[f"{count} sockets, one at a time"] = load.ask(one, Phase)
                burst = Flood(event="job.assigned", producers=1, batch=size, seconds=SECONDS, count=bursts * size)
                phases[f"{count} sockets, bursts of {size}"] = load.ask(burst, Phase)
                with feelings.others_on(target, others, others_rate) as crowd_beside:
                    felt[f"{count} sockets, in quiet"] = crowd_beside.feel(seconds)
                    pace = Pace(event="job.assigned", rate=rate, seconds=seconds, warmup_seconds=0.0, producers=1)
                    label = f"{count} sockets, {rate:g} a second"
                    phases[label], felt[label] = crowd_beside.beside(load, pace)
    rows, bars = [], {}
    for label, phase in phases.items():
        last = Distribution(phase.delivered)
        # Beside others, the CPU is that of their posts as well.
        each = None if label in felt else phase.use.total * 1e6 / max(phase.messages, 1)
        rows.append(
            [
                label,
                each,
                phase.messages / phase.use.seconds,
                last.milliseconds(50),
                last.milliseconds(99),
                last.milliseconds(100),
                phase.use.load * 1e6 / max(phase.messages, 1),
            ]
        )
        if each is not None:
            bars[label] = {"CPU µs a message": each}
        report.figures[label] = report.phase(label, phase) | {
            "cpu_us_per_message": each,
            "delivered_to_the_last": last.summary(),
        }
    report.table(["", "CPU µs/message", "messages/s", "p50 ms", "p99 ms", "max ms", "load's CPU µs/message"], rows)
    report.figures["others"] = feelings.tell(report, felt)
    most_sockets = list(felt.values())[-1]
    report.figures["others_p99_ms"] = Distribution(most_sockets.delivered).milliseconds(99)
    report.finish(out, bar_plot("CPU for each message told to everybody", report.foot, bars, "µs"))
