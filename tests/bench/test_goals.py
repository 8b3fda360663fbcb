"""The table of goals says met only where a figure was measured and is within its bound."""

import json
from pathlib import Path

from bench.compare import from_other_runs
from bench.goals import GOALS, Measured, rows


def test_what_was_not_measured_is_not_met() -> None:
    assert all(row[-1] == "not measured" for row in rows({}))


def test_a_figure_is_met_at_its_bound_and_not_beyond() -> None:
    for goal in GOALS:
        better, worse = (0.01, -0.01) if goal.at_least else (-0.01, 0.01)
        for value, verdict in ((goal.bound, "met"), (goal.bound + better, "met"), (goal.bound + worse, "not met")):
            (row,) = [row for row in rows({goal.key: Measured(value)}) if row[0] == goal.figure]
            assert row[-1] == verdict


def test_figures_of_other_runs_are_taken_from_the_newest_sound_one(tmp_path: Path) -> None:
    for stamp, ratio, faults, batch in (
        ("1", 0.5, {}, 100),
        ("2", 0.7, {}, 100),
        ("3", 0.9, {"lost": 1}, 100),
        ("4", 0.8, {}, 7),  # the goal speaks of batches of 100
    ):
        report = {"at": f"day {stamp}", "figures": {"ratio": ratio}, "faults": faults, "settings": {"batch": batch}}
        (tmp_path / f"store-{stamp}.json").write_text(json.dumps(report))
    assert from_other_runs(tmp_path) == {"store_ratio": Measured(0.7, source=" (store, day 2)")}
