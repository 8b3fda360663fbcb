"""Runs seeds, and makes the plan of one that fails as small as it gets.

A plan fails where the history checker finds something, where somebody waits for ever, or where the run itself raises.
A smaller plan fails *alike* if one of its findings is of a rule that the whole plan broke.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.history import Finding
from tests.simulation.plan import Plan, Step, draw
from tests.simulation.seeded import untidied
from tests.simulation.world import simulate

MEMORY = Path("/dev/shm")
"""Where files cost least; any other folder for temporary files will do."""

MAX_ATTEMPTS = 300
"""Runs that making a plan smaller may take: a minute or two."""

Bug = Callable[[], AbstractContextManager[object]]
"""A mistake that is switched on for a run."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: nothing is wrong if there are no findings. `trace` is all that happened."""

    plan: Plan
    findings: list[Finding]
    digest: str
    trace: list[str]
    seconds: float
    summary: str

    @property
    def rules(self) -> set[str]:
        """The rules that were broken."""
        return {finding.rule for finding in self.findings}


def attempt(plan: Plan, bug: Bug = nullcontext) -> Outcome:
    """Carry a plan out, with the bug switched on."""
    # The world is gone when memory is tidied up.
    with untidied():
        return _carry_out(plan, bug)


def _carry_out(plan: Plan, bug: Bug) -> Outcome:
    with _folder() as folder, bug():
        try:
            world = simulate(plan, folder)
        except Exception as error:
            text = "".join(traceback.format_exception(error)).replace(str(folder), "")
            return Outcome(plan, [Finding("liveness", "the run", text)], "", [text], 0.0, "raised")
    return Outcome(plan, world.findings, world.trace.digest, world.trace.lines, world.seconds, world.summary())


def run_seed(seed: int, seconds: float) -> Outcome:
    """The outcome of a seed, without what happened if nothing is wrong: for other processes to send."""
    outcome = attempt(draw(seed, seconds=seconds))
    if not outcome.findings:
        outcome.trace.clear()
    return outcome


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def only(plan: Plan, steps: Sequence[int] | None = None, devices: Sequence[str] | None = None) -> Plan:
    """A plan with these of its steps, by their place, and these of its devices. None is all of them."""
    kept = plan.devices if devices is None else [device for device in plan.devices if device.name in devices]
    names = {device.name for device in kept} | {device.name for device in plan.devices if devices is None}
    chosen = plan.steps if steps is None else [plan.steps[place] for place in steps]
    return Plan(
        plan.seed,
        plan.seconds,
        plan.settings,
        kept,
        plan.publishers,
        plan.lives,
        [step for step in chosen if _device_of(step) in (None, *names)],
        plan.tuning,
        plan.heedless,
    )


def _device_of(step: Step) -> str | None:
    device: str | None = getattr(step.action, "device", None)
    return device


@dataclass(frozen=True)
class Shrunk:
    """The smallest plan that was found to fail alike, and how to ask for it: `steps` and `devices` as for `only`."""

    outcome: Outcome
    steps: list[int]
    devices: list[str]
    attempts: int

    @property
    def command(self) -> str:
        """What runs it again."""
        steps = ",".join(map(str, self.steps)) or "none"
        seed, devices = self.outcome.plan.seed, ",".join(self.devices)
        return f"python -m tests.simulation --seed {seed} --steps {steps} --devices {devices}"


def shrink(failed: Outcome, bug: Bug = nullcontext, most: int = MAX_ATTEMPTS) -> Shrunk:
    """Leave out steps and devices for as long as it still fails alike.

    First halves, then quarters and so on (delta debugging, Zeller and Hildebrandt 2002).
    """
    plan, rules = failed.plan, failed.rules
    steps = list(range(len(plan.steps)))
    devices = [device.name for device in plan.devices]
    best, attempts = failed, 0

    def fails(some_steps: list[int], some_devices: list[str]) -> bool:
        nonlocal best, attempts
        attempts += 1
        outcome = attempt(only(plan, some_steps, some_devices), bug)
        if outcome.rules & rules:
            best = outcome
            return True
        return False

    for name in list(devices):
        fewer = [each for each in devices if each != name]
        if fewer and attempts < most and fails(steps, fewer):
            devices = fewer
    names = {device.name for device in plan.devices} - set(devices)
    steps = [place for place in steps if _device_of(plan.steps[place]) not in names]
    size = max(1, len(steps) // 2)
    while attempts < most:
        begin, was_smaller = 0, False
        while begin < len(steps) and attempts < most:
            fewer_steps = steps[:begin] + steps[begin + size :]
            if fails(fewer_steps, devices):
                steps, was_smaller = fewer_steps, True
            else:
                begin += size
        if size == 1 and not was_smaller:
            break
        size = max(1, size // 2)
    return Shrunk(best, steps, devices, attempts)
