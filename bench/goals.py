"""What the project has set itself, as ratios, and whether a run got there."""

from collections.abc import Iterable, Sequence

import msgspec


class Goal(msgspec.Struct, frozen=True):
    """A figure and its bound. `key` is the name under which benchmarks write it down."""

    key: str
    figure: str
    bound: float
    shown: str
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether a value is within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


GOALS: Sequence[Goal] = (
    Goal("cpu_vs_express", "CPU per durable delivered event, 64 producers, vs the seed's stack", 1 / 12, "≤ 1/12"),
    Goal("cpu_vs_python", "the same vs python-socketio", 1 / 6, "≤ 1/6"),
    Goal("p99_vs_express", "p99 delivery, 64 producers, vs the seed's stack", 1 / 8, "≤ 1/8"),
    Goal("cpu_vs_floor", "single-post CPU per event, 64 producers, vs the bare loop", 1.5, "≤ 1.5"),
    Goal("batch_vs_single", "batch posts, CPU per event, vs single posts", 1 / 3, "≤ 1/3"),
    Goal("fanout_vs_express", "fan-out CPU per message, one at a time, vs the seed's stack", 1.0, "≤ 1.0"),
    Goal("burst_vs_express", "fan-out CPU per message, bursts of 100, vs the seed's stack", 1 / 10, "≤ 1/10"),
    Goal("memory_vs_express", "memory per connected user vs the seed's stack", 1.0, "≤ 1.0"),
    Goal("connect_vs_express", "connect CPU vs the seed's stack", 1 / 2, "≤ 1/2"),
    Goal("users_ratio", "cost per event at 10,000 users vs at 100", 1.2, "≤ 1.2"),
    Goal("rows_ratio", "cost per event at 5 million rows vs at 10 thousand", 1.3, "≤ 1.3"),
    Goal("store_ratio", "store: events/s vs a bare executemany", 0.6, "≥ 0.6", at_least=True),
    Goal("batch_vs_nchan", "batch posts, CPU per durable event, vs nchan pushing single posts", 3.0, "≤ 3"),
    Goal("others_recovery", "others' p99 in ms while 1,000 clients return with 100 missed changes each", 6.0, "≤ 6"),
    Goal("others_fanout", "others' p99 in ms while 5 assignments a second are told to 5,000 sockets", 15.0, "≤ 15"),
    Goal("idle_percent", "idle CPU with 5,000 users, % of one core", 3.0, "≤ 3"),
)

HEAD = ("figure", "goal", "measured", "spread", "")


class Measured(msgspec.Struct, frozen=True):
    """A value, and the lowest and highest of the rounds; `source` says where it is from if not from this run."""

    value: float
    low: float | None = None
    high: float | None = None
    source: str = ""


def rows(measured: dict[str, Measured]) -> Iterable[Sequence[object]]:
    """The goals as rows of a table: the ratio measured, met or not met."""
    for goal in GOALS:
        found = measured.get(goal.key)
        if found is None:
            yield goal.figure, goal.shown, None, None, "not measured"
            continue
        spread = None if found.low is None or found.high is None else f"{_ratio(found.low)} … {_ratio(found.high)}"
        verdict = "met" if goal.met(found.value) else "not met"
        yield goal.figure, goal.shown, _ratio(found.value), spread, f"{verdict}{found.source}"


def _ratio(value: float) -> str:
    return f"1/{1 / value:.1f}" if 0 < value < 0.55 else f"{value:.2f}"
