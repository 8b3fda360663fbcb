"""How long from a backend's post to its answer and to the user's hand, and what that costs the server.

Open loop: posts are due at fixed times whatever the server does, and every latency counts from when the post was due,
so a stall shows in all that it delayed (no coordinated omission). Load and server share the machine; ``sent late`` is
the load's own part of every figure.
"""

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from bench.distribution import Distribution, table
from bench.load.plan import Event, Phase, Plan, Result
from bench.machine import describe, one_line
from bench.plot import percentile_plot
from bench.server import djactors_server

OUT = Path(__file__).parent / "out"
EVENTS: tuple[Event, ...] = ("notification.requested", "job.assigned")
ALLOWANCE_SECONDS = 120.0
"""What connecting, preparing and waiting may take beyond the measured time."""


@click.command()
@click.option("--users", type=click.IntRange(1), default=50, help="Connected users, all in one tenant.")
@click.option("--rate", type=click.FloatRange(0.1), default=200.0, help="Events a second, posted one by one.")
@click.option("--seconds", type=click.FloatRange(0.1), default=15.0, help="Measured time for each kind of event.")
@click.option("--warmup", type=click.FloatRange(0.0), default=2.0, help="Seconds at the same rate before it.")
@click.option("--connecting-users", type=click.IntRange(0), default=500, help="Users who connect at once.")
@click.option("--event", "events", type=click.Choice(EVENTS), multiple=True, default=EVENTS, help="Repeatable.")
@click.option("--publishers", type=click.IntRange(1), default=16, help="HTTP connections to post by.")
@click.option("--recovery/--no-recovery", default=True, help="Whether users take offsets, as stock JS clients do.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=OUT, help="For JSON, plot, database.")
def latency(
    users: int,
    rate: float,
    seconds: float,
    warmup: float,
    connecting_users: int,
    events: tuple[Event, ...],
    publishers: int,
    recovery: bool,
    out: Path,
) -> None:
    """Latency from post to answer and to client, time to connect, and the server's CPU and memory."""
    out.mkdir(parents=True, exist_ok=True)
    # Beside the results rather than in /tmp, which may be memory: commits shall cost what a disk's do.
    with (
        tempfile.TemporaryDirectory(prefix="latency-", dir=out) as directory,
        djactors_server(Path(directory)) as server,
    ):
        plan = Plan(
            host=server.host,
            port=server.port,
            secret=server.secret,
            server_pid=server.pid,
            users=users,
            connecting_users=connecting_users,
            events=list(events),
            rate=rate,
            seconds=seconds,
            warmup_seconds=warmup,
            publishers=publishers,
            recovery=recovery,
        )
        result = _load(plan)
        machine = describe(Path(directory))

    rows = _distributions(result)
    foot = one_line(machine)
    click.echo(f"{users} users, {rate:g} events/s for {seconds:g} s each, {connecting_users} connecting at once\n")
    click.echo(table(rows))
    click.echo()
    for line in _costs(result):
        click.echo(line)
    click.echo(f"\n{foot}")

    name = f"latency-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    settings = {key: value for key, value in msgspec.to_builtins(plan).items() if key not in {"secret", "server_pid"}}
    report = {
        "benchmark": "latency",
        "machine": machine,
        "settings": settings,
        "latencies": {label: row.summary() for label, row in rows.items()},
        "costs": _figures(result),
    }
    (out / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    curves = {label: list(row.curve()) for label, row in rows.items() if "→" in label and row.count}
    title = f"Latency by percentile: {users} users, {rate:g} events/s"
    (out / f"{name}.svg").write_text(percentile_plot(title, foot, curves), encoding="utf-8")
    click.echo(f"{out / name}.json\n{out / name}.svg")
    if not all(_whole(phase) for phase in result.phases) or result.connect_failures:
        raise click.ClickException("not everything that was sent was answered and delivered")


def _load(plan: Plan) -> Result:
    allowed = ALLOWANCE_SECONDS + len(plan.events) * (plan.seconds + plan.warmup_seconds)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        timeout=allowed,
        check=False,
    )
    if done.returncode != 0:
        raise click.ClickException("the load process failed; its complaint is above")
    return msgspec.json.decode(done.stdout, type=Result)


def _distributions(result: Result) -> dict[str, Distribution]:
    rows = {"connect": Distribution(result.connected)} if result.connected else {}
    for phase in result.phases:
        rows[f"{phase.event} → 201"] = Distribution(phase.acknowledged)
        rows[f"{phase.event} → client"] = Distribution(phase.delivered)
        rows[f"{phase.event}, sent late"] = Distribution(phase.sent_late)
    return rows


def _figures(result: Result) -> dict[str, object]:
    return {
        "server_mib": {
            "idle": round(result.server_mib_idle, 1),
            "connected": round(result.server_mib_connected, 1),
            "end": round(result.server_mib_end, 1),
        },
        "connect_server_cpu_seconds": round(result.connect_server_cpu_seconds, 3),
        "connect_failures": result.connect_failures,
        "phases": [
            {
                "event": phase.event,
                "posted": phase.posted,
                "failures": phase.failures,
                "undelivered": phase.undelivered,
                "frames_received": phase.frames_received,
                "server_cpu_us_per_event": round(_cpu_us(phase), 1),
                "server_cpu_seconds": round(phase.server_cpu_seconds, 3),
                "load_cpu_seconds": round(phase.load_cpu_seconds, 3),
            }
            for phase in result.phases
        ],
    }


def _costs(result: Result) -> list[str]:
    lines = [
        f"server memory: {result.server_mib_idle:.1f} MiB idle, {result.server_mib_connected:.1f} with the crowd, "
        f"{result.server_mib_end:.1f} at the end"
    ]
    if result.connected:
        cpu = result.connect_server_cpu_seconds * 1e6 / len(result.connected)
        lines.append(f"connecting: {cpu:.0f} µs of server CPU a user, {result.connect_failures} failed")
    for phase in result.phases:
        lines.append(
            f"{phase.event}: {_cpu_us(phase):.0f} µs of server CPU an event, {phase.frames_received} frames received, "
            f"{phase.undelivered} undelivered, {sum(phase.failures.values())} refused"
        )
        lines += [f"  {times} times: {failure}" for failure, times in phase.failures.items()]
    return lines


def _cpu_us(phase: Phase) -> float:
    return phase.server_cpu_seconds * 1e6 / phase.posted


def _whole(phase: Phase) -> bool:
    return not phase.failures and not phase.undelivered
