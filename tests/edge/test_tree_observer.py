"""What the operator reads when an actor crashes or is set aside."""

import io
from typing import Any

import msgspec
import trio

from djactors.edge.tree_observer import CONSEQUENCES, TreeObserver
from djactors.kernel import Actor, ActorSpec, Backoff, Exhausted, Intensity, Supervisor
from djactors.telemetry import Telemetry, make_logger

QUARANTINE = 30.0


class Rereading:
    """Stands in for the users, and for the clock: counts how often they had to read the log, and it to look."""

    def __init__(self) -> None:
        self.times = 0
        self.looks = 0

    def reread(self) -> None:
        self.times += 1

    def look(self) -> None:
        self.looks += 1


class Crashing(Actor[str, None]):
    async def on_message(self, message: str) -> None:
        raise LookupError(message)


async def entries_after(name: str, crashes: int) -> tuple[list[dict[str, Any]], Telemetry, Rereading]:
    """What was logged once an actor of this name has crashed so often; the third crash has it set aside."""
    log, users = io.StringIO(), Rereading()
    telemetry = Telemetry(make_logger("json", "info", log))
    observer = TreeObserver(telemetry, users, users.look)  # type: ignore[arg-type]
    spec = ActorSpec(
        name,
        Crashing,
        intensity=Intensity(2, 60),
        backoff=Backoff(initial=1, jitter=0),
        when_exhausted=Exhausted.QUARANTINE,
        quarantine_seconds=QUARANTINE,
    )
    root = Supervisor("djactors", [spec], on_event=observer.observe)
    async with trio.open_nursery() as nursery:
        await nursery.start(root.run)
        for _ in range(crashes):
            root.ref(spec).tell_nowait("poison")
            await trio.sleep(5)
        root.request_stop()
    return [msgspec.json.decode(line) for line in log.getvalue().splitlines()], telemetry, users


async def test_an_actor_that_was_set_aside_is_logged_with_what_it_means_and_the_mend(autojump_clock) -> None:
    for name, consequence in {**CONSEQUENCES, "other": "what it does is not done"}.items():
        entries, telemetry, _ = await entries_after(name, crashes=3)
        *crashes, last = entries
        assert [entry["event"] for entry in crashes] == ["child crashed"] * 3
        assert last["event"] == "child set aside"
        assert (last["level"], last["child"], last["seconds"]) == ("error", name, QUARANTINE)
        assert last["consequence"] == consequence
        assert "starts again by itself in 30 s" in last["mend"]
        metrics = telemetry.metrics.exposition().decode()
        assert f'djactors_actor_quarantines_total{{actor="{name}"}} 1.0' in metrics
        assert f'djactors_actor_restarts_total{{actor="{name}"}} 3.0' in metrics


async def test_after_a_crash_of_the_router_everybody_reads_the_log_and_the_clock_looks(autojump_clock) -> None:
    for name, times in {"router": 1, "clock": 0}.items():
        _, _, users = await entries_after(name, crashes=1)
        assert (users.times, users.looks) == (times, times)
