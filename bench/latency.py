"""How long from a backend's post to its answer and to the user's hand, and what that costs the server.

Open loop: posts are due at fixed times whatever the server does, and every latency counts from when the post was due,
so a stall shows in all that it delayed (no coordinated omission). Load and server share the machine; ``sent late`` is
the load's own part of every figure.

What others feel are the latencies of another tenant's users, who are posted to in quiet, and beside each kind of event
once more, so that their posts are no part of its CPU.
"""

from pathlib import Path

import click

from bench import others as feelings
from bench.distribution import Distribution, table
from bench.driver import load_on
from bench.load.commands import Connect, Connected, Done, Event, Know, Leave, Pace, Phase
from bench.plot import percentile_plot
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_server

EVENTS: tuple[Event, ...] = ("notification.requested", "job.assigned")


@click.command()
@click.option("--users", type=click.IntRange(1), default=50, help="Connected users, all in one tenant.")
@click.option("--rate", type=click.FloatRange(0.1), default=200.0, help="Events a second, posted one by one.")
@click.option("--seconds", type=click.FloatRange(0.1), default=15.0, help="Measured time for each kind of event.")
@click.option("--warmup", type=click.FloatRange(0.0), default=2.0, help="Seconds at the same rate before it.")
@click.option("--connecting-users", type=click.IntRange(0), default=500, help="Users who connect at once.")
@click.option("--event", "events", type=click.Choice(EVENTS), multiple=True, default=EVENTS, help="Repeatable.")
@click.option("--publishers", type=click.IntRange(1), default=16, help="HTTP connections to post by.")
@click.option("--others", type=click.IntRange(1), default=20, help="Users of another tenant.")
@click.option("--others-seconds", type=click.FloatRange(0.1), default=5.0, help="Beside each, and in quiet.")
@click.option("--others-rate", type=click.FloatRange(0.1), default=50.0, help="Events a second for them.")
@click.option("--recovery/--no-recovery", default=True, help="Whether users take offsets, as stock JS clients do.")
@out_option
def latency(
    users: int,
    rate: float,
    seconds: float,
    warmup: float,
    connecting_users: int,
    events: tuple[Event, ...],
    publishers: int,
    others: int,
    others_seconds: float,
    others_rate: float,
    recovery: bool,
    out: Path,
) -> None:
    """Latency from post to answer and to client at a set rate, and the server's CPU."""
    settings = dict(click.get_current_context().params)
    phases: dict[Event, Phase] = {}
    felt: dict[str, Phase] = {}
    with workplace(out, "latency") as directory:
        report = Report("latency", directory, settings)
        with djactors_server(directory) as target, load_on(target) as load:
            jobs = sum(round(rate * each) for each in (warmup, seconds, others_seconds))
            load.ask(Know(max(users, connecting_users), jobs if "job.assigned" in events else 0), Done)
            crowd = None
            if connecting_users:
                crowd = load.ask(Connect(1, connecting_users, connecting_users, recovery), Connected)
                load.ask(Leave(), Done)
            load.ask(Connect(1, users, users, recovery), Connected)
            for event in events:
                pace = Pace(event=event, rate=rate, seconds=seconds, warmup_seconds=warmup, producers=publishers)
                phases[event] = load.ask(pace, Phase)
            with feelings.others_on(target, others, others_rate) as crowd_beside:
                felt["in quiet"] = crowd_beside.feel(others_seconds)
                for event in events:
                    pace = Pace(
                        event=event, rate=rate, seconds=others_seconds, warmup_seconds=0.0, producers=publishers
                    )
                    beside, felt[f"beside {event}"] = crowd_beside.beside(load, pace)
                    report.phase(f"{event}, beside others", beside)

    rows = {}
    if crowd is not None:
        rows["connect"] = Distribution(crowd.seconds)
        report.check("connecting", crowd.failures)
        report.figures["connect_cpu_us"] = crowd.use.total * 1e6 / connecting_users
    for event, phase in phases.items():
        rows[f"{event} → 201"] = Distribution(phase.acknowledged)
        rows[f"{event} → client"] = Distribution(phase.delivered)
        rows[f"{event}, sent late"] = Distribution(phase.sent_late)
        report.figures[event] = report.phase(event, phase)
    report.figures["latencies"] = {label: row.summary() for label, row in rows.items()}

    click.echo(f"{users} users, {rate:g} events/s for {seconds:g} s each, {connecting_users} connecting at once\n")
    click.echo(table(rows) + "\n")
    report.table(
        ["", "CPU µs/event", "messages", "load's CPU µs/event"],
        [[event, cpu_us(phase), phase.messages, phase.use.load * 1e6 / phase.posts] for event, phase in phases.items()],
    )
    report.figures["others"] = feelings.tell(report, felt)
    curves = {label: list(row.curve()) for label, row in rows.items() if "→" in label and row.count}
    report.finish(out, percentile_plot(f"Latency by percentile: {users} users, {rate:g} events/s", report.foot, curves))
