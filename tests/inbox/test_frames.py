"""What one event writes, in pages of the log: a page is a system call or two, and a good part of what an event costs.

A change to the schema or to the recorder may raise a target only for a reason that was measured.
"""

from functools import partial
from pathlib import Path

import trio

from bench.frames import measure

TARGETS = {"requested": 6.0, "with a key": 7.5, "first of a day": 7.0}
"""Frames an event, by its kind, where each is a commit of its own: `python -m bench frames` has the figures."""

LEAST = 5
"""Rows and index entries that must be written: less would mean that the count is wrong."""


def test_an_event_to_one_user_writes_few_pages(tmp_path: Path) -> None:
    """10,000 users, and enough rows that each of them is on a page of its own and the trees have their depth."""
    found = trio.run(partial(measure, tmp_path, users=10_000, stored=60_000, events=500))
    assert found.frames.keys() == TARGETS.keys()
    for kind, frames in found.frames.items():
        assert (kind, LEAST <= frames <= TARGETS[kind]) == (kind, True), found.frames
